// One semaphore: who holds it, who waits and why, and what can be done.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { repeat } from '../vendor/lit-html/directives/repeat.js';
import { getPending, getSemaphore } from '../api.js';
import { schedule } from '../draw.js';
import { age, count, full, length, many, now, semaphoreLink, span, until } from '../format.js';
import { may, whyNot } from '../may.js';
import { bar, legend } from '../parts/bar.js';
import { chartIn } from '../parts/chart.js';
import { askToRemove } from '../parts/declare.js';
import { askToPause, askToResize } from '../parts/dialog.js';
import { eventList } from '../parts/events.js';
import { pager, Places } from '../parts/pager.js';
import { peerName, releaseButton, rowKey } from '../parts/peer.js';
import { inSight, space } from '../parts/rows.js';
import { repeating } from '../refetch.js';
import { hasLevels, history, period, store } from '../store.js';
import { behind, headOf, isPassed, states, why } from '../words.js';

const ORIGINS = { file: 'the configuration file', runtime: 'a request', pattern: 'a pattern' };
/** How many holders and waiters are shown on a page. */
const PAGE = 200;
/** How many waiters are looked at for the first in line, where another part of the queue is shown. */
const TOP = 10;

const fact = (name, value) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`;

const rowHeight = () => (matchMedia('(max-width: 700px)').matches ? 84 : 52);

/** A table of peers, of which only the rows in sight are there. */
function rowsOf(id, items, columns, row) {
  const height = rowHeight();
  const { first, last } = inSight(document.querySelector(`#${id} tbody`), items.length, height);
  return html`<tbody role="rowgroup">${space(first, height, columns)}${repeat(items.slice(first, last), (item, index) => rowKey(item.peer, index), row)}${space(items.length - last, height, columns)}</tbody>`;
}

const holder = (name) => (item) => html`<tr role="row">
  <td role="cell" class="cell-peer">${peerName(item.peer, item.labels, `token ${item.token ?? 'none'}`)}</td>
  <td role="cell" class="number" data-name="Count">${count(item.count)}</td>
  <td role="cell" class="number" data-name="Held for" title=${full(item.since)}>${age(item.since)}</td>
  <td role="cell" class="number expires ${Date.parse(item.expires_at) < now() ? 'late' : ''}" data-name="Expires in" title=${full(item.expires_at)}>${until(item.expires_at)}</td>
  <td role="cell" class="acts">${releaseButton(item.peer, item.labels, name)}</td></tr>`;

/** `ranked`: whether some wait with a priority, so that there is a column for it. */
const waiter = (name, max, ranked) => (item) => html`<tr role="row" class=${isPassed({ max }, item) ? 'passed' : ''}>
  <td role="cell" class="number place">${count(item.position)}</td>
  <td role="cell" class="cell-peer">${peerName(item.peer, item.labels)}</td>
  <td role="cell" class="number" data-name="Count">${count(item.count)}</td>
  ${ranked ? html`<td role="cell" class="number priority" data-name="Priority">${item.priority}</td>` : nothing}
  <td role="cell" class="number waits wait" data-name="Waiting" title=${full(item.since)}>${age(item.since)}</td>
  <td role="cell" class="number estimate" data-name="Estimate">${item.absent ? html`<span class="none" title="It waited with a connection, and has had none for too long: it keeps its place, and others pass it">absent</span>` : item.estimated_wait === null ? html`<span class="none">unknown</span>` : `about ${length(Math.max(1000, span(item.estimated_wait)))}`}</td>
  <td role="cell" class="acts">${releaseButton(item.peer, item.labels, name)}</td></tr>`;

const head = (...names) => html`<thead role="rowgroup"><tr role="row">${names.map(([name, kind]) => html`<th scope="col" role="columnheader" class=${kind ?? ''}>${name}</th>`)}</tr></thead>`;

