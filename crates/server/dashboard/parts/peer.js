// A peer in a cell: its labels first, since people know those.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { labelled, peerLink, short } from '../format.js';
import { may } from '../may.js';
import { askToRelease } from './dialog.js';

export const chips = (labels) =>
  html`<span class="chips">${Object.entries(labels).map(([key, value]) => html`<span class="chip"><span class="key">${key}</span> ${value}</span>`)}</span>`;

/** The id of a peer that is none of the caller's is hidden as 0. */
const isHidden = (id) => id === '0';

/** What tells the row of a peer from others. */
export const rowKey = (id, index) => (isHidden(id) ? `hidden ${index}` : id);

/** `also` is said instead of the id, if there are labels to know the peer by. */
export const peerName = (id, labels, also) => isHidden(id)
  ? html`<span class="peer">${chips(labels)} <code class="id">${also ?? 'of somebody else'}</code></span>`
  : html`<a class="peer" data-row href=${peerLink(id)} title=${[labelled(labels), id].filter(Boolean).join(' · ')}>
  ${Object.keys(labels).length ? chips(labels) : html`<code class="bare">${short(id)}</code>`}
  ${also || Object.keys(labels).length ? html`<code class="id">${also ?? short(id)}</code>` : html`<span class="id unnamed">no labels</span>`}</a>`;

export const releaseButton = (id, labels, semaphore) => !isHidden(id) && may('release_peer', [semaphore])
  ? html`<button type="button" class="button small" @click=${() => askToRelease(id)} aria-label=${`Release ${labelled(labels) || id}…`}>Release…</button>`
  : nothing;
