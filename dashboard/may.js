// The one place that knows what the caller may do. The server says it; every button asks here.

import { getPermissions } from './api.js';

let actions = new Set();
let reason = null;

/** Who asks, by the server's word; null where nobody has to say. And whether other machines reach such a server. */
export const caller = { identity: null, exposed: false };

/** Asks the server anew. */
export async function learn() {
  const answer = await getPermissions();
  actions = new Set(answer.actions);
  reason = answer.reason;
  Object.assign(caller, { identity: answer.identity, exposed: answer.exposed });
}

/** Why the caller may not do everything, in a sentence; null if it may. */
export const restriction = () => reason;

/** Whether the caller may do this: `release_peer`, `change_semaphore`. What it would be done to may matter one day. */
export function may(action, _subject) {
  return actions.has(action);
}
