// What is going on, and what an act would do, in plain words.

import { count, length, many, span } from './format.js';
import { server } from './server.js';

const overMax = (semaphore, queue) => queue.filter((waiter) => waiter.count > semaphore.max);

/** The first in line that nothing passes over. */
export const headOf = ({ max, queue }) => queue.find((waiter) => waiter.count <= max && !waiter.absent);

/** How much is left to be acquired. */
const freeOf = ({ max, acquired, cooling }) => max - acquired - cooling;

/** Where the request of the first in line waits beside this semaphore, as far as it is known. */
function elsewhereOf({ name }, first) {
  const others = Object.keys(first?.locks ?? {}).filter((other) => other !== name);
  const blocked = new Set((first?.blocked_by ?? []).map((one) => one.semaphore));
  const known = others.filter((other) => blocked.has(other));
  return known.length ? known : others;
}

/**
 * What lies idle behind the first in line, if anything does, as `{ what, because, elsewhere, then }`: semaphores that are to
 * be linked stand in `elsewhere`. `first` is the request of the first in line, if it is known.
 */
export function behind(semaphore, first) {
  const { max, queue_total: total, name, order } = semaphore;
  const [head, free] = [headOf(semaphore), freeOf(semaphore)];
  const number = head ? total - head.position : 0;
  if (!head || max === 0 || free <= 0 || number <= 0) return null;
  const what = `${count(free)} of ${name} ${free === 1 ? 'lies' : 'lie'} idle.`;
  const wait = `${many(number, 'request')} ${number === 1 ? 'waits' : 'wait'} behind the first in line, which`;
  const passing = order === 'pass' ? ' Those that fit may pass it for a while.' : '';
  if (head.count > free) {
    return { what, because: `${wait} asks for ${count(head.count)}.`, elsewhere: [], then: '' };
  }
  const elsewhere = elsewhereOf(semaphore, first);
  return elsewhere.length ? { what, because: `${wait} waits for`, elsewhere, then: `.${passing}` } : null;
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

/** Why those who wait have to. `other` is the request of the first in line, if it asks for more than this. */
export function why(semaphore, first) {
  const { max, acquired, cooling, queue, per } = semaphore;
  if (!queue.length) return null;
  if (max === 0) {
    return 'The semaphore is paused: its max is 0. Nobody gets anything until somebody resumes it.';
  }
  const stuck = overMax(semaphore, queue);
  const head = headOf(semaphore);
  const absent = queue.filter((waiter) => waiter.absent).length;
  const passed = (stuck.length
    ? ` ${many(stuck.length, 'request')} shown here ${stuck.length === 1 ? 'asks' : 'ask'} for more than the max of ` +
      `${count(max)} and ${stuck.length === 1 ? 'is' : 'are'} passed over until that grows.`
    : '') + (absent
    ? ` ${many(absent, 'request')} shown here ${absent === 1 ? 'has lost its' : 'have lost their'} connection and ` +
      `${absent === 1 ? 'is' : 'are'} passed over until the client asks again.`
    : '');
  if (!head) return passed.trim();
  const lacking = head.count - freeOf(semaphore);
  const elsewhere = elsewhereOf(semaphore, first);
  if (lacking <= 0) {
    const where = elsewhere.length
      ? `The first in line would fit, but asks for ${elsewhere.join(', ')} in the same step, and waits there.`
      : 'The first in line fits. It is granted at once if its client is connected; one whose connection broke is waited for a moment, then passed over.';
    return where + passed;
  }
  if (acquired > max) {
    return `More is held than there is: ${count(acquired)} of ${count(max)}. ${count(acquired - max)} must be given ` +
      `back before anybody gets anything.${passed}`;
  }
  if (max === 1 && acquired === 1) {
    return `It is held, and there is one of it. ${queue.length === 1 ? 'The one in line gets it' : 'Those in line get it one after another,'} as soon as it is given back or its lease runs out.${passed}`;
  }
  const parts = [`${acquired === max ? 'All' : count(acquired)} of ${count(max)} ${acquired === 1 ? 'is' : 'are'} held`];
  if (cooling > 0) parts.push(`${count(cooling)} ${cooling === 1 ? 'comes' : 'come'} back by the rate of ${count(max)} per ${length(span(per ?? '0s'))}`);
  const wish = `the first in line asks for ${count(head.count)}, and ${count(lacking)} more must come free`;
  return `${parts.join('; ')}; ${wish}. Those behind it wait their turn.${passed}`;
}

/** What resizing to `max` would do. */
export function resizing(semaphore, max) {
  const { acquired, queue, waiting, name } = semaphore;
  if (max === semaphore.max) return [`The max of ${name} is ${count(max)} already.`];
  const said = [];
  if (max === 0) {
    said.push(`Nobody gets ${name} until it is resumed. ${waiting ? `${many(waiting, 'request')} that wait now, and all that come, stay in line.` : 'All requests that come stay in line.'}`);
    said.push(acquired ? `Nobody loses a lock: the ${count(acquired)} held now stay held until they are given back.` : 'Nothing is held now.');
    return said;
  }
  if (max < acquired) {
    said.push(`Nobody loses a lock. ${count(acquired)} are held, so ${count(acquired - max)} must be given back before anything is granted again; until then it shows as overcommitted.`);
  } else if (max > semaphore.max && waiting) {
    said.push(`Up to ${count(max - Math.max(acquired, semaphore.max))} more can be held at once. Those who wait are served in their order, at once as far as it fits.`);
  } else if (max > semaphore.max) {
    said.push('Nobody waits, so nothing changes for anybody now.');
  } else {
    said.push('What is held now stays held, and fits.');
  }
  const stuck = overMax({ ...semaphore, max }, queue);
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
