// What this browser remembers for the next visit. Each server has its own memory: several can share an origin, below
// different paths, and so may other applications.

const key = (what) => `throttle ${location.pathname} ${what}`;

/** Keeps a text under a name. */
export const remember = (what, text) => localStorage.setItem(key(what), text);

/** The text that was kept under a name, or an empty one. */
export const recall = (what) => localStorage.getItem(key(what)) ?? '';
