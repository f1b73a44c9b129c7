// What happens, as it happens.

import { html } from '../vendor/lit-html/lit-html.js';
import { schedule } from '../draw.js';
import { eventList } from '../parts/events.js';
import { store } from '../store.js';

const KINDS = {
  all: 'All',
  granted: 'Granted',
  queued: 'Queued',
  released: 'Released',
  expired: 'Expired',
  overcommitted: 'Overcommitted',
  resized: 'Resized',
  peer_ended: 'Peers ended',
  removed: 'Removed',
};

export function page() {
  let kind = 'all';
  let held = null;
  return {
    title: 'Events',
    view() {
      const all = held ?? store.events;
      const events = kind === 'all' ? all : all.filter((event) => event.kind === kind);
      return html`<div class="headline"><h1 tabindex="-1">Events</h1>
          <button type="button" class="button small" aria-pressed=${held !== null} @click=${() => { held = held ? null : [...store.events]; schedule(); }}>${held ? 'Resume' : 'Pause'}</button></div>
        <p class="quiet">The last ones, the newest first. When much happens at once, not each is shown; <code>GET /v1/events</code> has them all.</p>
        <div class="filters" role="group" aria-label="Kinds">${Object.entries(KINDS).map(([id, word]) => html`<button type="button" class="filter" aria-pressed=${kind === id} @click=${() => { kind = id; schedule(); }}>${word}</button>`)}</div>
        ${eventList(events, 300)}`;
    },
  };
}
