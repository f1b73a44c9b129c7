// The servers of a cluster: who leads, how far each of them is, and how etcd is.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { getCluster } from '../api.js';
import { isAlone } from '../cluster.js';
import { schedule } from '../draw.js';
import { bytes, count, length, many, span } from '../format.js';
import { repeating } from '../refetch.js';

/** A server that is behind by more than this is slow to take over. */
const BEHIND = 10_000;

const fact = (name, value) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`;

const head = (...names) => html`<thead role="rowgroup"><tr role="row">${names.map(([name, kind]) => html`<th scope="col" role="columnheader" class=${kind ?? ''}>${name}</th>`)}</tr></thead>`;

const ROLES = { leader: 'leads', standby: 'follows' };

const badge = (word, kind) => html`<span class="badge ${kind}">${word}</span>`;

/** How a server is behind, in words. */
function behind({ role, lag }) {
  if (role === 'leader') return html`<span class="none">–</span>`;
  const ms = span(lag);
  if (ms > BEHIND) return html`<strong class="late">${length(ms)}</strong>`;
  return ms < 1_000 ? 'under 1s' : length(ms);
}

/** What trouble means, by the role of the server that tells of it. */
function held({ servers: all, answered_by: answeredBy }) {
  const own = all.find((one) => one.url === answeredBy);
  return own?.role === 'leader'
    ? 'The leader can promise nothing now, so requests are answered 503; no lease ends meanwhile.'
    : 'The server that answers you cannot follow the log now, so it could not take over.';
}

function server(one, answeredBy) {
  const name = html`<td role="cell" class="cell-url"><span class="name">${one.url}</span>${one.url === answeredBy ? html` <span class="quiet">answers you</span>` : nothing}</td>`;
  if (one.error !== null) {
    return html`<tr role="row">${name}<td role="cell" colspan="4" class="wide">${badge('no answer', 'over')} ${one.error}</td></tr>`;
  }
  return html`<tr role="row">${name}
    <td role="cell" class="role">${badge(ROLES[one.role] ?? one.role, one.role === 'leader' ? 'leads' : 'paused')}</td>
    <td role="cell" class="number" data-name="Position">${count(BigInt(one.position))}</td>
    <td role="cell" class="number" data-name="Behind by">${behind(one)}</td>
    <td role="cell" class="number" data-name="Version">${one.version}</td></tr>`;
}

function member(one) {
  const name = html`<td role="cell" class="cell-url"><span class="name">${one.url}</span></td>`;
  // Whoever does not answer tells no version.
  if (!one.version) {
    return html`<tr role="row">${name}<td role="cell" colspan="4" class="wide">${badge('no answer', 'over')} ${one.errors.join('; ')}</td></tr>`;
  }
  return html`<tr role="row">${name}
    <td role="cell" class="role">${badge(one.is_leader ? 'leads' : 'follows', one.is_leader ? 'leads' : 'paused')}</td>
    <td role="cell" class="number" data-name="Size">${bytes(one.db_bytes)}</td>
    <td role="cell" class="number" data-name="Version">${one.version}</td>
    <td role="cell" class="wide" data-name="Errors">${one.errors.length ? html`<strong class="late">${one.errors.join('; ')}</strong>` : html`<span class="none">none</span>`}</td></tr>`;
}

function servers({ servers: all, etcd, answered_by: answeredBy }) {
  const isBlind = !etcd.some((one) => one.version);
  const versions = new Set(all.filter((one) => one.error === null).map((one) => one.version));
  return html`<section aria-labelledby="servers-title"><h2 id="servers-title">Servers <span class="figure">${count(all.length)}</span></h2>
    <table class="rows cluster" id="servers" role="table" aria-labelledby="servers-title">
      ${head(['Server', 'cell-url'], ['Role', 'role'], ['Position', 'number'], ['Behind by', 'number'], ['Version', 'number'])}
      <tbody role="rowgroup">${all.map((one) => server(one, answeredBy))}</tbody></table>
    ${versions.size > 1 ? html`<p class="note">They run ${many(versions.size, 'version')}: an update is under way, or was forgotten on some.</p>` : nothing}
    ${isBlind ? html`<p class="note">Which other servers there are is kept in etcd, and none of its members answers.</p>` : nothing}</section>`;
}

function members(all) {
  return html`<section aria-labelledby="etcd-title"><h2 id="etcd-title">Members of etcd <span class="figure">${count(all.length)}</span></h2>
    <table class="rows cluster" id="etcd" role="table" aria-labelledby="etcd-title">
      ${head(['Member', 'cell-url'], ['Role', 'role'], ['Size', 'number'], ['Version', 'number'], ['Errors', 'wide'])}
      <tbody role="rowgroup">${all.map(member)}</tbody></table></section>`;
}

export function page() {
  let seen = null;
  let error = null;

  const fetching = repeating(async () => {
    try {
      [seen, error] = [await getCluster(), null];
    } catch (problem) {
      error = problem;
    }
    schedule();
  });

  function body() {
    const { leader, trouble } = seen;
    const answering = seen.servers.filter((one) => one.error === null).length;
    return html`
      <div role="alert">${trouble ? html`<p class="why bad"><strong>${held(seen)}</strong> ${trouble}</p>` : nothing}
        ${leader ? nothing : html`<p class="why bad"><strong>No server leads just now.</strong> Requests are answered 503 until one does; no lease ends meanwhile.</p>`}</div>
      <dl class="facts">
        ${fact('Leader', leader ? html`<span class="name">${leader.url}</span>` : 'nobody')}
        ${leader ? fact('Epoch', leader.epoch) : nothing}
        ${fact('Servers that answer', html`<strong>${count(answering)}</strong> of ${count(seen.servers.length)}`)}
      </dl>
      ${servers(seen)}
      ${members(seen.etcd)}`;
  }

  return {
    title: 'Cluster',
    enter: () => fetching.start(),
    leave: () => fetching.stop(),
    again: () => fetching.now(),
    /** Each server tells this itself, so it is right though no updates come. */
    isRight: () => seen !== null && error === null,
    view() {
      if (isAlone(error)) {
        return html`<h1 tabindex="-1">Cluster</h1>
          <div class="empty"><p>This server is the only one of its semaphores.</p>
            <p class="quiet">With <code>[cluster]</code> in their configuration files several servers share one set of semaphores, so that any of them may fail.</p></div>`;
      }
      return html`<div class="headline"><h1 tabindex="-1">Cluster</h1></div>
        ${error ? html`<p class="error" role="alert">${error.message}</p>` : nothing}
        ${seen ? body() : error ? nothing : html`<p class="empty">Reading…</p>`}`;
    },
  };
}
