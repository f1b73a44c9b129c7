// The one place that knows what the caller may do. The server says it; every button asks here.

import { getPermissions } from './api.js';

let actions = new Set();

/** Asks the server anew. */
export async function learn() {
  actions = new Set((await getPermissions()).actions);
}

/** Whether the caller may do this: `release_peer`, `change_semaphore`. What it would be done to may matter one day. */
export function may(action, _subject) {
  return actions.has(action);
}
