//! Expiry: a peer lives as long as its client was promised, and no longer than its margin allows; and what a client is
//! told of that is true.

use super::{Invariant, Shown, Verdict};
use crate::{
    ledger::{Asking, Exchange, Known, Ledger},
    message::{Answer, Call, Peer},
    time::{MS, Micros, Moment},
};

/// How long an answer that is due at once may take, and the way to the server.
const SLACK: Micros = 50 * MS;

pub(super) struct Expiry;

impl Invariant for Expiry {
    fn name(&self) -> &'static str {
        "expiry"
    }

    fn told(&mut self, ledger: &Ledger, exchange: &Exchange<'_>) -> Verdict {
        match (&exchange.request.call, exchange.answer) {
            (_, Answer::Gone { peer, .. }) => never_early(ledger, exchange, *peer),
            (Call::Heartbeats { .. }, Answer::Renewed { gone }) => {
                gone.iter().try_for_each(|peer| never_early(ledger, exchange, *peer))
            }
            (_, Answer::Peer(seen)) => {
                if matches!(exchange.request.call, Call::Look { .. }) && exchange.request.client.is_some() {
                    never_late(ledger, seen.id, exchange.request.sent_at)?;
                }
                is_told_truly(ledger, exchange, seen)
            }
            _ => Ok(()),
        }
    }

    fn shown(&mut self, ledger: &Ledger, shown: &Shown<'_>) -> Verdict {
        let holders = shown.seen.semaphores.iter().flat_map(|semaphore| &semaphore.holders);
        let mut holders = holders.filter(|(peer, _)| !shown.connected.contains(peer));
        holders.try_for_each(|(peer, _)| never_late(ledger, *peer, shown.at))
    }
}

fn never_early(ledger: &Ledger, exchange: &Exchange<'_>, peer: u64) -> Verdict {
    let Some(known) = ledger.peers.get(&peer) else { return Ok(()) };
    let Exchange { request, at, instance, .. } = exchange;
    let was_forgotten = known.instance != *instance;
    // A request of the client itself may have ended it that it has forgotten, such as one that leaves.
    let is_ended = known.ended_at.is_some() || known.is_muddled;
    if was_forgotten || is_ended || known.may_have_come_back(request.sent_at) {
        return Ok(());
    }
    let until = known.guaranteed_until;
    if until > *at {
        return Err(format!("peer {peer} is gone {} us before its lease is over", until - at));
    }
    if until > 0 && until + ledger.forgiven(known, request.sent_at) > *at {
        return Err(format!(
            "peer {peer} is gone, though the server stood still and it is not to be its loss"
        ));
    }
    // It came within the margin, since its answer did.
    let margin = margin_of(ledger, known.lease.min(known.lease_floor));
    if request.sent_at <= until && at - request.sent_at < margin && !ledger.clocks_drift() {
        return Err(format!("peer {peer} is gone, though it was renewed in time and within the margin"));
    }
    Ok(())
}

fn never_late(ledger: &Ledger, peer: u64, at: Moment) -> Verdict {
    let Some(known) = ledger.peers.get(&peer) else { return Ok(()) };
    let Known { lease_longest, renewed_by, asking, is_muddled, ended_at, .. } = known;
    if asking.is_some() || *is_muddled || ended_at.is_some() || !ledger.removed.is_empty() {
        // A grant has the lease begin anew, and it may wait for something that was not removed after all.
        return Ok(());
    }
    // A restart has every lease begin anew.
    let begun = (*renewed_by).max(ledger.started_at);
    let life = lease_longest + margin_of(ledger, *lease_longest) + ledger.stood_still;
    let over = begun + life + ledger.tolerance(life) + SLACK + 2 * ledger.setup.faults.delay_max;
    if at > over {
        return Err(format!("peer {peer} lives {} us after its lease and margin: {known:?}", at - over));
    }
    Ok(())
}

/// Whether the time until which an answer promises that a peer lives is what its client was promised.
fn is_told_truly(ledger: &Ledger, exchange: &Exchange<'_>, seen: &Peer) -> Verdict {
    let Exchange { request, at, .. } = exchange;
    let Some(known) = ledger.peers.get(&seen.id).filter(|known| known.is_certain()) else { return Ok(()) };
    let longest = known.lease_longest.max(request.call.lease().unwrap_or_default());
    if !ledger.clock_was_set && seen.expires_at > at + longest + ledger.tolerance(0) {
        return Err(format!("peer {} asked for {longest} us, and is promised more: {seen:?}", seen.id));
    }
    // A grant to a waiter has the lease begin anew. Who waited for what was removed since is no waiter.
    let waits = |asking: &&Asking| asking.told_pending_at.is_some() && !ledger.setup.changes_semaphores();
    let Some(asking) = known.asking.as_ref().filter(waits) else { return Ok(()) };
    if known.guaranteed_until <= *at {
        // It may have been gone, and have come back.
        return Ok(());
    }
    let lease = known.lease_shortest;
    let mut granted = seen.locks.iter().filter(|lock| asking.names(&lock.semaphore));
    match granted.find(|lock| seen.expires_at < lock.since + lease) {
        Some(lock) => Err(format!("peer {} was granted {lock:?}, and its lease is short: {seen:?}", seen.id)),
        None => Ok(()),
    }
}

fn margin_of(ledger: &Ledger, lease: Micros) -> Micros {
    let most = u64::try_from(ledger.setup.settings.margin_max.as_micros()).unwrap_or(u64::MAX);
    most.min(lease / 20)
}
