// The one place that knows what the caller may do. The server says it; every button asks here.

import { getPermissions } from './api.js';
import { takeServer } from './server.js';

let actions = new Set();
let operates = [];
let reason = null;

/** Who asks, by the server's word; null where nobody has to say. And whether other machines reach such a server. */
export const caller = { identity: null, exposed: false };

/** Asks the server anew. */
export async function learn() {
  const answer = await getPermissions();
  actions = new Set(answer.actions);
  operates = answer.operates ?? ['*'];
  reason = answer.reason;
  Object.assign(caller, { identity: answer.identity, exposed: answer.exposed });
  takeServer(answer.server);
}

/** Why the caller may not do everything, in a sentence; null if it may. */
export const restriction = () => reason;

/** Whether a pattern, with at most one `*` for any run of characters, stands for a name. */
function matches(pattern, name) {
  const [start, end] = pattern.split('*');
  if (end === undefined) return name === start;
  return name.length >= start.length + end.length && name.startsWith(start) && name.endsWith(end);
}

/** Whether the caller may do this, such as `release_peer` or `change_semaphore`, where it concerns these semaphores. */
export function may(action, semaphores) {
  return actions.has(action) && semaphores.every((name) => operates.some((pattern) => matches(pattern, name)));
}

/** Whether the caller may do this to some semaphore. */
export const mayAny = (action) => actions.has(action) && operates.length > 0;

/** Why not, in a sentence; null if nobody may do it here or the page says so anyway. */
export const whyNot = (action, name) => actions.has(action) && !may(action, [name])
  ? `You can look, but not act here: operating is allowed to you over ${operates.join(', ')}.`
  : null;
