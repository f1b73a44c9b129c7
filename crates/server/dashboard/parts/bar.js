// A semaphore at a glance: what is held, cools and is too much, against its max; below it what is asked for by those who
// wait, which may be any number of times the max.

import { html, nothing, svg } from '../vendor/lit-html/lit-html.js';
import { count } from '../format.js';

/** Up to so many slots are drawn one by one. */
const SLOTS = 16;

const part = (kind, from, to, whole, y, height) => {
  const [x, width] = [(100 * from) / whole, (100 * (to - from)) / whole];
  return to > from
    ? svg`<rect class=${`bar-${kind}`} x=${`${x}%`} y=${y} width=${`${Math.max(width, 0.8)}%`} height=${height}></rect>`
    : nothing;
};

/** The bar in words, for those who do not see it. */
function inWords({ max, acquired, pending, cooling }) {
  const said = [max === 0 ? `${count(acquired)} held, paused` : `${count(acquired)} of ${count(max)} held`];
  if (cooling) said.push(`${count(cooling)} cooling`);
  if (pending) said.push(`${count(pending)} asked for`);
  return said.join(', ');
}

/** What the colours mean; of those that are seldom there, only what `shown` has. */
export const legend = (shown) => html`<p class="legend" aria-hidden="true"><span class="key held">held</span>${shown.cooling ? html`<span class="key cooling">cooling</span>` : nothing}${shown.over ? html`<span class="key over">above max</span>` : nothing}<span class="key pending">asked for by those who wait; half the width: as much as the max</span></p>`;

export function bar(semaphore, height = 10) {
  const { max, acquired, pending, cooling } = semaphore;
  const whole = Math.max(max, acquired + cooling, max === 0 ? pending : 0, 1);
  const isOver = max > 0 && acquired > max;
  const held = isOver ? max : acquired;
  const slots = max > 1 && whole <= SLOTS ? Array.from({ length: whole - 1 }, (_, index) => index + 1) : [];
  const low = height + 2;
  // It grows with every request, and never reaches the end: half the width is as much as the max.
  const base = Math.max(max || acquired, 1);
  return html`<svg class="bar" role="img" aria-label=${inWords(semaphore)} width="100%" height=${height + 6}>
    <rect class="bar-track" x="0" y="0" width="100%" height=${height}></rect>
    ${part(max === 0 ? 'left' : 'held', 0, held, whole, 0, height)}
    ${part('cooling', held, Math.min(whole, held + cooling), whole, 0, height)}
    ${isOver ? part('over', max, acquired, whole, 0, height) : nothing}
    ${slots.map((slot) => svg`<line class="bar-slot" x1=${`${(100 * slot) / whole}%`} x2=${`${(100 * slot) / whole}%`} y1="0" y2=${height}></line>`)}
    ${isOver ? svg`<line class="bar-max" x1=${`${(100 * max) / whole}%`} x2=${`${(100 * max) / whole}%`} y1="0" y2=${height + 4}></line>` : nothing}
    ${part('pending', 0, pending, pending + base, low, 4)}
  </svg>`;
}
