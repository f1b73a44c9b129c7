// Long lists have pages. The server gives a cursor for the next one; the way back is remembered.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { count } from '../format.js';

/** Where one is in a list, and how one came there. */
export class Places {
  #back = [];

  /** What the server takes for the page that is shown; undefined for the first. */
  cursor;

  /** How many come before it. */
  before = 0;

  get isFirst() {
    return this.#back.length === 0;
  }

  next(cursor, shown) {
    this.#back.push([this.cursor, this.before]);
    [this.cursor, this.before] = [cursor, this.before + shown];
  }

  previous() {
    [this.cursor, this.before] = this.#back.pop() ?? [undefined, 0];
  }

  first() {
    this.#back = [];
    [this.cursor, this.before] = [undefined, 0];
  }
}

/**
 * Which part of a list is shown, and buttons to the others; nothing if it is all of it. `total` is null where nobody
 * knows it, `next` the cursor of the next page.
 */
export function pager({ what, places, shown, total, next, turned }) {
  if (places.isFirst && !next) return nothing;
  const go = (turn) => () => {
    turn();
    turned();
  };
  const of = total === null ? '' : ` of ${count(Math.max(total, places.before + shown))}`;
  return html`<nav class="pager" aria-label=${`Pages of ${what}`}>
    <span>${shown > 1 ? `${count(places.before + 1)} to ` : ''}${count(places.before + shown)}${of} ${what}</span>
    <button type="button" class="button small" ?disabled=${places.isFirst} @click=${go(() => places.previous())}>Previous</button>
    <button type="button" class="button small" ?disabled=${!next} @click=${go(() => places.next(next, shown))}>Next</button></nav>`;
}
