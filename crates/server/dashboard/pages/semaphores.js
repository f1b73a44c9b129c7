// The front page: all semaphores, those in trouble first.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { repeat } from '../vendor/lit-html/directives/repeat.js';
import { getPeers } from '../api.js';
import { schedule } from '../draw.js';
import { connection } from '../live.js';
import { count, length, many, now, semaphoreLink } from '../format.js';
import { mayAny } from '../may.js';
import { bar, legend } from '../parts/bar.js';
import { askToMake } from '../parts/declare.js';
import { eventList } from '../parts/events.js';
import { pager } from '../parts/pager.js';
import { peerName } from '../parts/peer.js';
import { arrows, inSight, space } from '../parts/rows.js';
import { sparkline } from '../parts/sparkline.js';
import { look, spotlight } from '../parts/spotlight.js';
import { history, load, period, refresh, search, store } from '../store.js';
import { isFull, states } from '../words.js';

const FILTERS = {
  all: { word: 'All', has: () => true },
  waiting: { word: 'Waiting', has: (s) => s.waiting > 0 },
  full: { word: 'Full', has: isFull },
  over: { word: 'Overcommitted', has: (s) => s.max > 0 && s.acquired > s.max },
  paused: { word: 'Paused', has: (s) => s.max === 0 },
  cooling: { word: 'Cooling', has: (s) => s.cooling > 0 },
};

const use = (s) => (s.max ? (s.acquired + s.cooling) / s.max : s.acquired ? 1 : 0);
const byName = (a, b) => (a.name < b.name ? -1 : 1);
const trouble = (s) => (s.max > 0 && s.acquired > s.max ? 2 : s.waiting > 0 ? 1 : 0);

const SORTS = {
  trouble: (a, b) => trouble(b) - trouble(a) || (a.waitingSince ?? Infinity) - (b.waitingSince ?? Infinity) || use(b) - use(a),
  name: () => 0,
  use: (a, b) => use(b) - use(a),
  held: (a, b) => b.acquired - a.acquired,
  waiting: (a, b) => b.waiting - a.waiting,
  longest: (a, b) => (a.waitingSince ?? Infinity) - (b.waitingSince ?? Infinity),
};

/** How seldom rows change places while they are looked at. */
const RESORT = 1_000;

const view = { filter: 'all', sort: 'trouble', reversed: false, search: '', peers: [], scroll: 0 };
let order = [];
let counts = {};
let ordered = { key: '', version: -1, at: 0 };

/** Which semaphores are shown, in order. Rows do not jump while somebody points at one. */
function arrange() {
  const key = `${view.filter} ${view.sort} ${view.reversed} ${view.search} ${store.isLoaded}`;
  const isHeld = document.querySelector('.semaphores tbody:is(:hover, :focus-within)');
  const isDue = ordered.version !== store.version && Date.now() - ordered.at > RESORT && !isHeld;
  if (ordered.key === key && !isDue) return;
  ordered = { key, version: store.version, at: Date.now() };
  const wanted = view.search.toLowerCase();
  const all = [...store.semaphores.values()].filter((s) => !wanted || s.name.toLowerCase().includes(wanted));
  counts = Object.fromEntries(Object.entries(FILTERS).map(([id, { has }]) => [id, all.filter(has).length]));
  const shown = all.filter(FILTERS[view.filter].has);
  shown.sort((a, b) => SORTS[view.sort](a, b) || byName(a, b));
  if (view.reversed) shown.reverse();
  order = shown.map((s) => s.name);
}

const rowHeight = () => (matchMedia('(max-width: 700px)').matches ? 88 : 44);

function row(name, index) {
  const s = store.semaphores.get(name);
  if (!s) return html`<tr class="semaphore gone" role="row" aria-rowindex=${index + 2}><td colspan="6">${name} was removed</td></tr>`;
  return html`<tr class="semaphore" role="row" aria-rowindex=${index + 2}>
    <td class="cell-name" role="cell"><div class="named"><a class="name" data-row href=${semaphoreLink(name)} title=${name}>${name}</a>
      ${states(s).map(({ word, kind }) => html` <span class="badge ${kind}">${word}</span>`)}</div></td>
    <td class="cell-use" role="cell">${bar(s)}</td>
    <td class="cell-held number" role="cell">${count(s.acquired)}${s.max === 0 ? nothing : html`<span class="of"> of ${count(s.max)}</span>`}</td>
    <td class="cell-waiting number" role="cell">${s.waiting ? html`<strong>${count(s.waiting)}</strong>` : html`<span class="none">–</span>`}</td>
    <td class="cell-longest number" role="cell">${s.waitingSince === null ? html`<span class="none">–</span>` : html`<span class="wait">${length(now() - s.waitingSince)}</span>`}</td>
    <td class="cell-hour" role="cell">${sparkline(s, history(name), period())}</td>
  </tr>`;
}

function sortBy(sort) {
  view.reversed = view.sort === sort ? !view.reversed : false;
  view.sort = sort;
  schedule();
}

const heading = (sort, word, kind = '') => html`<th scope="col" class=${kind} role="columnheader"
  aria-sort=${view.sort === sort ? (view.reversed === (sort === 'name') ? 'descending' : 'ascending') : 'none'}>
  <button type="button" class="sort" @click=${() => sortBy(sort)}>${word}</button></th>`;

