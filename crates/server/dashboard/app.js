// Starts the dashboard: which page is shown, and what is around it.

import { html, nothing, render } from './vendor/lit-html/lit-html.js';
import { signOut } from './api.js';
import { cluster, lookForCluster } from './cluster.js';
import { drawBy, schedule } from './draw.js';
import { length } from './format.js';
import { connection, follow } from './live.js';
import { caller, learn, restriction } from './may.js';
import { recall, remember } from './memory.js';
import * as about from './pages/about.js';
import * as clusterPage from './pages/cluster.js';
import * as events from './pages/events.js';
import * as peer from './pages/peer.js';
import * as peers from './pages/peers.js';
import * as semaphore from './pages/semaphore.js';
import * as semaphores from './pages/semaphores.js';
import * as signIn from './pages/sign-in.js';
import { keeping, server, uptime } from './server.js';
import { apply, load, store } from './store.js';

const ROUTES = [
  [/^\/$/, semaphores, '#/'],
  [/^\/semaphores\/(.+)$/, semaphore, '#/'],
  [/^\/peers$/, peers, '#/peers'],
  [/^\/peers\/(\d+)$/, peer, '#/peers'],
  [/^\/events$/, events, '#/events'],
  [/^\/cluster$/, clusterPage, '#/cluster'],
  [/^\/about$/, about, '#/about'],
];

const content = document.getElementById('content');
const searchBox = document.getElementById('search');
let page = null;
let section = '#/';
/** Whether the server asks who looks at this. */
let isUnknown = false;

const nowhere = () => ({
  title: 'Not found',
  view: () => html`<h1 tabindex="-1">There is no such page</h1><p><a href="#/">All semaphores</a></p>`,
});

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function go() {
  const [path, query = ''] = (location.hash.slice(1) || '/').split('?');
  const parameters = new URLSearchParams(query);
  page?.leave?.();
  if (isUnknown) {
    page = signIn.page(() => location.reload());
    draw();
    document.getElementById('token')?.focus();
    return;
  }
  const found = ROUTES.find(([pattern]) => pattern.test(path));
  page = found ? found[1].page(path.match(found[0]).slice(1).map(decoded), parameters) : nowhere();
  section = found?.[2] ?? '';
  if (document.activeElement !== searchBox) searchBox.value = parameters.get('search') ?? '';
  document.getElementById('dialog').close();
  render(nothing, content);
  draw();
  page.enter?.();
  scrollTo(0, page.scroll ?? 0);
  if (document.activeElement !== searchBox) content.querySelector('h1')?.focus({ preventScroll: true });
}

const STATES = { live: 'Live', connecting: 'Connecting…', paused: 'Paused', lost: 'Connection lost' };

/** The name of the server in the bar at the top, and the rest of what it is at the bottom. */
function drawServer() {
  const name = document.getElementById('server-name');
  name.textContent = server.name ?? '';
  name.title = server.name ?? '';
  const facts = [server.version && `Throttle ${server.version}`, server.startedAt !== null && `up for ${uptime()}`, server.keeps && keeping()];
  document.getElementById('server').textContent = facts.filter(Boolean).join(' · ');
}

function drawAround() {
  const state = document.getElementById('state');
  state.dataset.state = connection.state;
  const text = isUnknown ? 'Not signed in' : STATES[connection.state];
  if (state.textContent !== text) state.textContent = text;
  const isLost = connection.state === 'lost' && !isUnknown;
  // Not part of what is read aloud, which would begin anew each second.
  document.getElementById('since').textContent = isLost ? `${length(Date.now() - connection.since)} ago` : '';
  const isOld = isLost && !page?.isRight?.();
  document.getElementById('lost').hidden = !isOld;
  document.body.classList.toggle('is-lost', isOld);
  for (const id of ['to-cluster', 'lost-cluster']) document.getElementById(id).hidden = isUnknown || !cluster.isThere;
  const restricted = document.getElementById('restricted');
  restricted.hidden = !restriction();
  if (restriction()) restricted.textContent = `You can look, but not act. ${restriction()}`;
  drawServer();
  document.getElementById('exposed').hidden = !caller.exposed;
  document.getElementById('who').textContent = caller.identity ?? '';
  document.getElementById('sign-out').hidden = isUnknown || caller.identity === null;
  for (const link of document.querySelectorAll('.top nav a')) {
    if (link.getAttribute('href') === section) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
}

function draw() {
  drawAround();
  if (!page) return;
  render(page.view(), content);
  page.drawn?.();
  document.title = `${store.waiting ? `(${store.waiting}) ` : ''}${page.title} · ${server.name ? `${server.name} · ` : ''}Throttle`;
}

function onKey(event) {
  if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest('input, textarea, dialog[open]')) return;
  event.preventDefault();
  searchBox.focus();
  searchBox.select();
}

function onSearch() {
  const text = searchBox.value.trim();
  const target = `#/${text ? `?search=${encodeURIComponent(text)}` : ''}`;
  if (section === '#/' && page.title === 'Semaphores') {
    history.replaceState(null, '', target);
    semaphores.searchFor(text);
  } else if (text) {
    location.hash = target;
  }
}

const THEMES = { auto: 'light', light: 'dark', dark: 'auto' };
const WORDS = { auto: 'Theme: as the system', light: 'Theme: light', dark: 'Theme: dark' };
const themeButton = document.getElementById('theme');

function setTheme(theme) {
  remember('theme', theme);
  document.documentElement.dataset.theme = theme;
  themeButton.setAttribute('aria-label', WORDS[theme]);
  themeButton.title = WORDS[theme];
  schedule();
}

setTheme(Object.hasOwn(THEMES, recall('theme')) ? recall('theme') : 'auto');
themeButton.addEventListener('click', () => setTheme(THEMES[document.documentElement.dataset.theme]));
addEventListener('keydown', onKey);
searchBox.addEventListener('input', onSearch);
searchBox.addEventListener('keydown', (event) => {
  if (event.key === 'Escape') searchBox.blur();
});
document.getElementById('search-form').addEventListener('submit', (event) => {
  event.preventDefault();
  content.querySelector('a[data-row]')?.focus();
});
addEventListener('hashchange', go);
addEventListener('scroll', schedule, { passive: true });
addEventListener('resize', schedule);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', schedule);
// Ages grow.
setInterval(() => document.hidden || schedule(), 1_000);

document.getElementById('sign-out').addEventListener('click', async () => {
  await signOut();
  location.reload();
});

/** Asks what the caller may do; whoever is not known is asked who he is. */
async function ask() {
  const refused = ({ status }) => {
    if (status !== 401) return;
    isUnknown = true;
    go();
  };
  await learn().catch(refused);
  schedule();
  if (isUnknown) return;
  // Of several servers each knows this itself, also while nobody leads.
  await lookForCluster().catch(refused);
  schedule();
}

drawBy(draw);
go();
ask();
follow({
  onUpdate(update, isFirst) {
    apply(update, isFirst);
    if (isFirst) {
      load();
      ask();
      page.again?.();
    } else {
      page.update?.(update);
    }
  },
  onMissed() {
    load();
    page.again?.();
  },
  onState() {
    // A token may have come to its end.
    if (connection.state === 'lost' && !isUnknown) ask();
    // What keeps the stream from being opened is in the answer to this.
    if (connection.state === 'lost' && !store.isLoaded) load();
    schedule();
  },
});
