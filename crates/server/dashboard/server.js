// What the server tells of itself.

import { length, now, time } from './format.js';

export const server = { name: null, version: '', startedAt: null, keeps: '' };

/** Takes what the server said; servers of earlier versions say nothing. */
export function takeServer(told) {
  if (!told) return;
  const { name, version, started_at: startedAt, keeps } = told;
  Object.assign(server, { name, version, startedAt: Date.parse(startedAt), keeps });
}

const KEEPS = {
  memory: 'in memory: a restart forgets',
  durable: 'durable: a restart forgets nothing',
  cluster: 'one of several servers',
};

/** What becomes of its state, in words. */
export const keeping = () => KEEPS[server.keeps] ?? server.keeps;

/** How long it has been there. */
export const uptime = () => (server.startedAt === null ? '' : length(now() - server.startedAt));

/** When it began, if that is less than `ms` ago, as a time of day in hours and minutes. */
export function startWithin(ms) {
  if (server.startedAt === null || now() - server.startedAt >= ms) return null;
  return time(server.startedAt).slice(0, 5);
}
