// How numbers, times and names are written, and what time it is on the server.

let offset = 0;

/** Learns the server's time from an answer of this moment. */
export function setClock(at) {
  offset = Date.parse(at) - Date.now();
}

/** The time on the server, in milliseconds since the epoch. */
export const now = () => Date.now() + offset;

const UNITS = {
  ns: 1e-6, us: 1e-3, ms: 1, s: 1e3, m: 6e4, h: 36e5, day: 864e5, days: 864e5,
  month: 2630016e3, months: 2630016e3, year: 31557600e3, years: 31557600e3,
};

/** The milliseconds of a duration as the server writes it, such as `1h 30m`. */
export function span(text) {
  let total = 0;
  for (const [, number, unit] of text.matchAll(/(\d+)([a-z]+)/g)) total += Number(number) * (UNITS[unit] ?? 0);
  return total;
}

const two = (number) => String(number).padStart(2, '0');

/** A length of time for people, in at most two units. */
export function length(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m ${two(seconds % 60)}s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours}h ${two(minutes % 60)}m`;
  const days = Math.floor(hours / 24);
  return days < 1000 ? `${days}d ${hours % 24}h` : `${Math.floor(days / 365)} years`;
}

/** How long ago a time stamp is. */
export const age = (at) => length(now() - Date.parse(at));

/** How long it is until a time stamp. */
export function until(at) {
  const left = Date.parse(at) - now();
  return left > 0 ? length(left) : 'now';
}

/** The same as a part of a sentence: `in 5m`, or `now`. */
export function within(at) {
  const left = until(at);
  return left === 'now' ? left : `in ${left}`;
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'long' });

/** The time of day of a time stamp. */
export const time = (at) => TIME.format(new Date(at));

/** A time stamp in full. */
export const full = (at) => FULL.format(new Date(at));

const COUNT = new Intl.NumberFormat('en');

/** A number with its digits in groups. */
export const count = (number) => COUNT.format(number);

/** A number and its noun. */
export const many = (number, one, more = `${one}s`) => `${count(number)} ${number === 1 ? one : more}`;

/** A number of bytes, in the largest unit of which there is one. */
export function bytes(number) {
  const power = Math.max(0, Math.min(3, Math.floor(Math.log2(Math.max(1, number)) / 10)));
  return power ? `${(number / 1024 ** power).toFixed(1)} ${['KiB', 'MiB', 'GiB'][power - 1]}` : `${count(number)} bytes`;
}

/** An id of many digits, short enough for a table. */
export const short = (id) => (id.length > 10 ? `${id.slice(0, 4)}…${id.slice(-4)}` : id);

/** Where the page of a semaphore is, or of a peer. */
export const semaphoreLink = (name) => `#/semaphores/${encodeURIComponent(name)}`;
export const peerLink = (id) => `#/peers/${id}`;

/** Labels in one line. */
export const labelled = (labels) => Object.entries(labels).map(([key, value]) => `${key}:${value}`).join(' ');
