// What is going on, and what an act would do, in plain words.

import { count, many, within } from './format.js';
import { server } from './server.js';

/** Whether a waiter asks for more than the max, which may grow again. */
const isOver = ({ max }, { count: number }) => max > 0 && number > max;

/** Whether a waiter keeps its place, but holds up nobody. */
export const isPassed = (semaphore, waiter) => Boolean(waiter.passed_over) || waiter.absent || isOver(semaphore, waiter);

/** The first in line that nothing passes over. */
export const headOf = (semaphore) => semaphore.max > 0 ? semaphore.queue.find((waiter) => !isPassed(semaphore, waiter)) : undefined;

/** How much is left to be acquired. */
const freeOf = ({ max, acquired, cooling }) => max - acquired - cooling;

/**
 * What the first in line waits for, by what is in the way of its request `first`, if that is known: `here` tells what
 * is in its way on this semaphore, `elsewhere` on each other one.
 */
export function lackOf({ name }, first) {
  const found = new Map();
  for (const one of first?.blocked_by ?? []) if (!found.has(one.semaphore)) found.set(one.semaphore, one);
  const here = (first?.blocked_by ?? []).filter((one) => one.semaphore === name);
  found.delete(name);
  return { here, elsewhere: [...found.values()] };
}

/** What keeps a semaphore closed to all, if that is so: goes on after its name. */
const closedBy = ({ kind }) => ({ paused: ', which is paused', rate: ', which its rate holds back' })[kind] ?? '';

/** Semaphores in words, such as `A, which is paused, and B`. */
const listed = (elsewhere) => elsewhere.map((one) => `${one.semaphore}${closedBy(one)}`).join(' and ');

/**
 * What lies idle behind the first in line, if anything does, as `{ what, because, elsewhere, then }`: semaphores that are to
 * be linked stand in `elsewhere`, each with what follows it. `first` is the request of the first in line, if it is known.
 */
export function behind(semaphore, first) {
  const { max, queue_total: total, name, order } = semaphore;
  const [head, free] = [headOf(semaphore), freeOf(semaphore)];
  const number = head ? total - head.position : 0;
  if (!head || max === 0 || free <= 0 || number <= 0) return null;
  const what = `${count(free)} of ${name} ${free === 1 ? 'lies' : 'lie'} idle.`;
  const wait = `${many(number, 'request')} ${number === 1 ? 'waits' : 'wait'} behind the first in line, which`;
  const elsewhere = lackOf(semaphore, first).elsewhere.map((one) => ({ name: one.semaphore, how: closedBy(one) }));
  if (head.count > free) {
    const because = `${wait} asks for ${count(head.count)}`;
    if (!elsewhere.length) return { what, because: `${because}.`, elsewhere, then: '' };
    return { what, because: `${because} here, and waits for`, elsewhere, then: ', too.' };
  }
  const then = order === 'pass' ? '. Those that fit may pass it for a while.' : '.';
  return elsewhere.length ? { what, because: `${wait} waits for`, elsewhere, then } : null;
}

/** What is unusual about a semaphore: a list of `{ word, kind }`. */
export function states(semaphore) {
  const { max, acquired, cooling } = semaphore;
  const found = [];
  if (max === 0) found.push({ word: 'paused', kind: 'paused' });
  else if (acquired > max) found.push({ word: `overcommitted by ${count(acquired - max)}`, kind: 'over' });
  if (cooling > 0) found.push({ word: `${count(cooling)} cooling`, kind: 'cooling' });
  return found;
}

/** Whether nothing more can be acquired. */
export const isFull = ({ max, acquired, cooling }) => max > 0 && acquired + cooling >= max;

