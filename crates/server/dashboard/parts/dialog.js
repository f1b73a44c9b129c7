// Acts that need a second word: each dialog names what will happen before it does.

import { html, nothing, render } from '../vendor/lit-html/lit-html.js';
import { changeSemaphore, getPeer, getSemaphore, releasePeer } from '../api.js';
import { count, many } from '../format.js';
import { called } from '../people.js';
import { formerMax, rememberMax } from '../store.js';
import { releasing, resizing } from '../words.js';

const place = document.getElementById('dialog');
let state = null;

/** Says what was done, also to screen readers. */
export function tell(text) {
  const status = document.getElementById('status');
  status.textContent = text;
  status.dataset.shown = 'yes';
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => {
    status.dataset.shown = 'no';
  }, 6_000);
}

/** Opens a dialog; what it says is asked for anew by `redraw`. */
export function open(next) {
  state = { isBusy: false, error: null, ...next };
  draw();
  if (!place.open) place.showModal();
  place.querySelector('[autofocus]')?.focus();
}

function draw() {
  render(state ? view(state) : nothing, place);
}

export { draw as redraw };

place.addEventListener('close', () => {
  state = null;
  draw();
});

async function act(event) {
  event.preventDefault();
  if (state.isBusy || !state.isReady()) return;
  Object.assign(state, { isBusy: true, error: null });
  draw();
  try {
    await state.act();
    const { done, then } = state;
    place.close();
    tell(typeof done === 'function' ? done() : done);
    then?.();
  } catch (error) {
    if (!state) return;
    Object.assign(state, { isBusy: false, error });
    draw();
  }
}

function view({ title, body, consequences, verb, isDangerous, isBusy, isReady, error }) {
  return html`<form @submit=${act} aria-labelledby="dialog-title">
    <h2 id="dialog-title">${title}</h2>
    ${body()}
    <div class="consequences" aria-live="polite">
      <h3>What happens</h3>
      <ul>${consequences().map((line) => html`<li>${line}</li>`)}</ul>
    </div>
    ${error ? html`<p class="error" role="alert">${error.message}</p>` : nothing}
    <div class="dialog-buttons">
      <button type="button" class="button" @click=${() => place.close()}>Cancel</button>
      <button type="submit" class="button ${isDangerous ? 'dangerous' : 'main'}" ?disabled=${isBusy || !isReady()}>${isBusy ? 'One moment…' : verb}</button>
    </div>
  </form>`;
}

/** Asks whether to release a peer. */
export async function askToRelease(id) {
  let peer;
  try {
    peer = await getPeer(id);
  } catch (error) {
    tell(error.message);
    return;
  }
  let reason = '';
  const name = called(peer.labels);
  open({
    title: 'Release this peer?',
    body: () => html`<p class="subject"><strong>${name || 'A peer without labels'}</strong> <code>${id}</code></p>
      <label>Reason, which its client is told
        <input autofocus maxlength="200" placeholder="stuck since noon" .value=${reason} @input=${(event) => { reason = event.target.value; }}></label>`,
    consequences: () => releasing(peer),
    verb: 'Release it',
    isDangerous: true,
    isReady: () => true,
    act: () => releasePeer(id, reason.trim() || 'released in the dashboard'),
    done: `Peer ${name || id} is released.`,
  });
}

/** Looks at a semaphore as it is now, and goes on with that. */
export async function withSemaphore(name, then) {
  try {
    then(await getSemaphore(name, { limit: 1000 }));
  } catch (error) {
    tell(error.message);
  }
}

/** Asks for a new max. */
export function askToResize(name) {
  return withSemaphore(name, (semaphore) => {
    const isPaused = semaphore.max === 0;
    const start = isPaused ? formerMax(semaphore) : null;
    let text = String(start ?? semaphore.max);
    const max = () => (/^\d+$/.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : null);
    open({
      title: isPaused ? `Resume ${name}` : `Resize ${name}`,
      body: () => html`<p class="subject">It is ${isPaused ? html`paused${start ? html`; before that its max was <strong>${start}</strong>` : nothing}` : html`at a max of <strong>${count(semaphore.max)}</strong>`}; ${count(semaphore.acquired)} held, ${many(semaphore.waiting, 'request')} in line.</p>
        <label>New max
          <input autofocus inputmode="numeric" pattern="[0-9]+" required .value=${text} @input=${(event) => { text = event.target.value.trim(); draw(); }}></label>`,
      consequences: () => {
        if (max() === null) return ['The max is a whole number; 0 pauses the semaphore.'];
        return [...resizing(semaphore, max()), ...lasting(semaphore)];
      },
      verb: isPaused ? 'Resume' : 'Resize',
      isDangerous: false,
      isReady: () => max() !== null && max() !== semaphore.max,
      act: () => changeSemaphore(name, { max: max() }),
      done: `${name} is ${isPaused ? 'resumed' : 'resized'}.`,
    });
  });
}

/** Asks whether to pause. */
export function askToPause(name) {
  return withSemaphore(name, (semaphore) => {
    open({
      title: `Pause ${name}?`,
      body: () => html`<p class="subject">Its max of <strong>${count(semaphore.max)}</strong> becomes 0.</p>`,
      consequences: () => [...resizing(semaphore, 0), ...lasting(semaphore)],
      verb: 'Pause it',
      isDangerous: true,
      isReady: () => true,
      act: async () => {
        rememberMax(name, semaphore.max);
        await changeSemaphore(name, { max: 0 });
      },
      done: `${name} is paused.`,
    });
    place.querySelector('.dangerous')?.focus();
  });
}

const LASTING = {
  file: 'This stands until the entry in the configuration file is edited and reloaded.',
  pattern: 'From then on it is a semaphore of its own, apart from its pattern.',
};

const lasting = ({ origin }) => (LASTING[origin] ? [LASTING[origin]] : []);
