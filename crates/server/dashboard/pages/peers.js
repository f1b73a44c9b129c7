// All peers, or those that a search finds, read page by page as somebody scrolls.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { repeat } from '../vendor/lit-html/directives/repeat.js';
import { getPeers } from '../api.js';
import { schedule } from '../draw.js';
import { age, count, full, many, semaphoreLink, until } from '../format.js';
import { peerName, rowKey } from '../parts/peer.js';
import { arrows, inSight, space } from '../parts/rows.js';
import { store } from '../store.js';

const PAGE = 500;
/** How often a short list is read anew while peers come and go. */
const AGAIN = 2_000;

const rowHeight = () => (matchMedia('(max-width: 700px)').matches ? 84 : 44);

const names = (list) => list.map(([name, number], index) => html`${index ? ', ' : ''}<a class="name" href=${semaphoreLink(name)}>${name}</a>${number > 1 ? ` ×${count(number)}` : ''}`);

const row = (peer) => html`<tr role="row">
  <td role="cell" class="cell-peer">${peerName(peer.id, peer.labels)}</td>
  <td role="cell" class="held-list" data-name="Holds">${peer.locks.length ? names(peer.locks.map((lock) => [lock.semaphore, lock.count])) : html`<span class="none">nothing</span>`}</td>
  <td role="cell" class="held-list" data-name="Waits for">${peer.pending ? html`${names(Object.entries(peer.pending.locks))} <span class="wait">${age(peer.pending.since)}</span>` : html`<span class="none">–</span>`}</td>
  <td role="cell" class="number" data-name="Lives since" title=${full(peer.created_at)}>${age(peer.created_at)}</td>
  <td role="cell" class="number" data-name="Expires in" title=${full(peer.expires_at)}>${until(peer.expires_at)}</td></tr>`;

export function page(_parameters, query) {
  const wanted = { search: query.get('search'), label: query.get('label'), semaphore: query.get('semaphore') };
  let peers = [];
  let next;
  let isDone = false;
  let isReading = false;
  let isChanged = false;
  let error = null;
  let timer = 0;

  async function read(isAnew) {
    if (isReading || (isDone && !isAnew)) return;
    isReading = true;
    try {
      const page = await getPeers({ ...wanted, limit: PAGE, cursor: isAnew ? undefined : next });
      peers = isAnew ? page.items : [...peers, ...page.items];
      [next, isDone, error] = [page.next, !page.next, null];
      if (isAnew) isChanged = false;
    } catch (problem) {
      error = problem;
      isDone = true;
    }
    isReading = false;
    schedule();
  }

  function title() {
    if (wanted.semaphore) return html`Peers that hold or wait for <span class="name">${wanted.semaphore}</span>`;
    if (wanted.search || wanted.label) return html`Peers with <span class="name">${wanted.search ?? wanted.label}</span>`;
    return 'Peers';
  }

  function table() {
    const height = rowHeight();
    const { first, last } = inSight(document.querySelector('.peers tbody'), peers.length, height);
    if (last + 50 > peers.length) read(false);
    return html`<table class="peers rows" role="table" aria-label="Peers" aria-rowcount=${isDone ? peers.length + 1 : -1} @keydown=${arrows}>
      <thead role="rowgroup"><tr role="row"><th scope="col" role="columnheader" class="cell-peer">Peer</th><th scope="col" role="columnheader">Holds</th><th scope="col" role="columnheader">Waits for</th><th scope="col" role="columnheader" class="number">Lives since</th><th scope="col" role="columnheader" class="number">Expires in</th></tr></thead>
      <tbody role="rowgroup">${space(first, height, 5)}${repeat(peers.slice(first, last), (peer, index) => rowKey(peer.id, index), row)}${space(peers.length - last, height, 5)}</tbody></table>`;
  }

  function empty() {
    if (error) return html`<p class="error" role="alert">${error.message}</p>`;
    if (!isDone) return html`<p class="empty">Reading…</p>`;
    if (wanted.search || wanted.label || wanted.semaphore) return html`<p class="empty">No peer matches. A search looks at ids and labels, such as <code>host:w1</code>.</p>`;
    return html`<p class="empty">No peer is here: nobody holds anything, and nobody waits.</p>`;
  }

  return {
    title: 'Peers',
    enter() {
      read(true);
      timer = setInterval(() => isChanged && peers.length <= PAGE && read(true), AGAIN);
    },
    leave: () => clearInterval(timer),
    update({ changed_peers: ids, is_partial: isPartial }) {
      isChanged ||= isPartial || ids.length > 0;
    },
    again: () => read(true),
    view() {
      const isWhole = !wanted.search && !wanted.label && !wanted.semaphore;
      return html`<div class="headline"><h1 tabindex="-1">${title()} <span class="figure">${isWhole ? count(store.totals.peers) : isDone ? count(peers.length) : `${count(peers.length)}+`}</span></h1>
        ${isWhole ? nothing : html`<a href="#/peers">All peers</a>`}
        ${isChanged && peers.length > PAGE ? html`<button type="button" class="button small" @click=${() => { scrollTo(0, 0); read(true); }}>Some changed: read again</button>` : nothing}</div>
        ${peers.length ? table() : empty()}
        ${peers.length && !isDone ? html`<p class="note">${many(peers.length, 'peer')} read so far; scroll on for more.</p>` : nothing}`;
    },
  };
}