/** Who of those that are shown keeps its place, but holds up nobody, and why. */
function passedOver(semaphore) {
  const passed = semaphore.queue.filter((waiter) => isPassed(semaphore, waiter));
  const over = passed.filter((waiter) => isOver(semaphore, waiter)).length;
  const absent = passed.filter((waiter) => waiter.absent && !isOver(semaphore, waiter)).length;
  const others = passed.length - over - absent;
  const said = [];
  const say = (number, one, more) => number && said.push(` ${many(number, 'request')} shown here ${number === 1 ? one : more}.`);
  say(over, `asks for more than the max of ${count(semaphore.max)} and is passed over until that grows`, `ask for more than the max of ${count(semaphore.max)} and are passed over until that grows`);
  say(absent, 'has lost its connection and is passed over until the client asks again', 'have lost their connection and are passed over until the client asks again');
  say(others, 'cannot have another semaphore yet that it asks for in the same step, and is passed over until then', 'cannot have another semaphore yet that they ask for in the same step, and are passed over until then');
  return said.join('');
}

/** Why those who wait have to. `first` is the request of the first in line, if it is known. */
export function why(semaphore, first) {
  const { max, acquired, cooling, queue, per } = semaphore;
  if (!queue.length) return null;
  if (max === 0) {
    return 'The semaphore is paused: its max is 0. Nobody gets anything until somebody resumes it.';
  }
  const head = headOf(semaphore);
  const passed = passedOver(semaphore);
  if (!head) {
    const [one] = queue;
    const elsewhere = one.absent || isOver(semaphore, one) ? [] : lackOf(semaphore, first).elsewhere;
    return `${passed.trim()}${elsewhere.length ? ` The first in line waits for ${listed(elsewhere)}.` : ''}`;
  }
  const lacking = head.count - freeOf(semaphore);
  const { here, elsewhere } = lackOf(semaphore, first);
  if (lacking <= 0) {
    const where = elsewhere.length
      ? `The first in line would fit, but asks for ${listed(elsewhere)} in the same step, and waits there.`
      : 'The first in line fits. It is granted at once if its client is connected; one whose connection broke is waited for a moment, then passed over.';
    return where + passed;
  }
  const also = elsewhere.length ? ` The first in line asks for ${listed(elsewhere)} in the same step, and waits there, too.` : '';
  if (acquired > max) {
    return `More is held than there is: ${count(acquired)} of ${count(max)}. ${count(acquired - max)} must be given ` +
      `back before anybody gets anything.${also}${passed}`;
  }
  if (max === 1 && acquired === 1) {
    if (also) return `It is held, and there is one of it.${also}${passed}`;
    return `It is held, and there is one of it. ${queue.length === 1 ? 'The one in line gets it' : 'Those in line get it one after another,'} as soon as it is given back or its lease runs out.${passed}`;
  }
  const parts = [];
  if (acquired > 0) parts.push(`${acquired === max ? 'All' : count(acquired)} of ${count(max)} ${acquired === 1 ? 'is' : 'are'} held`);
  if (cooling > 0) parts.push(`${count(cooling)} of ${count(max)} ${cooling === 1 ? 'comes' : 'come'} back by the rate of ${count(max)} per ${per}`);
  const due = here.find((one) => one.until)?.until;
  const free = due ? `enough comes back ${within(due)}` : `${count(lacking)} more must come free`;
  const behind = semaphore.queue_total > 1 ? ' Those behind it wait their turn.' : '';
  return `${parts.join('; ')}; the first in line asks for ${count(head.count)}, and ${free}.${also}${behind}${passed}`;
}

