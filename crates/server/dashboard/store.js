// What is known of the semaphores, and the latest events. Filled page by page, kept right by updates.

import { getHistory, getSemaphore, getSemaphores } from './api.js';
import { schedule } from './draw.js';
import { length, now, span } from './format.js';
import { recall, remember } from './memory.js';
import { meet } from './people.js';
import { Places } from './parts/pager.js';
import { startWithin } from './server.js';

/** How many semaphores a browser keeps; beyond that, searching asks the server. */
const MOST = 20_000;
const PAGE = 1000;
/** How many events are kept. */
const EVENTS = 500;

export const store = {
  /** By name: the server's shape, and since when somebody waits. */
  semaphores: new Map(),
  /** Counts up whenever `semaphores` changes. */
  version: 0,
  isLoaded: false,
  /** Whether there are more than are kept; then which of them these are, and where the others begin. */
  isCut: false,
  places: new Places(),
  next: null,
  error: null,
  /** As the server says. */
  totals: { semaphores: 0, peers: 0 },
  /** How many requests wait, in all. */
  waiting: 0,
  /** The newest first; `{ gap }` stands for events that were not told. */
  events: [],
  /** By name: samples of acquired and pending. */
  histories: new Map(),
  historyStep: 60_000,
};

/** Whether levels are in play: some semaphore has another one than 0. */
export const hasLevels = () => [...store.semaphores.values()].some(({ level }) => level !== 0);

/** The name under which a semaphore's max before a pause is remembered. */
const formerKey = (name) => `max of ${name}`;

/** Remembers the max that a semaphore has, before a pause takes it. */
export const rememberMax = (name, max) => remember(formerKey(name), max);

/** The max that a paused semaphore had, as far as the server or this browser knows; an empty text if they do not. */
export function formerMax({ name, max_before_pause: known }) {
  if (known) return String(known);
  const set = store.events.find(({ kind, semaphore, max }) => kind === 'resized' && semaphore === name && max > 0);
  return set ? String(set.max) : recall(formerKey(name));
}

/** Takes a semaphore as the server wrote it just now. */
function keep(into, semaphore) {
  const before = store.semaphores.get(semaphore.name);
  if (before?.max > 0 && semaphore.max === 0) rememberMax(semaphore.name, before.max);
  const waited = semaphore.waiting > 0 ? span(semaphore.longest_wait) : null;
  into.set(semaphore.name, { ...semaphore, waitingSince: waited === null ? null : now() - waited });
}

let loading = null;
let isStale = false;

/** Reads all semaphores anew, at most once at a time. */
export function load() {
  isStale = true;
  loading ??= (async () => {
    while (isStale) {
      isStale = false;
      await loadOnce();
    }
  })().finally(() => {
    loading = null;
  });
  return loading;
}

async function loadOnce() {
  const found = new Map();
  const { places } = store;
  try {
    let { cursor } = places;
    do {
      const page = await getSemaphores({ limit: PAGE, cursor });
      for (const semaphore of page.items) keep(found, semaphore);
      if (!store.isLoaded) change(() => { store.semaphores = new Map(found); });
      cursor = page.next;
    } while (cursor && found.size < MOST);
    const isCut = Boolean(cursor) || !places.isFirst;
    change(() => Object.assign(store, { semaphores: found, isLoaded: true, isCut, next: cursor ?? null, error: null }));
  } catch (error) {
    change(() => { store.error = error; });
  }
}

function change(how) {
  how();
  store.version += 1;
  store.waiting = 0;
  for (const { waiting } of store.semaphores.values()) store.waiting += waiting;
  schedule();
}

let reload = 0;

/** Reads all anew before long: more changed than was told. */
function loadSoon() {
  const pause = store.semaphores.size > 2000 ? 15_000 : 3_000;
  reload ||= setTimeout(() => {
    reload = 0;
    load();
  }, pause);
}

/** Takes an update. */
export function apply(update, isFirst) {
  store.totals = { semaphores: update.semaphores, peers: update.peers };
  if (isFirst) store.events = [];
  const newest = store.events[0]?.number ?? 0;
  const events = update.events.filter((event) => event.number > newest);
  if (!isFirst && events.length && newest && events[0].number > newest + 1) {
    store.events.unshift({ gap: events[0].number - newest - 1, number: events[0].number - 1 });
  }
  for (const event of events) {
    meet(event.peer, event.labels);
    store.events.unshift(event);
  }
  store.events.length = Math.min(store.events.length, EVENTS);
  change(() => {
    for (const semaphore of update.changed) {
      if (!store.isCut || store.semaphores.has(semaphore.name)) keep(store.semaphores, semaphore);
    }
    for (const name of update.removed) store.semaphores.delete(name);
  });
  if (update.is_partial) loadSoon();
}

/** Adds those that the server finds, where not all are kept here. */
export async function search(text) {
  if (!store.isCut || !text) return;
  const page = await getSemaphores({ search: text, limit: 200 });
  change(() => page.items.forEach((semaphore) => keep(store.semaphores, semaphore)));
}

/** Reads these again. For what changes without an event: the count that cools. */
export async function refresh(names) {
  for (const name of names) {
    try {
      const semaphore = await getSemaphore(name, { limit: 1 });
      change(() => keep(store.semaphores, semaphore));
    } catch {
      // The next update says what became of it.
    }
  }
}

/** How far histories go back, in words. */
export function period() {
  const all = 60 * store.historyStep;
  const start = startWithin(all);
  if (start) return `Since the start at ${start}`;
  return { 3_600_000: 'Last hour', 60_000: 'Last minute' }[all] ?? `Last ${length(all)}`;
}

let wanted = new Set();
let asking = 0;

/** The samples of a semaphore, if they are here; asks for them if not. */
export function history(name) {
  const found = store.histories.get(name);
  if (!found || found.until < Date.now()) {
    wanted.add(name);
    asking ||= setTimeout(askForHistories, 150);
  }
  return found;
}

async function askForHistories() {
  const names = [...wanted].slice(0, 50);
  try {
    const { step, at, items } = await getHistory(names);
    store.historyStep = span(step);
    const next = Date.parse(at) + store.historyStep + 500 - now();
    const until = Date.now() + Math.max(1_000, next);
    for (const { semaphore, acquired, pending, grants } of items) {
      store.histories.set(semaphore, { acquired, pending, grants: grants ?? acquired.map(() => 0), at: Date.parse(at), until });
    }
    names.forEach((name) => wanted.delete(name));
  } catch {
    // Lines without a past are no trouble; they are asked for again.
    wanted = new Set();
  }
  asking = wanted.size ? setTimeout(askForHistories, 150) : 0;
  schedule();
}

