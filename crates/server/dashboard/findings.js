// What is wrong with a cluster, what that means, and what to do about it.

import { count, many, span } from './format.js';

/** A server that is behind by more than this is slow to take over. */
const BEHIND = 10_000;
/** A leader that etcd has not confirmed for longer than this answers nothing. */
const UNCONFIRMED = 2_000;
/** The part of its quota that etcd's database may fill before somebody should look at it. */
const NEARLY_FULL = 0.8;

/** Whether a member of etcd answers: whoever does not tells no version. */
export const answers = (member) => member.version !== '';

/** How many more members of etcd may fail, as far as this server sees. */
const spareOf = (etcd) => etcd.filter(answers).length - Math.floor(etcd.length / 2) - 1;

/** Whether etcd can answer nothing. All else that does not work comes of that. */
export const isEtcdLost = ({ etcd, trouble }) => spareOf(etcd) < 0 && (trouble !== null || !etcd.some(answers));

const isFull = (text) => text?.includes('NOSPACE') ?? false;

const leaderOf = ({ leader, servers }) => servers.find((one) => one.url === leader?.url);

/** Whether etcd confirms the leader; null while the leader does not say. */
export function isConfirmed(seen) {
  const server = leaderOf(seen);
  if (!server || server.error !== null || seen.leader.unconfirmed === null) return null;
  return server.role === 'leader' && server.trouble === null && span(seen.leader.unconfirmed) <= UNCONFIRMED;
}

/** Whether a server says that it leads although another one does by now. */
export const isDeposed = ({ leader }, { role, url }) => role === 'leader' && leader !== null && leader.url !== url;

/** Whether a server is too far behind to take over at once. */
export const isBehind = ({ role, lag }) => role === 'standby' && span(lag) > BEHIND;

const sentence = (text) => (/[.!?]$/.test(text) ? text : `${text}.`);

/**
 * All that is wrong, the worst first: `what` in a sentence, `then` what that means and what to do, `isBad` if requests
 * are refused for it. None of it has a figure that moves, for it is read aloud whenever it changes.
 */
export function findings(seen) {
  const found = [...ofMembers(seen), ...ofDatabase(seen), ...ofLeader(seen), ...ofServers(seen)];
  return [...found.filter((one) => one.isBad), ...found.filter((one) => !one.isBad)];
}

function ofMembers(seen) {
  const { answered_by: answeredBy, etcd, servers } = seen;
  const silent = etcd.filter((one) => !answers(one));
  const names = silent.map((one) => one.url).join(' and ');
  const talking = etcd.filter(answers);
  if (!talking.length) {
    const isLeader = servers.find((one) => one.url === answeredBy)?.role === 'leader';
    const meaning = isLeader
      ? 'This server leads, but can promise nothing now: requests are answered 503, and no lease ends meanwhile.'
      : 'This server cannot follow the log now, so it could not take over; who leads is what it knew last.';
    return [{ isBad: true, what: 'None of the members of etcd answers this server.', then: `${meaning} Start etcd, or mend the network between it and this server.` }];
  }
  if (isEtcdLost(seen)) {
    const what = `Of the ${count(etcd.length)} members of etcd only ${count(talking.length)} ${talking.length === 1 ? 'answers' : 'answer'}: that is no majority.`;
    return [{ isBad: true, what, then: `Requests are answered 503, and no lease ends meanwhile. Start ${names}.` }];
  }
  const found = [];
  if (silent.length) {
    const spare = spareOf(etcd);
    const left = spare > 0 ? ` ${count(spare)} more may fail before requests are refused.` : ' If one more fails, requests are refused.';
    const [what, act] = silent.length === 1
      ? [`The member ${names} of etcd gives no answer.`, 'Start it again, or replace it.']
      : [`The members ${names} of etcd give no answer.`, 'Start them again, or replace them.'];
    found.push({ isBad: false, what, then: `Everything goes on.${spare < 0 ? '' : left} ${act}` });
  }
  for (const { url, errors } of talking) {
    const others = errors.filter((text) => !isFull(text));
    if (others.length) found.push({ isBad: false, what: `The member ${url} of etcd says: ${sentence(others.join('; '))}`, then: 'If that stays, look at its log and at those of the others.' });
  }
  return found;
}

