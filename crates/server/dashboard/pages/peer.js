// One peer: what it holds, what it waits for, and who is in its way.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { getPeer } from '../api.js';
import { schedule } from '../draw.js';
import { age, count, full, length, now, semaphoreLink, span, until, within } from '../format.js';
import { may } from '../may.js';
import { askToRelease } from '../parts/dialog.js';
import { eventList } from '../parts/events.js';
import { chips, peerName } from '../parts/peer.js';
import { meet, who } from '../people.js';
import { repeating } from '../refetch.js';
import { store } from '../store.js';

const link = (name) => html`<a class="name" data-row href=${semaphoreLink(name)}>${name}</a>`;
const fact = (name, value) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`;

function locks(peer) {
  if (!peer.locks.length) return html`<p class="empty">It holds nothing.</p>`;
  return html`<table class="rows compact" role="table" aria-labelledby="held"><thead role="rowgroup"><tr role="row">
      <th scope="col" role="columnheader">Semaphore</th><th scope="col" role="columnheader" class="number">Count</th><th scope="col" role="columnheader" class="number">Held for</th><th scope="col" role="columnheader" class="token">Token</th></tr></thead>
    <tbody role="rowgroup">${peer.locks.map((lock) => html`<tr role="row"><td role="cell" class="cell-peer">${link(lock.semaphore)}</td><td role="cell" class="number" data-name="Count">${count(lock.count)}</td>
      <td role="cell" class="number" data-name="Held for" title=${full(lock.since)}>${age(lock.since)}</td><td role="cell" class="token" data-name="Token"><code>${lock.token ?? 'none'}</code></td></tr>`)}</tbody></table>`;
}

function request({ locks, priority, since, position, estimated_wait: estimate, blocked_by: blockers }) {
  return html`<p>It asks for ${Object.entries(locks).map(([name, number], index) => html`${index ? ' and ' : ''}${link(name)}${number > 1 ? ` ×${count(number)}` : ''}`)},
      ${Object.keys(locks).length > 1 ? 'all in one step, ' : ''}and is number <strong>${count(position)}</strong> in line.</p>
    <dl class="facts">${fact('Waiting', html`<span class="wait">${age(since)}</span>`)}${fact('Estimate', estimate === null ? 'unknown' : `about ${length(Math.max(1000, span(estimate)))}`)}${fact('Priority', priority)}</dl>
    <h3>In its way</h3>
    ${blockers.length ? html`<table class="rows compact" id="blockers" role="table" aria-label="In its way"><thead role="rowgroup"><tr role="row"><th scope="col" role="columnheader">Who or what</th><th scope="col" role="columnheader">How</th><th scope="col" role="columnheader" class="number">Count</th><th scope="col" role="columnheader" class="number">For</th></tr></thead>
      <tbody role="rowgroup">${blockers.map(blocker)}</tbody></table>`
      : html`<p class="empty">Nobody’s release would help. Either its turn comes at any moment, or it asks for more than the max, or the server gives out nothing just now.</p>`}`;
}

const links = (names) => names.map((name, index) => html`${index ? ', ' : ''}${link(name)}`);

/** What somebody in the way does there: he holds it, or stands ahead in line and waits for something himself. */
function does({ kind = 'holder', semaphore, waits_for: waits = [] }) {
  if (kind === 'ahead') return html`ahead in line for ${link(semaphore)}${waits.length ? html`; waits for ${links(waits)}` : nothing}`;
  return html`${kind === 'holder' ? 'holds' : 'in the way for'} ${link(semaphore)}`;
}

/** What keeps a semaphore closed to all. Later servers may know more than this. */
const closes = ({ kind, until: due }) => ({
  paused: 'paused: its max is 0',
  rate: due ? html`held back by its rate; the next is due <span title=${full(due)}>${within(due)}</span>` : 'held back by its rate',
})[kind] ?? 'not to be had yet';

const blocker = (one) => html`<tr role="row"><td role="cell" class="cell-peer">${one.peer ? peerName(one.peer, one.labels ?? {}) : link(one.semaphore)}</td>
  <td role="cell" class="blocks">${one.peer ? does(one) : closes(one)}</td>
  <td role="cell" class="number" data-name="Count">${count(one.count)}</td><td role="cell" class="number" data-name=${one.since ? 'For' : nothing}>${one.since ? age(one.since) : html`<span class="none">–</span>`}</td></tr>`;

export function page([id]) {
  let seen = null;
  let error = null;
  const fetching = repeating(async () => {
    try {
      [seen, error] = [await getPeer(id), null];
      meet(id, seen.labels);
    } catch (problem) {
      error = problem;
    }
    schedule();
  });
  const names = () => [...(seen?.locks ?? []).map((lock) => lock.semaphore), ...Object.keys(seen?.pending?.locks ?? {})];

  function body() {
    const isLate = Date.parse(seen.expires_at) < now();
    return html`<div class="labels">${Object.keys(seen.labels).length ? chips(seen.labels) : html`<span class="unnamed">It has no labels: its client tells nothing of itself.</span>`}</div>
      <dl class="facts">${fact('Age', html`<span title=${full(seen.created_at)}>${age(seen.created_at)}</span>`)}
        ${fact('Expires in', html`<span class=${isLate ? 'late' : ''} title=${full(seen.expires_at)}>${isLate ? 'overdue: no heartbeat came' : until(seen.expires_at)}</span>`)}</dl>
      <div class="halves">
        <section aria-labelledby="held"><h2 id="held">Holds <span class="figure">${count(seen.locks.length)}</span></h2>${locks(seen)}</section>
        <section aria-labelledby="asks"><h2 id="asks">Waits for</h2>${seen.pending ? request(seen.pending) : html`<p class="empty">It waits for nothing.</p>`}</section>
      </div>`;
  }

  return {
    title: `Peer ${id}`,
    enter: () => fetching.start(),
    leave: () => fetching.stop(),
    update({ changed, changed_peers: peers }) {
      const own = names();
      if (peers.includes(id) || changed.some((s) => own.includes(s.name))) fetching.soon();
    },
    again: () => fetching.now(),
    view() {
      const isGone = error?.code === 'peer_gone';
      const events = store.events.filter((event) => event.peer === id);
      return html`<p class="crumbs"><a href="#/peers">Peers</a></p>
        <div class="headline"><h1 tabindex="-1">${seen && who(seen.labels) ? html`<span class="who">${who(seen.labels)}</span> ` : nothing}<span class="what">Peer <code class="id whole">${id}</code></span>${isGone ? html` <span class="badge paused">gone</span>` : nothing}</h1>
          ${seen && !isGone && may('release_peer', names()) ? html`<div class="acts"><button type="button" class="button dangerous" @click=${() => askToRelease(id)}>Release…</button></div>` : nothing}</div>
        ${isGone ? html`<p class="why">${error.message.replace(/ It holds nothing any more\..*$| Make a new one with.*$/, '')} It holds nothing any more.</p>` : nothing}
        ${error && !isGone ? html`<p class="error" role="alert">${error.message}</p>` : nothing}
        ${seen && !isGone ? body() : error ? nothing : html`<p class="empty">Reading…</p>`}
        ${events.length ? html`<section aria-labelledby="its-events"><h2 id="its-events">Recent events</h2>${eventList(events, 60)}</section>` : nothing}`;
    },
  };
}
