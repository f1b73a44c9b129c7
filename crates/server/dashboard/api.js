// Requests to the server. Whatever fails is an Error whose message can be shown.

/** An answer of the server that says no. */
export class Refused extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

async function ask(method, path, body) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: body === undefined ? {} : { 'Content-Type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(15_000),
      cache: 'no-store',
    });
  } catch {
    throw new Error('The server cannot be reached.');
  }
  const text = await response.text();
  if (response.ok) return text ? JSON.parse(text) : null;
  let problem = {};
  try {
    problem = JSON.parse(text);
  } catch {
    // Not from this server, but from a proxy in front of it.
  }
  throw new Refused(response.status, problem.code, problem.detail ?? `The answer was ${response.status}.`);
}

/** A query without what is not given. */
function query(entries) {
  const given = Object.entries(entries).filter(([, value]) => value !== undefined && value !== null && value !== '');
  return given.length ? `?${new URLSearchParams(given)}` : '';
}

/** The path of a semaphore. Its name is in the query, for a proxy may decode what is encoded before that. */
const semaphore = (name, entries) => `v1/semaphore${query({ name, ...entries })}`;

export const getSemaphores = (entries) => ask('GET', `v1/semaphores${query(entries)}`);
/** One with its holders and its queue: `limit` of each, from `holders_cursor` and `queue_cursor` on. */
export const getSemaphore = (name, entries) => ask('GET', semaphore(name, entries));
export const makeSemaphore = (name, declaration) => ask('PUT', semaphore(name), declaration);
export const removeSemaphore = (name, force) => ask('DELETE', semaphore(name, { force: force || undefined }));
export const changeSemaphore = (name, change) => ask('PATCH', semaphore(name), change);
export const getPeers = (entries) => ask('GET', `v1/peers${query(entries)}`);
export const getPeer = (id) => ask('GET', `v1/peers/${id}`);
/** What a waiter asks for; null if it is gone by now, or not for the caller to see. */
export async function getPending(waiter) {
  if (!waiter || waiter.peer === '0') return null;
  const peer = await getPeer(waiter.peer).catch(() => null);
  return peer?.pending ?? null;
}
export const releasePeer = (id, reason) => ask('DELETE', `v1/peers/${id}${query({ reason })}`);
export const getCluster = () => ask('GET', 'v1/cluster');
export const getPermissions = () => ask('GET', 'v1/permissions');
export const signIn = (token) => ask('POST', 'v1/session', { token });
export const signOut = () => ask('DELETE', 'v1/session');

export function getHistory(names) {
  return ask('GET', `v1/history?${new URLSearchParams(names.map((name) => ['semaphore', name]))}`);
}
