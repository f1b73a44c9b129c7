// Whether this server is one of several. It stays what it is for as long as it runs.

import { getCluster } from './api.js';

export const cluster = { isThere: false };

let isKnown = false;

/** Asks the server, until it has said so. Fails if the server does not know who asks. */
export async function lookForCluster() {
  if (isKnown) return;
  try {
    await getCluster();
    Object.assign(cluster, { isThere: true });
    isKnown = true;
  } catch (error) {
    if (error.status === 401) throw error;
    isKnown = isAlone(error);
  }
}

/** Whether an answer says that the server is the only one. */
export const isAlone = (error) => error?.code === 'not_found';
