// Reading something again and again, but never too often.

/** The least time between two readings, and the longest: leases move without an event. */
const LEAST = 300;
const LONGEST = 4_000;
/** How much longer than its answer took the server is left in peace. */
const REST = 5;

/** Calls `read` when told to, one at a time. */
export function repeating(read) {
  let isActive = false;
  let isReading = false;
  let isWanted = false;
  let next = 0;
  let timer = 0;

  async function run() {
    clearTimeout(timer);
    if (!isActive) return;
    if (document.hidden) {
      timer = setTimeout(run, LONGEST);
      return;
    }
    if (isReading) {
      isWanted = true;
      return;
    }
    [isReading, isWanted] = [true, false];
    const begin = performance.now();
    await read();
    const end = performance.now();
    isReading = false;
    const pause = Math.max(LEAST, REST * (end - begin));
    next = end + pause;
    timer = setTimeout(run, isWanted ? pause : Math.max(LONGEST, pause));
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
      timer = setTimeout(run, Math.max(0, next - performance.now()));
    },
  };
}