/** What resizing to `max` would do. */
export function resizing(semaphore, max) {
  const { acquired, queue, waiting, name } = semaphore;
  if (max === semaphore.max) return [`The max of ${name} is ${count(max)} already.`];
  const said = [];
  if (max === 0) {
    said.push(`Nobody gets ${name} until it is resumed. ${waiting ? `${many(waiting, 'request')} that ${waiting === 1 ? 'waits' : 'wait'} now, and all that come, stay in line.` : 'All requests that come stay in line.'}`);
    said.push(acquired ? `Nobody loses a lock: what is held now (${count(acquired)}) stays held until it is given back.` : 'Nothing is held now.');
    return said;
  }
  if (max < acquired) {
    said.push(`Nobody loses a lock. ${count(acquired)} are held, so ${count(acquired - max)} must be given back before anything is granted again; until then it shows as overcommitted.`);
  } else if (max > semaphore.max && max === acquired) {
    said.push('What is held now stays held, and fits; nothing more is granted until some of it is given back.');
  } else if (max > semaphore.max && waiting) {
    said.push(`Up to ${count(max - Math.max(acquired, semaphore.max))} more can be held at once. Those who wait are served in their order, at once as far as it fits.`);
  } else if (max > semaphore.max) {
    said.push('Nobody waits, so nothing changes for anybody now.');
  } else {
    said.push('What is held now stays held, and fits.');
  }
  const stuck = queue.filter((waiter) => waiter.count > max);
  if (stuck.length) said.push(`${many(stuck.length, 'waiting request')} ${stuck.length === 1 ? 'asks' : 'ask'} for more than ${count(max)} and would be passed over until the max grows.`);
  return said;
}

/** What releasing a peer would do. */
export function releasing(peer) {
  const said = [];
  const held = peer.locks.map((lock) => `${lock.semaphore} (${count(lock.count)})`);
  if (held.length) {
    said.push(`It loses what it holds: ${held.join(', ')}. Those who wait for that get it at once, as far as it fits.`);
    said.push('Its program is not stopped. It learns of the loss when it next asks the server, and may go on working until then: only a check of the fencing token keeps its late writes out.');
  } else {
    said.push('It holds nothing.');
  }
  if (peer.pending) {
    said.push(`Its request for ${Object.keys(peer.pending.locks).join(', ')} leaves the queue.`);
    said.push('A client of this release stops waiting with an error that has the reason, and does not ask again by itself; throttle run ends without running its command. Clients of releases up to 0.5 ask again at once, and stand at the end of the line then.');
  }
  return said;
}

/** What making a semaphore would do. `isMember`: a pattern stands for that name already. */
export function making({ name, max, per }, isMember) {
  const said = [];
  if (max === 0) said.push(`${name} is there, and paused: requests for it wait until somebody resumes it.`);
  else said.push(`Clients can lock ${name} at once, ${max === 1 ? 'one at a time' : `up to ${count(max)} at the same time`}${per ? `; what is given back comes free ${per} after it was given, at the soonest` : ''}.`);
  if (isMember) said.push('A pattern stands for that name now; from then on this is a semaphore of its own.');
  said.push(KEPT[server.keeps] ?? 'It stays until somebody removes it.');
  return said;
}

const KEPT = {
  memory: 'It stays until somebody removes it or the server starts anew: only the configuration file outlives that here.',
  durable: 'It stays until somebody removes it, and outlives a restart.',
  cluster: 'It stays until somebody removes it, on all servers.',
};

/** What removing a semaphore would do. */
export function removing({ name, holders_total: holders, queue_total: waiters, origin }) {
  const said = [];
  if (holders) said.push(`${many(holders, 'lock')} ${holders === 1 ? 'is' : 'are'} taken away. The programs that hold ${holders === 1 ? 'it' : 'them'} are not stopped: they learn of it when they next ask the server.`);
  if (waiters) said.push(`${many(waiters, 'request')} ${waiters === 1 ? 'leaves' : 'leave'} the queue; the clients are told that it is gone.`);
  if (!holders && !waiters) said.push('Nobody holds it, and nobody waits for it.');
  if (origin === 'pattern') said.push('A pattern stands for its name: the next request makes it anew.');
  else said.push(`A request for ${name} is refused from then on, as for a name that nobody knows.`);
  if (origin === 'file') said.push(server.keeps === 'memory' ? 'It is in the configuration file: it is back after the next start, unless you take it out there, too.' : 'It is in the configuration file: take it out there, too. An edit of that entry brings it back.');
  return said;
}
