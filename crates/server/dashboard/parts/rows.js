// Only the rows of a long table that can be seen are there; the rest is empty space.

import { html } from '../vendor/lit-html/lit-html.js';

/** Rows beyond the edges, so that quick scrolling and the Tab key find some. */
const SPARE = 12;

/** Which of `total` rows of `height` pixels are in sight, in the table body `body` (null before it is there). */
export function inSight(body, total, height) {
  const top = body ? body.getBoundingClientRect().top : 0;
  const seen = Math.max(0, -top) / height;
  const first = Math.max(0, Math.min(Math.floor(seen) - SPARE, total - 1));
  const last = Math.min(total, Math.ceil(seen + innerHeight / height) + SPARE);
  return { first, last: Math.max(first, last) };
}

/** The empty space of so many rows. */
export const space = (rows, height, columns) =>
  html`<tr class="space" aria-hidden="true"><td colspan=${columns} .style=${`height:${rows * height}px`}></td></tr>`;

/** Lets the arrow keys go from row to row. For the `keydown` of a table. */
export function arrows(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
  const links = [...event.currentTarget.querySelectorAll('a[data-row]')];
  const at = links.indexOf(document.activeElement);
  const next = links[at < 0 ? 0 : at + step];
  if (!next) return;
  event.preventDefault();
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: 'nearest' });
}
