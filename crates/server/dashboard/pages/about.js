// What this server is, what else it serves, and where it is written how to use it.

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { count, full } from '../format.js';
import { keeping, server, uptime } from '../server.js';
import { store } from '../store.js';

const fact = (name, value) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`;

/** What the server itself serves: its path, and what it is for. */
const SERVED = [
  ['openapi.json', 'All routes of /v1, for programs and generators of clients (OpenAPI)'],
  ['metrics', 'Figures for Prometheus'],
  ['readyz', 'Whether it takes requests now'],
  ['livez', 'Whether it lives'],
  ['version', 'Its version'],
];

/** The documents in the repository of Throttle, which the server does not serve. */
const DOCUMENTS = [
  ['README.md', 'Begin here: a first lock, and what happens when something fails'],
  ['docs/configuration.md', 'The configuration file: semaphores, patterns, rates, limits'],
  ['docs/commands.md', 'The command line: status, peers, release, semaphore'],
  ['docs/run.md', 'A command under a lock'],
  ['docs/http.md', 'All routes'],
  ['docs/dashboard.md', 'These pages'],
  ['docs/security.md', 'Who may come in, and what he may do'],
  ['docs/fencing.md', 'What fencing tokens are for'],
  ['docs/durability.md', 'Restarts, backup, recovery'],
  ['docs/cluster.md', 'Several servers'],
  ['docs/metrics.md', 'Metrics and alerts'],
  ['docs/proxies.md', 'Behind a proxy'],
];

export function page() {
  return {
    title: 'About',
    view: () => html`<div class="headline"><h1 tabindex="-1">${server.name ? html`<span class="name">${server.name}</span>` : 'About this server'}</h1></div>
      <dl class="facts">
        ${fact('Version', server.version || 'unknown')}
        ${server.startedAt === null ? nothing : fact('Up for', html`<span title=${full(server.startedAt)}>${uptime()}</span>`)}
        ${server.keeps ? fact('State', keeping()) : nothing}
        ${fact('Semaphores', count(store.totals.semaphores))}
        ${fact('Peers', count(store.totals.peers))}
      </dl>
      ${server.name ? nothing : html`<p class="note">It has no name. <code>name = "…"</code> at the top of its configuration file gives it one, which is shown here and in the title.</p>`}
      <section class="listed" aria-labelledby="served"><h2 id="served">What it serves</h2>
        <ul>${SERVED.map(([path, what]) => html`<li><a href=${path}><code>${path}</code></a> ${what}</li>`)}</ul></section>
      <section class="listed" aria-labelledby="documents"><h2 id="documents">Documents</h2>
        <p class="quiet">They are in the repository of Throttle, beside its source.</p>
        <ul>${DOCUMENTS.map(([path, what]) => html`<li><code>${path}</code> ${what}</li>`)}</ul></section>`,
  };
}
