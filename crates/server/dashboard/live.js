// The stream of updates: opened, watched, and opened again when it is lost.

import { setClock } from './format.js';

/** The server speaks every five seconds at least. */
const SILENCE = 12_000;
/** How long a page that nobody sees keeps its connection: browsers open only six to a server. */
const UNSEEN = 20_000;

export const connection = { state: 'connecting', since: Date.now() };

/**
 * Keeps the stream open for as long as the page is seen. `onUpdate(update, isFirst)` gets what changed; `onMissed()`
 * is called when something was missed; `onState()` when `connection` changes.
 */
export function follow({ onUpdate, onMissed, onState }) {
  let source = null;
  let watchdog = 0;
  let again = 0;
  let unseen = 0;
  let failures = 0;

  function become(state) {
    if (connection.state === state) return;
    Object.assign(connection, { state, since: Date.now() });
    onState();
  }

  function listen() {
    clearTimeout(watchdog);
    watchdog = setTimeout(lose, SILENCE);
  }

  function close() {
    clearTimeout(watchdog);
    clearTimeout(again);
    source?.close();
    source = null;
  }

  function lose() {
    close();
    become('lost');
    const pause = Math.min(5_000, 500 * 2 ** failures) * (0.75 + Math.random() / 2);
    failures += 1;
    again = setTimeout(open, pause);
  }

  function open() {
    close();
    let isFirst = true;
    source = new EventSource('v1/updates');
    listen();
    source.addEventListener('update', (event) => {
      const update = JSON.parse(event.data);
      setClock(update.at);
      listen();
      failures = 0;
      become('live');
      onUpdate(update, isFirst);
      isFirst = false;
    });
    source.addEventListener('missed', onMissed);
    source.addEventListener('error', lose);
  }

  document.addEventListener('visibilitychange', () => {
    clearTimeout(unseen);
    if (document.hidden) {
      unseen = setTimeout(() => {
        close();
        become('paused');
      }, UNSEEN);
    } else if (!source) {
      open();
    }
  });
  addEventListener('online', () => source ?? open());
  open();
}
