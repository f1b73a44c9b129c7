// The servers of a cluster: who leads, how far each of them is, how etcd is, and what to do if something is wrong.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { getCluster } from '../api.js';
import { isAlone } from '../cluster.js';
import { schedule } from '../draw.js';
import { answers, findings, isBehind, isConfirmed, isDeposed, isEtcdLost } from '../findings.js';
import { age, bytes, count, full, length, many, span } from '../format.js';
import { repeating } from '../refetch.js';

const fact = (name, value) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`;

const head = (...names) => html`<thead role="rowgroup"><tr role="row">${names.map(([name, kind]) => html`<th scope="col" role="columnheader" class=${kind ?? ''}>${name}</th>`)}</tr></thead>`;

const badge = (word, kind) => html`<span class="badge ${kind}">${word}</span>`;

/** How a server is behind, in words. */
function behind(one) {
  if (one.role === 'leader') return html`<span class="none">–</span>`;
  const ms = span(one.lag);
  if (isBehind(one)) return html`<strong class="late">${length(ms)}</strong>`;
  return ms < 1_000 ? 'under 1s' : length(ms);
}

function role(one, seen) {
  if (isDeposed(seen, one)) return badge('deposed', 'over');
  const isLeader = one.role === 'leader';
  const does = isLeader ? badge('leads', 'leads') : badge(one.role === 'standby' ? 'follows' : one.role, 'paused');
  const isHeld = one.trouble !== null || (isLeader && isConfirmed(seen) === false);
  return isHeld ? html`${does} ${badge('held up', 'over')}` : does;
}

function server(one, seen) {
  const name = html`<td role="cell" class="cell-url"><span class="name">${one.url}</span>${one.url === seen.answered_by ? html` <span class="quiet">answers you</span>` : nothing}</td>`;
  if (one.error !== null) {
    return html`<tr role="row">${name}<td role="cell" colspan="4" class="wide">${badge('no answer', 'over')} ${one.error}</td></tr>`;
  }
  return html`<tr role="row">${name}
    <td role="cell" class="role">${role(one, seen)}</td>
    <td role="cell" class="number" data-name="Position">${count(BigInt(one.position))}</td>
    <td role="cell" class="number" data-name="Behind by">${behind(one)}</td>
    <td role="cell" class="number" data-name="Version">${one.version}</td></tr>`;
}

/** How large a member's database is, and how large it may become. */
const size = ({ db_bytes: used, quota_bytes: quota }) => (quota ? `${bytes(used)} of ${bytes(quota)}` : bytes(used));

function member(one) {
  const name = html`<td role="cell" class="cell-url"><span class="name">${one.url}</span></td>`;
  if (!answers(one)) {
    return html`<tr role="row">${name}<td role="cell" colspan="4" class="wide">${badge('no answer', 'over')} ${one.errors.join('; ')}</td></tr>`;
  }
  return html`<tr role="row">${name}
    <td role="cell" class="role">${badge(one.is_leader ? 'leads' : 'follows', one.is_leader ? 'leads' : 'paused')}</td>
    <td role="cell" class="number size" data-name="Size">${size(one)}</td>
    <td role="cell" class="number" data-name="Version">${one.version}</td>
    <td role="cell" class="wide" data-name="Errors">${one.errors.length ? html`<strong class="late">${one.errors.join('; ')}</strong>` : html`<span class="none">none</span>`}</td></tr>`;
}

function servers(seen) {
  return html`<section aria-labelledby="servers-title"><h2 id="servers-title">Servers <span class="figure">${count(seen.servers.length)}</span></h2>
    <table class="rows cluster" id="servers" role="table" aria-labelledby="servers-title">
      ${head(['Server', 'cell-url'], ['Role', 'role'], ['Position', 'number'], ['Behind by', 'number'], ['Version', 'number'])}
      <tbody role="rowgroup">${seen.servers.map((one) => server(one, seen))}</tbody></table>
    ${isEtcdLost(seen) ? html`<p class="note">Which other servers there are is kept in etcd, which does not answer.</p>` : nothing}</section>`;
}

function members(all) {
  const isQuotaUnknown = all.some((one) => answers(one) && one.quota_bytes === null);
  return html`<section aria-labelledby="etcd-title"><h2 id="etcd-title">Members of etcd <span class="figure">${count(all.length)}</span></h2>
    <table class="rows cluster" id="etcd" role="table" aria-labelledby="etcd-title">
      ${head(['Member', 'cell-url'], ['Role', 'role'], ['Size', 'number size'], ['Version', 'number'], ['Errors', 'wide'])}
      <tbody role="rowgroup">${all.map(member)}</tbody></table>
    ${isQuotaUnknown ? html`<p class="note">etcd tells its quota from release 3.6 on. Unless <code>--quota-backend-bytes</code> says otherwise, it is 2 GiB.</p>` : nothing}</section>`;
}

/** That all is well, in a sentence. */
function well({ leader, servers: all, etcd }) {
  const others = all.length - 1;
  return `All is well: ${leader.url} leads, ${many(others, 'other server')} could take over, and ${etcd.length === 1 ? 'etcd answers' : 'all members of etcd answer'}.`;
}

const CONFIRMED = new Map([[true, 'yes'], [false, html`<strong class="late">no</strong>`], [null, 'unknown']]);

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
    const { leader } = seen;
    const found = findings(seen);
    const answering = seen.servers.filter((one) => one.error === null).length;
    return html`
      <div role="alert">${found.map(({ isBad, what, then }) => html`<p class="why ${isBad ? 'bad' : ''}"><strong>${what}</strong> ${then}</p>`)}</div>
      ${found.length ? nothing : html`<p class="well">${well(seen)}</p>`}
      <dl class="facts">
        ${fact('Leader', leader ? html`<span class="name">${leader.url}</span>` : 'nobody')}
        ${leader ? html`
          ${fact('Leads for', leader.since === null ? 'unknown' : html`<span title=${full(leader.since)}>${age(leader.since)}</span>`)}
          ${fact('Confirmed by etcd', CONFIRMED.get(isConfirmed(seen)))}
          ${fact('Epoch', leader.epoch)}` : nothing}
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
