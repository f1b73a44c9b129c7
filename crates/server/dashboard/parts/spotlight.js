// A semaphore where somebody waits long: how long, and what is in the way of the first in line.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { getPending, getSemaphore } from '../api.js';
import { schedule } from '../draw.js';
import { age, count, length, now, semaphoreLink, until, within } from '../format.js';
import { connection } from '../live.js';
import { headOf, lackOf } from '../words.js';
import { peerName } from './peer.js';

/** How many waiters are looked at for the first in line. */
const TOP = 10;

let known = new Map();
let isLooking = false;

async function lookAt(name) {
  const detail = await getSemaphore(name, { limit: TOP });
  const head = headOf(detail);
  return { detail, head, first: await getPending(head ?? detail.queue[0]) };
}

/** Asks what is in the way on the semaphores that `longest` names. One look at a time. */
export async function look(longest) {
  if (isLooking || document.hidden || connection.state !== 'live') return;
  isLooking = true;
  const found = new Map();
  for (const { name } of longest()) {
    try {
      found.set(name, await lookAt(name));
    } catch {
      // It is gone, or the server is: both are told elsewhere, and what was last known stays.
      found.set(name, known.get(name));
    }
  }
  known = found;
  isLooking = false;
  schedule();
}

const link = (name) => html`<a href=${semaphoreLink(name)}>${name}</a>`;
const due = ({ until: at }) => (at ? `; the next comes back ${within(at)}` : '');

/** Who holds it for the longest time. */
const holding = (holder) => html`<div class="spot-held">${peerName(holder.peer, holder.labels)}
  <p class="quiet">for ${age(holder.since)}, expires in ${until(holder.expires_at)}</p></div>`;

/** What is in the way on another semaphore. */
function beyond(one) {
  if (one.kind === 'paused') return html`<p class="quiet">${link(one.semaphore)} is paused</p>`;
  if (one.kind === 'rate') return html`<p class="quiet">${link(one.semaphore)} is held back by its rate${due(one)}</p>`;
  if (!one.peer) return nothing;
  return html`${peerName(one.peer, one.labels)}
    <p class="quiet">${one.kind === 'ahead' ? 'ahead in line for' : 'holds'} ${link(one.semaphore)}, for ${age(one.since)}</p>`;
}

/** How much is held. */
function held({ acquired, max, cooling }) {
  if (acquired) return `${count(acquired)} of ${count(max)} held`;
  return cooling ? `nobody holds it; ${count(cooling)} cooling` : 'nobody holds it';
}

/** What keeps them waiting, as `{ said, more }`: a sentence, and what is shown below. */
function cause(s, { detail, head, first } = {}) {
  if (s.max === 0) return { said: s.acquired ? `paused; ${count(s.acquired)} still held` : 'paused; nobody holds it' };
  if (!detail) return { said: held(s) };
  const { here, elsewhere } = lackOf(s, first);
  const [other] = elsewhere;
  const names = elsewhere.map(({ semaphore: name }, index) => html`${index ? ' and ' : ''}${link(name)}`);
  const more = other && html`<div class="spot-held">${beyond(other)}</div>`;
  if (!head) {
    const one = detail.queue[0];
    if (!one) return { said: held(s) };
    if (one.absent) return { said: 'the first in line has lost its connection, and is passed over' };
    if (one.count > s.max) return { said: `the first in line asks for ${count(one.count)}, more than the max of ${count(s.max)}` };
    return { said: other ? html`the first in line is passed over; it waits for ${names}` : 'the first in line is passed over', more };
  }
  const rate = here.find((one) => one.kind === 'rate');
  // Of one whose request is not for the caller to see nothing else is known.
  const holder = !first || here.some((one) => one.kind === 'holder') ? detail.holders[0] : undefined;
  const whose = holder ? (detail.holders_total > 1 ? ', longest by' : ' by') : '';
  if (!other) return { said: `${held(s)}${whose || (rate ? due(rate) : '')}`, more: holder && holding(holder) };
  if (here.length) return { said: html`${held(s)}; the first in line waits for ${names}, too`, more };
  const free = s.max - s.acquired - s.cooling;
  const idle = free > 0 ? `${count(free)} of ${count(s.max)} ${s.waiting > 1 ? 'idle' : 'free'}; ` : '';
  return { said: html`${idle}the first in line waits for ${names}`, more };
}

export function spotlight(s) {
  const { said, more } = cause(s, known.get(s.name));
  return html`<li class="spotlight">
    <a class="name" href=${semaphoreLink(s.name)} title=${s.name}>${s.name}</a>
    <p class="spot-wait"><strong>${length(now() - s.waitingSince)}</strong></p>
    <p class="quiet">${said}</p>
    <p class="quiet number">${s.waiting === 1 ? 'one waits' : `${count(s.waiting)} wait`}</p>
    ${more ?? nothing}
  </li>`;
}
