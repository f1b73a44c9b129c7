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

const chipsOf = (list, kind) => (list.length ? html`<span class=${kind}>${list.map((one) => html`${chip(one)} `)}</span>` : nothing);

/**
 * Who it is, and below that which of them: its id, or `also` instead, and the labels that do not say who. Whoever has only
 * such labels is known by them; whoever has none, by the id.
 */
export function peerName(id, labels, also) {
  meet(id, labels);
  const [name, rest] = [who(labels), others(labels)];
  const number = also ?? (isHidden(id) ? 'of somebody else' : short(id));
  const whole = [labelled(labels), isHidden(id) ? '' : id].filter(Boolean).join(' · ');
  const said = name || rest.length
    ? html`${name ? html`<span class="known"><strong class="who">${name}</strong></span>` : chipsOf(rest, 'known')}
      <span class="which"><code class="id">${number}</code>${name ? chipsOf(rest, 'rest') : nothing}</span>`
    : html`${isHidden(id) ? nothing : html`<code class="bare">${short(id)}</code>`}
      ${also || isHidden(id) ? html`<code class="id">${number}</code>` : html`<span class="id unnamed">no labels</span>`}`;
  return isHidden(id)
    ? html`<span class="peer" title=${whole || nothing}>${said}</span>`
    : html`<a class="peer" data-row href=${peerLink(id)} title=${whole}>${said}</a>`;
}

export const releaseButton = (id, labels, semaphore) => !isHidden(id) && may('release_peer', [semaphore])
  ? html`<button type="button" class="button small" @click=${() => askToRelease(id)} aria-label=${`Release ${called(labels) || id}…`}>Release…</button>`
  : nothing;
