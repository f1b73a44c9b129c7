//! Expiry: a peer lives as long as its client was promised, and no longer than its margin allows.

use super::{Invariant, Verdict};
use crate::{
    ledger::{Exchange, Known, Ledger},
    message::{Answer, Call},
    time::{MS, Micros},
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
            (Call::Look { peer }, Answer::Peer(_)) => never_late(ledger, exchange, *peer),
            _ => Ok(()),
        }
    }
}

fn never_early(ledger: &Ledger, exchange: &Exchange<'_>, peer: u64) -> Verdict {
    let Some(known) = ledger.peers.get(&peer) else { return Ok(()) };
    let was_forgotten = known.instance != exchange.instance;
    // A request of the client itself may have ended it that it has forgotten, such as one that leaves.
    let is_ended = known.ended_at.is_some() || known.is_muddled;
    let came_back = known.may_have_come_back(exchange.request.sent_at);
    if known.guaranteed_until > exchange.at && !was_forgotten && !is_ended && !came_back {
        let early = known.guaranteed_until - exchange.at;
        return Err(format!("peer {peer} is gone {early} us before its lease is over"));
    }
    Ok(())
}

fn never_late(ledger: &Ledger, exchange: &Exchange<'_>, peer: u64) -> Verdict {
    let Some(known) = ledger.peers.get(&peer) else { return Ok(()) };
    let Known { lease, renewed_by, asking, is_muddled, .. } = known;
    if asking.is_some() || *is_muddled || exchange.request.client.is_none() {
        // A grant has the lease begin anew.
        return Ok(());
    }
    let margin = (ledger.setup.longest_life() - ledger.setup.lease_max).min(lease / 20);
    let begun = (*renewed_by).max(ledger.started_at);
    let over = begun + lease + margin + ledger.stood_still + SLACK + 2 * ledger.setup.faults.delay_max;
    if exchange.request.sent_at > over {
        let late = exchange.request.sent_at - over;
        return Err(format!("peer {peer} lives {late} us after its lease and margin"));
    }
    Ok(())
}
