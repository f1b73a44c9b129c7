// A peer in a cell: who it is comes first, since people know that.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { labelled, peerLink, short } from '../format.js';
import { may } from '../may.js';
import { called, meet, others, who } from '../people.js';
import { askToRelease } from './dialog.js';

const chip = ([key, value]) => html`<span class="chip"><span class="key">${key}</span> ${value}</span>`;

export const chips = (labels) => html`<span class="chips">${Object.entries(labels).map(chip)}</span>`;

/** The id of a peer that is none of the caller's is hidden as 0. */
const isHidden = (id) => id === '0';

/** What tells the row of a peer from others. */
export const rowKey = (id, index) => (isHidden(id) ? `hidden ${index}` : id);

/** Who it is, then the labels that do not say so; the id of one without labels. */
function name(id, labels) {
  const rest = others(labels);
  if (!who(labels) && !rest.length) return isHidden(id) ? nothing : html`<code class="bare">${short(id)}</code>`;
  return html`<span class="known">${who(labels) ? html`<strong class="who">${who(labels)}</strong>` : nothing}${rest.map((one) => html` ${chip(one)}`)}</span>`;
}

/** `also` is said instead of the id, if there are labels to know the peer by. */
export function peerName(id, labels, also) {
  meet(id, labels);
  const whole = [labelled(labels), isHidden(id) ? '' : id].filter(Boolean).join(' · ');
  if (isHidden(id)) {
    return html`<span class="peer" title=${whole || nothing}>${name(id, labels)} <code class="id">${also ?? 'of somebody else'}</code></span>`;
  }
  const isNamed = Object.keys(labels).length > 0;
  return html`<a class="peer" data-row href=${peerLink(id)} title=${whole}>${name(id, labels)}
    ${also || isNamed ? html`<code class="id">${also ?? short(id)}</code>` : html`<span class="id unnamed">no labels</span>`}</a>`;
}

export const releaseButton = (id, labels, semaphore) => !isHidden(id) && may('release_peer', [semaphore])
  ? html`<button type="button" class="button small" @click=${() => askToRelease(id)} aria-label=${`Release ${called(labels) || id}…`}>Release…</button>`
  : nothing;
