// What happened, a line each.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { repeat } from '../vendor/lit-html/directives/repeat.js';
import { count, full, labelled, length, peerLink, semaphoreLink, short, span, time } from '../format.js';
import { called, labelsOf } from '../people.js';
import { startWithin } from '../server.js';

const times = (number) => (number > 1 ? html` ×${count(number)}` : nothing);
const brief = (text) => (span(text) < 1000 ? `${count(span(text))} ms` : length(span(text)));

const ENDS = { released: 'it was released', expired: 'its lease ran out', operator: 'an operator released it', removed: 'the semaphore was removed', exceeds_max: 'it asks for more than the max' };

const SAID = {
  granted: (e) => html`${semaphore(e)}${times(e.count)} granted to ${peer(e)}${span(e.waited) >= 1 ? html` after ${brief(e.waited)}` : nothing}`,
  queued: (e) => html`${peer(e)} waits for ${semaphore(e)}${times(e.count)}`,
  released: (e) => html`${semaphore(e)}${times(e.count)} ${e.cause === 'operator' ? 'taken by an operator from' : 'given back by'} ${peer(e)} after ${brief(e.held)}`,
  expired: (e) => html`${semaphore(e)}${times(e.count)} expired: the lease of ${peer(e)} ran out`,
  shrunk: (e) => html`${peer(e)} keeps ${count(e.count)} of ${semaphore(e)}`,
  withdrawn: (e) => html`${peer(e)} waits no more for ${semaphore(e)}: ${ENDS[e.cause] ?? e.cause}`,
  restored: (e) => html`${peer(e)} brought back ${semaphore(e)}${times(e.count)}`,
  overcommitted: (e) => html`${semaphore(e)} is overcommitted: ${count(e.count)} of ${count(e.max)} held`,
  resized: (e) => html`${semaphore(e)} ${e.max === 0 ? 'was paused' : html`has a max of ${count(e.max)}`}`,
  removed: (e) => html`${semaphore(e)} was removed`,
  peer_ended: (e) => html`${peer(e)} is gone: ${ENDS[e.cause] ?? e.cause}`,
};

const semaphore = (e) => html`<a class="name" href=${semaphoreLink(e.semaphore)}>${e.semaphore}</a>`;

/** Who it is, if that is known; its id otherwise. The id of a peer that is none of the caller's is not told. */
function peer({ peer: id, labels: told }) {
  const labels = told ?? labelsOf(id);
  const name = called(labels);
  if (id === undefined) return html`<span class="id">${name || 'a peer of somebody else'}</span>`;
  return html`<a class=${name ? 'who' : 'id'} href=${peerLink(id)} title=${[labelled(labels), id].filter(Boolean).join(' · ')}>${name || short(id)}</a>`;
}

/** Who made it happen: somebody known by name, or a change of the configuration file. */
const by = (name) => name === 'configuration' ? 'the configuration' : html`<strong class="by">${name}</strong>`;

const line = (e) => e.gap
  ? html`<li class="gap">${count(e.gap)} more happened too fast to be shown</li>`
  : html`<li class="event" data-kind=${e.kind}><time datetime=${e.at} title=${full(e.at)}>${time(e.at)}</time>
      <span>${(SAID[e.kind] ?? (() => e.kind))(e)}${e.by ? html`, by ${by(e.by)}` : nothing}${e.reason ? html` <q>${e.reason}</q>` : nothing}</span></li>`;

const DAY = 86_400_000;

/** Since when there could have been events. */
const noEvents = () => {
  const start = startWithin(DAY);
  return start ? `No events since the start at ${start}.` : 'No recent events.';
};

/** The newest first; `none` is said if there are none. */
export function eventList(events, most, none = noEvents()) {
  if (!events.length) return html`<p class="empty">${none}</p>`;
  return html`<ol class="events">${repeat(events.slice(0, most), (e) => e.number, line)}</ol>`;
}