function table() {
  const height = rowHeight();
  const { first, last } = inSight(document.querySelector('.semaphores tbody'), order.length, height);
  const rows = order.slice(first, last).map((name, index) => ({ name, index: first + index }));
  return html`<table class="semaphores rows" role="table" aria-label="Semaphores" aria-rowcount=${order.length + 1} @keydown=${arrows}>
    <thead role="rowgroup"><tr role="row" aria-rowindex="1">
      ${heading('name', 'Semaphore', 'cell-name')}${heading('use', 'Use', 'cell-use')}${heading('held', 'Held', 'number cell-held')}
      ${heading('waiting', 'Waiting', 'number cell-waiting')}${heading('longest', 'Longest wait', 'number cell-longest')}
      <th scope="col" role="columnheader" class="cell-hour" title=${period()}>${period().replace('the start at ', '')}</th></tr></thead>
    <tbody role="rowgroup">${space(first, height, 6)}${repeat(rows, ({ name }) => name, ({ name, index }) => row(name, index))}${space(order.length - last, height, 6)}</tbody>
  </table>`;
}

let tops = { version: -1, list: [] };

/** Those where somebody waits longest. */
function longest() {
  if (tops.version !== store.version) {
    const waiting = [...store.semaphores.values()].filter((s) => s.waitingSince !== null);
    tops = { version: store.version, list: waiting.sort(SORTS.longest).slice(0, 3) };
  }
  return tops.list;
}

const foundPeers = () => view.search.length > 1 && view.peers.length
  ? html`<section aria-labelledby="found-peers"><h2 id="found-peers">Peers that match</h2>
      <ul class="found">${view.peers.slice(0, 8).map((peer) => html`<li>${peerName(peer.id, peer.labels)}
        <span class="quiet">${peer.locks.length ? `holds ${peer.locks.map((lock) => lock.semaphore).join(', ')}` : peer.pending ? `waits for ${Object.keys(peer.pending.locks).join(', ')}` : 'holds nothing'}</span></li>`)}</ul>
      <p><a href=${`#/peers?search=${encodeURIComponent(view.search)}`}>All peers that match</a></p></section>`
  : nothing;

function nothingHere() {
  if (store.error) return html`<p class="empty error">${store.error.message}</p>`;
  if (!store.isLoaded) return html`<p class="empty">Reading the semaphores…</p>`;
  if (view.search) return html`<p class="empty">No semaphore has <b>${view.search}</b> in its name${view.filter === 'all' ? '' : `, and is ${FILTERS[view.filter].word.toLowerCase()}`}.</p>`;
  if (view.filter !== 'all') return html`<p class="empty">No semaphore is ${FILTERS[view.filter].word.toLowerCase()} now.</p>`;
  return html`<div class="empty"><p>There are no semaphores yet.</p>
    <p class="quiet">Declare some in the configuration file, below <code>[semaphores]</code>, and reload it; or make one:</p>
    <pre tabindex="0">throttle semaphore set NAME --max 5</pre></div>`;
}

/** Reads another part of the semaphores. What is shown of the one before goes at once. */
function turn() {
  Object.assign(store, { isLoaded: false, semaphores: new Map() });
  load();
}

let asked = 0;

/** Searches for a text; the list follows at once, the server a little later. */
export function searchFor(text) {
  view.search = text;
  view.peers = [];
  clearTimeout(asked);
  if (text.length > 1) {
    asked = setTimeout(async () => {
      try {
        const [page] = await Promise.all([getPeers({ search: text, limit: 20 }), search(text)]);
        if (view.search === text) view.peers = page.items;
      } catch {
        // The state of the connection is told elsewhere.
      }
      schedule();
    }, 200);
  }
  schedule();
}

export function page(_parameters, query) {
  searchFor(query.get('search') ?? '');
  let timer = 0;
  return {
    title: 'Semaphores',
    scroll: view.scroll,
    enter() {
      look(longest);
      timer = setInterval(() => {
        look(longest);
        const { first, last } = inSight(document.querySelector('.semaphores tbody'), order.length, rowHeight());
        const cooling = order.slice(first, last).filter((name) => store.semaphores.get(name)?.cooling > 0);
        if (!document.hidden && connection.state === 'live') refresh(cooling.slice(0, 10));
      }, 1_500);
    },
    leave() {
      view.scroll = scrollY;
      clearInterval(timer);
    },
    view() {
      arrange();
      const spots = view.search ? [] : longest();
      const all = store.semaphores.size;
      return html`<div class="front">
        <div class="main">
          <h1 class="unseen" tabindex="-1">Semaphores</h1>
          ${spots.length ? html`<section aria-labelledby="longest"><h2 id="longest">Waiting longest</h2><ul class="spotlights">${spots.map(spotlight)}</ul></section>` : nothing}
          <div class="filters" role="group" aria-label="Show">
            ${Object.entries(FILTERS).map(([id, { word }]) => html`<button type="button" class="filter ${id}" aria-pressed=${view.filter === id} ?disabled=${id !== 'all' && !counts[id] && view.filter !== id} @click=${() => { view.filter = id; schedule(); }}>${word} <span class="figure">${count(counts[id] ?? 0)}</span></button>`)}
            ${view.sort === 'trouble' ? nothing : html`<button type="button" class="link" @click=${() => { Object.assign(view, { sort: 'trouble', reversed: false }); schedule(); }}>Problems first</button>`}
            <span class="quiet end">${all && !spots.length && store.isLoaded && !view.search ? 'Nobody waits.' : ''} ${many(store.totals.peers, 'peer')}</span>
            ${mayAny('set_semaphore') ? html`<button type="button" class="button small" @click=${askToMake}>New semaphore…</button>` : nothing}
          </div>
          ${order.length ? legend({ cooling: counts.cooling, over: counts.over }) : nothing}
          ${pager({ what: 'semaphores, by name', places: store.places, shown: all, total: store.totals.semaphores, next: store.next, turned: turn })}
          ${order.length ? table() : nothingHere()}
          ${foundPeers()}
        </div>
        <aside class="side" aria-labelledby="events"><h2 id="events"><a href="#/events">Events</a></h2>${eventList(store.events, 40)}</aside>
      </div>`;
    },
  };
}