export function page([name]) {
  let seen = null;
  let first = null;
  let error = null;
  /** The semaphore with the beginning of its queue, whichever part of that is shown. */
  let top = null;
  let chart = null;
  const places = { holders: new Places(), queue: new Places() };

  async function read() {
    const [holders, queue] = [places.holders.cursor, places.queue.cursor];
    const found = await getSemaphore(name, { limit: PAGE, holders_cursor: holders, queue_cursor: queue });
    for (const list of ['holders', 'queue']) {
      // Those on the page have gone: the list became shorter.
      if (!places[list].isFirst && !found[list].length) {
        places[list].first();
        return read();
      }
    }
    return found;
  }

  const fetching = repeating(async () => {
    try {
      const found = await read();
      top = places.queue.isFirst ? found : await getSemaphore(name, { limit: TOP });
      first = await getPending(headOf(top) ?? top.queue[0]);
      [seen, error] = [found, null];
    } catch (problem) {
      error = problem;
    }
    schedule();
  });

  const pages = (list, what) => pager({
    what,
    places: places[list],
    shown: seen[list].length,
    total: seen[`${list}_total`],
    next: seen[`${list}_next`],
    turned: () => fetching.now(),
  });

  function acts() {
    const reason = whyNot('change_semaphore', name);
    if (reason) return html`<p class="note">${reason}</p>`;
    if (!may('change_semaphore', [name])) return nothing;
    return html`<div class="acts">
      ${seen.max === 0
        ? html`<button type="button" class="button main" @click=${() => askToResize(name)}>Resume…</button>`
        : html`<button type="button" class="button" @click=${() => askToResize(name)}>Resize…</button>
          <button type="button" class="button" @click=${() => askToPause(name)}>Pause…</button>`}
      ${may('remove_semaphore', [name]) ? html`<button type="button" class="button" @click=${() => askToRemove(name)}>Remove…</button>` : nothing}
    </div>`;
  }

  function facts() {
    const { max, acquired, pending, waiting, level, per, deadlock, order, origin, cooling, remainder } = seen;
    return html`<dl class="facts">
      ${fact('Held', html`<strong>${count(acquired)}</strong>${max === 0 ? nothing : ` of ${count(max)}`}`)}
      ${fact('Free', count(Math.max(0, remainder - cooling)))}
      ${cooling ? fact('Cooling', count(cooling)) : nothing}
      ${fact('Waiting', waiting ? html`<strong class="wait">${many(waiting, 'request')}</strong> for ${count(pending)}` : 'nobody')}
      ${fact('Rate', per ? `${count(max)} per ${per}` : 'none')}
      ${deadlock === 'detect' ? fact('Deadlocks', 'refused when found') : level !== 0 || hasLevels() ? fact('Level', level) : nothing}
      ${order === 'pass' ? fact('Order', 'who fits may pass, for a while') : nothing}
      ${fact('Set by', ORIGINS[origin] ?? origin)}
    </dl>`;
  }

  function body() {
    const reason = why(top, first);
    const idle = behind(top, first);
    const ranked = seen.queue.some((item) => item.priority !== 0);
    return html`<div class="big-bar">${bar(seen, 16)}
        ${legend({ cooling: seen.cooling, over: seen.acquired > seen.max && seen.max > 0 })}</div>
      ${facts()}
      ${reason ? html`<p class="why"><strong>Why they wait.</strong> ${reason}</p>` : nothing}
      ${idle ? html`<p class="why idle"><strong>${idle.what}</strong> ${idle.because} ${idle.elsewhere.map((other, index) => html`${index ? ' and ' : ''}<a class="name" href=${semaphoreLink(other.name)}>${other.name}</a>${other.how}`)}${idle.then}</p>` : nothing}
      <div class="halves"><div>
        <section aria-labelledby="holders-title"><h2 id="holders-title">Holders <span class="figure">${count(seen.holders_total)}</span></h2>${pages('holders', 'holders')}
          ${seen.holders.length ? html`<table class="rows compact" id="holders" role="table" aria-labelledby="holders-title" aria-rowcount=${seen.holders_total + 1}>
            ${head(['Who, and the fencing token', 'cell-peer'], ['Count', 'number'], ['Held for', 'number'], ['Expires in', 'number expires'], [html`<span class="unseen">Act</span>`, 'acts'])}
            ${rowsOf('holders', seen.holders, 5, holder(name))}</table>` : html`<p class="empty">Nobody holds it.</p>`}</section>
        <section aria-labelledby="hour"><h2 id="hour">${period()}</h2><div id="chart" role="img" aria-label=${`${period()}: ${hour(name)}`}></div></section>
        </div><div>
        <section aria-labelledby="queue-title"><h2 id="queue-title">Queue <span class="figure">${count(seen.queue_total)}</span></h2>${pages('queue', 'requests')}
          ${seen.queue.length ? html`<table class="rows compact" id="queue" role="table" aria-labelledby="queue-title" aria-rowcount=${seen.queue_total + 1}>
            ${head(['Place', 'number place'], ['Who', 'cell-peer'], ['Count', 'number'], ...(ranked ? [['Priority', 'number priority']] : []), ['Waiting', 'number waits'], ['Estimate', 'number estimate'], [html`<span class="unseen">Act</span>`, 'acts'])}
            ${rowsOf('queue', seen.queue, ranked ? 7 : 6, waiter(name, seen.max, ranked))}</table>` : html`<p class="empty">Nobody waits.</p>`}</section>
        <section aria-labelledby="its-events"><h2 id="its-events">Recent events</h2><div class="box" tabindex="0" role="group" aria-labelledby="its-events">${eventList(store.events.filter((event) => event.semaphore === name), 60, 'No recent events.')}</div></section>
      </div></div>`;
  }

  return {
    title: name,
    enter() {
      fetching.start();
    },
    leave() {
      fetching.stop();
      chart?.end();
    },
    update({ changed, removed }) {
      // Where more changed than is told, the next reading is never far.
      if (changed.some((s) => s.name === name) || removed.includes(name)) fetching.soon();
    },
    again: () => fetching.now(),
    drawn() {
      const place = document.getElementById('chart');
      if (!place || !seen) return;
      chart ??= chartIn(place);
      chart.show(seen, history(name), store.historyStep, now());
    },
    view() {
      const isThere = seen && error?.code !== 'unknown_semaphore';
      // The heading stays while the rest comes: it has the focus.
      return html`<p class="crumbs"><a href="#/">Semaphores</a></p>
        <div class="headline"><h1 tabindex="-1"><span class="name">${name}</span>
          ${isThere ? states(seen).map(({ word, kind }) => html`<span class="badge ${kind}">${word}</span>`) : nothing}</h1>${isThere ? acts() : nothing}</div>
        ${error ? html`<p class="error" role="alert">${error.message}</p>` : nothing}
        ${isThere ? body() : error ? nothing : html`<p class="empty">Reading…</p>`}`;
    },
  };
}

function hour(name) {
  const found = history(name);
  if (!found?.acquired.length) return 'nothing known yet';
  return `up to ${count(Math.max(...found.acquired))} held, up to ${count(Math.max(...found.pending))} asked for, ${count(found.grants.reduce((sum, one) => sum + one, 0))} granted`;
}
