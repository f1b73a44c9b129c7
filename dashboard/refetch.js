// Reading something again and again, but never too often.

/** The least time between two readings, and the longest: leases move without an event. */
const LEAST = 300;
const LONGEST = 4_000;

/** Calls `read` when told to, one at a time. */
export function repeating(read) {
  let isActive = false;
  let isReading = false;
  let isWanted = false;
  let last = 0;
  let timer = 0;

  async function run() {
    clearTimeout(timer);
    if (!isActive) return;
    if (isReading) {
      isWanted = true;
      return;
    }
    [isReading, isWanted] = [true, false];
    const begin = performance.now();
    await read();
    last = performance.now();
    isReading = false;
    // A slow answer is a sign to ask less.
    const pause = isWanted ? Math.max(LEAST, 2 * (last - begin)) : LONGEST;
    timer = setTimeout(run, pause);
  }

  return {
    start() {
      isActive = true;
      run();
    },
    stop() {
      isActive = false;
      clearTimeout(timer);
    },
    /** At once. */
    now: run,
    /** As soon as it may be. */
    soon() {
      if (isReading) {
        isWanted = true;
        return;
      }
      clearTimeout(timer);
      timer = setTimeout(run, Math.max(0, LEAST - (performance.now() - last)));
    },
  };
}
