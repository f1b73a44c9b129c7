// Making and removing semaphores.

import { html } from '../vendor/lit-html/lit-html.js';
import { getSemaphore, makeSemaphore, removeSemaphore } from '../api.js';
import { semaphoreLink } from '../format.js';
import { may } from '../may.js';
import { making, removing } from '../words.js';
import { open, redraw, withSemaphore } from './dialog.js';

/** How long somebody must have stopped typing before the server is asked for the name. */
const PAUSE = 250;

const whole = (text, least) => /^-?\d+$/.test(text) && Number.isSafeInteger(Number(text)) && Number(text) >= least;

/** Asks for the name and the max of a new semaphore. */
export function askToMake() {
  const wish = { name: '', max: '1', level: '0', per: '' };
  /** What there is of that name; null if there is nothing, undefined while that is not known. */
  let found = null;
  let timer = 0;

  async function look() {
    const { name } = wish;
    found = undefined;
    redraw();
    const seen = await getSemaphore(name, { limit: 1 }).catch((error) => (error.code === 'unknown_semaphore' ? null : undefined));
    if (wish.name !== name) return;
    found = seen;
    redraw();
  }

  function input(field) {
    return (event) => {
      wish[field] = event.target.value.trim();
      if (field === 'name') {
        clearTimeout(timer);
        found = wish.name ? undefined : null;
        if (wish.name) timer = setTimeout(look, PAUSE);
      }
      redraw();
    };
  }

  const isOwn = () => Boolean(found) && found.origin !== 'pattern';
  const isRight = () => Boolean(wish.name) && whole(wish.max, 0) && whole(wish.level, -(2 ** 31));

  open({
    title: 'New semaphore',
    body: () => html`<label>Name <input autofocus required maxlength="255" autocomplete="off" spellcheck="false" .value=${wish.name} @input=${input('name')}></label>
      <label>Max: how much may be held at once <input inputmode="numeric" pattern="[0-9]+" required .value=${wish.max} @input=${input('max')}></label>
      <label>Level: whoever holds it may ask only for lower ones <input pattern="-?[0-9]+" required .value=${wish.level} @input=${input('level')}></label>
      <label>Rate: a count comes back no sooner than this after it was given <input placeholder="none, or such as 10s" .value=${wish.per} @input=${input('per')}></label>`,
    consequences: () => {
      if (!wish.name) return ['It needs a name, such as database or tenant/acme.'];
      if (!may('set_semaphore', [wish.name])) return [`Making ${wish.name} is not allowed to you.`];
      if (isOwn()) return [`There is a semaphore of that name already, with a max of ${found.max}. Its page has buttons to change it.`];
      if (!isRight()) return ['Max and level are whole numbers; a max of 0 makes it paused.'];
      return making({ ...wish, max: Number(wish.max) }, Boolean(found));
    },
    verb: 'Make it',
    isDangerous: false,
    isReady: () => isRight() && found !== undefined && !isOwn() && may('set_semaphore', [wish.name]),
    act: () => makeSemaphore(wish.name, { max: Number(wish.max), level: Number(wish.level), per: wish.per || null }),
    done: () => `${wish.name} is made.`,
    then: () => { location.hash = semaphoreLink(wish.name); },
  });
}

/** Asks whether to remove a semaphore. */
export function askToRemove(name) {
  return withSemaphore(name, (semaphore) => {
    const isUsed = semaphore.holders_total > 0 || semaphore.queue_total > 0;
    open({
      title: `Remove ${name}?`,
      body: () => html`<p class="subject">It is ${isUsed ? 'in use' : 'not in use'}.</p>`,
      consequences: () => removing(semaphore),
      verb: isUsed ? 'Remove it from under them' : 'Remove it',
      isDangerous: true,
      isReady: () => true,
      act: () => removeSemaphore(name, isUsed),
      done: `${name} is removed.`,
      then: () => { location.hash = '#/'; },
    });
    document.querySelector('#dialog .dangerous')?.focus();
  });
}
