// Draws the page at most once a frame.

let draw = () => {};
let isScheduled = false;

/** Says what drawing is. */
export function drawBy(how) {
  draw = how;
}

/** Has the page drawn before long. */
export function schedule() {
  if (isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(() => {
    isScheduled = false;
    draw();
  });
}