function ofDatabase({ etcd, trouble }) {
  if (isFull(trouble) || etcd.some((one) => one.errors.some(isFull))) {
    return [{ isBad: true, what: 'etcd is full (NOSPACE).', then: 'Looks and heartbeats go on, but changes are answered 503. Free space, defragment the members of etcd, then disarm the alarm: etcdctl alarm disarm.' }];
  }
  const fill = Math.max(0, ...etcd.map((one) => (one.quota_bytes ? one.db_bytes / one.quota_bytes : 0)));
  if (fill < NEARLY_FULL) return [];
  return [{ isBad: false, what: `The database of etcd fills ${count(Math.floor(fill * 100))} % of its quota.`, then: 'Once it is full, changes are answered 503. Compact and defragment etcd, or raise its --quota-backend-bytes.' }];
}

function ofLeader(seen) {
  if (isEtcdLost(seen)) return [];
  const { answered_by: answeredBy, leader } = seen;
  if (!leader) {
    return [{ isBad: true, what: 'No server leads just now.', then: 'Requests are answered 503, and no lease ends meanwhile. Another server takes over within seconds; if none does, their logs say why.' }];
  }
  const server = leaderOf(seen);
  if (!server) {
    return seen.trouble !== null ? [] : [{ isBad: true, what: `${leader.url} leads, but is not on the list of servers.`, then: 'If it has gone, another server takes over within seconds.' }];
  }
  if (server.error !== null) {
    return [{ isBad: true, what: `The leader, ${leader.url}, gives no answer to this server.`, then: 'If it is gone, another server takes over within seconds. If it stays so, it runs but cannot be reached: mend the network between the servers, or check its cluster.advertise.' }];
  }
  if (isConfirmed(seen) === false && !isFull(server.trouble)) {
    const why = server.trouble ? ` ${sentence(server.trouble)}` : '';
    const what = leader.url === answeredBy ? 'etcd does not confirm that this server leads.' : `etcd does not confirm that ${leader.url} leads.`;
    return [{ isBad: true, what, then: `It can promise nothing now: requests are answered 503, and no lease ends meanwhile. If it is cut off from etcd, another server takes over within seconds; else look at etcd.${why}` }];
  }
  return [];
}

function ofServers(seen) {
  if (isEtcdLost(seen)) return [];
  const { answered_by: answeredBy, leader, servers } = seen;
  const found = [];
  for (const one of servers.filter(({ url }) => url !== leader?.url)) {
    const name = one.url === answeredBy ? 'This server' : `The server ${one.url}`;
    if (one.error !== null) {
      found.push({ isBad: false, what: `${name} gives no answer.`, then: 'Start it again, or mend the network between the servers. A server that was stopped for good leaves the list by itself.' });
    } else if (isDeposed(seen, one)) {
      found.push({ isBad: false, what: `${name} does not know yet that it leads no longer.`, then: 'It answers nothing as a leader, and follows once etcd answers it. If it stays so, mend the network between it and etcd.' });
    } else if (one.trouble !== null) {
      found.push({ isBad: false, what: `${name} cannot follow the log now.`, then: `It could not take over. ${sentence(one.trouble)}` });
    } else if (isBehind(one)) {
      found.push({ isBad: false, what: `${name} is far behind with the log.`, then: 'It would be slow to take over. Look whether its machine is overloaded, or its way to etcd slow.' });
    }
  }
  const own = servers.find((one) => one.url === answeredBy);
  if (seen.trouble !== null && !isFull(seen.trouble) && own && own.trouble === null) {
    found.push({ isBad: false, what: 'The list of servers cannot be read.', then: sentence(seen.trouble) });
  } else if (servers.filter((one) => one.error === null).length < 2) {
    found.push({ isBad: false, what: 'No other server could take over.', then: 'If this one fails, requests fail until it is back. Start another one with the same [cluster].' });
  }
  const versions = new Set(servers.filter((one) => one.error === null).map((one) => one.version));
  if (versions.size > 1) {
    found.push({ isBad: false, what: `The servers run ${many(versions.size, 'version')}.`, then: 'An update is under way, or was forgotten on some.' });
  }
  return found;
}
