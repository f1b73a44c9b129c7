// Who a peer is, in the words of those who run it: program, user@host.

/** The labels of peers that were seen lately, for events, which outlive them. */
const known = new Map();
/** How many of them are remembered. */
const MOST = 5_000;

/** Takes note of what a peer is called. */
export function meet(id, labels) {
  if (id === undefined || id === '0' || !labels || !Object.keys(labels).length) return;
  known.delete(id);
  known.set(id, labels);
  if (known.size > MOST) known.delete(known.keys().next().value);
}

/** What is known of a peer: its labels, perhaps none. */
export const labelsOf = (id) => known.get(id) ?? {};

/** The labels that say who it is, and which process. */
const WHO = ['program', 'user', 'host', 'pid'];

/** Who it is: `import.sh etl@worker-01`, as far as its labels say. Empty if they do not. */
export function who({ program, user, host }) {
  const place = host ? `${user ?? ''}@${host}` : user;
  return [program, place].filter(Boolean).join(' ');
}

/** The other labels, each a key and a value. Where those do not say who it is, these are all there is. */
export const others = (labels) => Object.entries(labels).filter(([key]) => !WHO.includes(key) || !who(labels));

/** Its name in a sentence or a button; empty if it has no labels. */
export const called = (labels) => who(labels) || Object.entries(labels).map(([key, value]) => `${key}:${value}`).join(' ');
