// All peers, or those that a search finds: a page of them at a time, in an order and by a filter of one's own.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { repeat } from '../vendor/lit-html/directives/repeat.js';
import { getPeers } from '../api.js';
import { schedule } from '../draw.js';
import { age, count, full, many, now, semaphoreLink, until } from '../format.js';
import { pager, Places } from '../parts/pager.js';
import { peerName, rowKey } from '../parts/peer.js';
import { arrows, inSight, space } from '../parts/rows.js';
import { called } from '../people.js';
import { store } from '../store.js';

const PAGE = 1000;
/** How often a page of at most so many is read anew while peers come and go. */
const AGAIN = 2_000;
const FEW = 500;

const holds = (peer) => peer.locks.length > 0;
const waits = (peer) => peer.pending !== null;
const isLate = (peer) => Date.parse(peer.expires_at) < now();

const FILTERS = {
  all: { word: 'All', has: () => true },
  holding: { word: 'Holding', has: holds },
  waiting: { word: 'Waiting', has: waits },
  idle: { word: 'Idle', has: (peer) => !holds(peer) && !waits(peer) },
  late: { word: 'Overdue', has: isLate },
};

const held = (peer) => peer.locks.reduce((sum, lock) => sum + lock.count, 0);
const waitingSince = (peer) => (peer.pending ? Date.parse(peer.pending.since) : Infinity);

/** What is first when a heading is clicked once. Without one, peers stand as the server has them. */
const SORTS = {
  who: (a, b) => called(a.labels).localeCompare(called(b.labels)),
  holds: (a, b) => held(b) - held(a),
  waits: (a, b) => waitingSince(a) - waitingSince(b) || 0,
  age: (a, b) => Date.parse(a.created_at) - Date.parse(b.created_at),
  expires: (a, b) => Date.parse(a.expires_at) - Date.parse(b.expires_at),
};

const rowHeight = () => (matchMedia('(max-width: 700px)').matches ? 104 : 52);

const names = (list) => list.map(([name, number], index) => html`${index ? ', ' : ''}<a class="name" href=${semaphoreLink(name)}>${name}</a>${number > 1 ? ` ×${count(number)}` : ''}`);
const inWords = (list) => list.map(([name, number]) => (number > 1 ? `${name} ×${count(number)}` : name)).join(', ');

function row(peer) {
  const locks = peer.locks.map((lock) => [lock.semaphore, lock.count]);
  const wish = Object.entries(peer.pending?.locks ?? {});
  return html`<tr role="row">
  <td role="cell" class="cell-peer">${peerName(peer.id, peer.labels)}</td>
  <td role="cell" class="held-list" data-name="Holds" title=${inWords(locks) || nothing}>${locks.length ? names(locks) : html`<span class="none">nothing</span>`}</td>
  <td role="cell" class="held-list" data-name="Waits for" title=${inWords(wish) || nothing}>${peer.pending ? html`<span class="wait">${age(peer.pending.since)}</span> ${names(wish)}` : html`<span class="none">–</span>`}</td>
  <td role="cell" class="number" data-name="Age" title=${full(peer.created_at)}>${age(peer.created_at)}</td>
  <td role="cell" class="number ${isLate(peer) ? 'late' : ''}" data-name="Expires in" title=${full(peer.expires_at)}>${until(peer.expires_at)}</td></tr>`;
}

/** What stays when one comes back from the page of a peer. */
const view = { filter: 'all', sort: null, reversed: false };

function sortBy(sort) {
  if (view.sort !== sort) Object.assign(view, { sort, reversed: false });
  else if (!view.reversed) view.reversed = true;
  else Object.assign(view, { sort: null, reversed: false });
  schedule();
}

const heading = (sort, word, kind = '') => html`<th scope="col" class=${kind} role="columnheader"
  aria-sort=${view.sort === sort ? (view.reversed ? 'descending' : 'ascending') : 'none'}>
  <button type="button" class="sort" @click=${() => sortBy(sort)}>${word}</button></th>`;

