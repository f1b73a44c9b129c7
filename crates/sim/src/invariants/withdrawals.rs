//! Withdrawals: who goes on waiting for what left the queue is told so, and stands in no queue anew; and is told so for
//! no other reason.

use std::collections::BTreeMap;

use super::{Invariant, Verdict};
use crate::{
    ledger::{Exchange, Ledger},
    message::{Answer, Call},
    time::Micros,
};

#[derive(Default)]
pub(super) struct Withdrawals {
    /// Since when each peer waits, and in which state of the server, as its client was told last.
    told: BTreeMap<u64, (u64, Option<Micros>)>,
}

impl Invariant for Withdrawals {
    fn name(&self) -> &'static str {
        "withdrawals"
    }

    fn told(&mut self, ledger: &Ledger, exchange: &Exchange<'_>) -> Verdict {
        let &Exchange { request, answer, instance, .. } = exchange;
        let goes_on = match &request.call {
            Call::Acquire { peer, locks, if_pending: Some(of), .. } if *of == instance => Some((peer, locks)),
            _ => None,
        };
        match (goes_on, answer) {
            (goes_on, Answer::Peer(seen)) => {
                let before = self.told.insert(seen.id, (instance, seen.asked_at));
                match (goes_on, before, seen.asked_at) {
                    (Some((peer, locks)), Some((of, Some(since))), Some(asked_at))
                        if of == instance && asked_at > since =>
                    {
                        Err(format!("peer {peer} asked for {locks:?} anew, though it only went on waiting"))
                    }
                    _ => Ok(()),
                }
            }
            (Some((peer, locks)), Answer::NotAcquired) if ledger.setup.faults.operators == 0 => {
                let known = ledger.peers.get(peer).filter(|known| known.is_certain());
                let Some(known) = known.filter(|known| known.instance == instance) else { return Ok(()) };
                let is_asking = |name| known.asking.as_ref().is_some_and(|asking| asking.names(name));
                if locks.iter().all(|(name, _)| is_asking(name)) {
                    return Err(format!("peer {peer} is told that nobody waits for {locks:?}, but it does"));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