export function page(_parameters, query) {
  const wanted = { search: query.get('search'), label: query.get('label'), semaphore: query.get('semaphore') };
  const isWhole = !wanted.search && !wanted.label && !wanted.semaphore;
  const places = new Places();
  let peers = [];
  let next = null;
  let isDone = false;
  let isReading = false;
  let isChanged = false;
  let error = null;
  let timer = 0;

  /** Reads the page on which one is; the server ends its own pages sooner if peers have much to tell. */
  async function read() {
    if (isReading) return;
    isReading = true;
    const { cursor: from } = places;
    try {
      const found = [];
      let cursor = from;
      do {
        const part = await getPeers({ ...wanted, limit: PAGE - found.length, cursor });
        found.push(...part.items);
        cursor = part.next;
      } while (cursor && found.length < PAGE);
      [peers, next, error, isChanged, isDone] = [found, cursor, null, false, true];
    } catch (problem) {
      [error, isDone] = [problem, true];
    }
    isReading = false;
    schedule();
    if (places.cursor !== from) read();
    else if (!peers.length && !places.isFirst) {
      places.first();
      read();
    }
  }

  function turned() {
    scrollTo(0, 0);
    read();
  }

  function title() {
    if (wanted.semaphore) return html`Peers that hold or wait for <span class="name">${wanted.semaphore}</span>`;
    if (!isWhole) return html`Peers with <span class="name">${wanted.search ?? wanted.label}</span>`;
    return 'Peers';
  }

  function arranged() {
    const shown = peers.filter(FILTERS[view.filter].has);
    if (view.sort) shown.sort(SORTS[view.sort]);
    if (view.reversed) shown.reverse();
    return shown;
  }

  function table(shown) {
    const height = rowHeight();
    const { first, last } = inSight(document.querySelector('.peers tbody'), shown.length, height);
    return html`<table class="peers rows compact" role="table" aria-label="Peers" aria-rowcount=${shown.length + 1} @keydown=${arrows}>
      <thead role="rowgroup"><tr role="row">${heading('who', 'Who', 'cell-peer')}${heading('holds', 'Holds')}${heading('waits', 'Waits for')}${heading('age', 'Age', 'number')}${heading('expires', 'Expires in', 'number')}</tr></thead>
      <tbody role="rowgroup">${space(first, height, 5)}${repeat(shown.slice(first, last), (peer, index) => rowKey(peer.id, index), row)}${space(shown.length - last, height, 5)}</tbody></table>`;
  }

  function empty() {
    if (error) return html`<p class="error" role="alert">${error.message}</p>`;
    if (!isDone) return html`<p class="empty">Reading…</p>`;
    if (peers.length) return html`<p class="empty">No peer here is ${FILTERS[view.filter].word.toLowerCase()} now.</p>`;
    if (!isWhole) return html`<p class="empty">No peer matches. A search looks at ids and labels, such as <code>host:w1</code>.</p>`;
    return html`<p class="empty">No peer is here: nobody holds anything, and nobody waits.</p>`;
  }

  function filters() {
    const button = ([id, { word, has }]) => {
      const number = peers.filter(has).length;
      return html`<button type="button" class="filter ${id}" aria-pressed=${view.filter === id} ?disabled=${id !== 'all' && !number && view.filter !== id} @click=${() => { view.filter = id; schedule(); }}>${word} <span class="figure">${count(number)}</span></button>`;
    };
    const find = (event) => {
      event.preventDefault();
      const text = new FormData(event.target).get('search').trim();
      location.hash = text ? `#/peers?search=${encodeURIComponent(text)}` : '#/peers';
    };
    return html`<div class="filters" role="group" aria-label="Show">${Object.entries(FILTERS).map(button)}
      <form class="find end" @submit=${find}><input type="search" name="search" aria-label="Find peers by label or id" placeholder="Label or id" autocomplete="off" spellcheck="false" .defaultValue=${wanted.search ?? ''}><button type="submit" class="button small">Find</button></form></div>`;
  }

  /** How many there are in all; null while nobody knows. */
  function total() {
    if (isWhole && store.totals.peers) return store.totals.peers;
    return next ? null : places.before + peers.length;
  }

  return {
    title: 'Peers',
    enter() {
      read();
      timer = setInterval(() => isChanged && peers.length <= FEW && read(), AGAIN);
    },
    leave: () => clearInterval(timer),
    update({ changed_peers: ids, is_partial: isPartial }) {
      isChanged ||= isPartial || ids.length > 0;
    },
    again: read,
    view() {
      const all = total();
      const shown = arranged();
      const isPart = Boolean(next) || !places.isFirst;
      return html`<div class="headline"><h1 tabindex="-1">${title()} <span class="figure">${all === null ? `${count(places.before + peers.length)}+` : count(all)}</span></h1>
        ${isWhole ? nothing : html`<a href="#/peers">All peers</a>`}
        ${isChanged && peers.length > FEW ? html`<button type="button" class="button small" @click=${turned}>Some changed: read again</button>` : nothing}</div>
        ${filters()}
        ${isPart ? html`<p class="note">Counts and order are those of the ${many(peers.length, 'peer')} on this page.</p>` : nothing}
        ${pager({ what: 'peers', places, shown: peers.length, total: all, next, turned })}
        ${shown.length ? table(shown) : empty()}`;
    },
  };
}
