//! Nothing lies idle: whoever is first in line, is there, and asks for what is free, does not wait.

use std::collections::{BTreeMap, BTreeSet};

use super::{Invariant, Shown, Verdict};
use crate::{
    ledger::{Asking, Exchange, Ledger},
    message::{Answer, Refused, Semaphore},
};

#[derive(Default)]
pub(super) struct Idle {
    /// Peers whose requests were refused as they would wait for ever: from then on they are served when they ask.
    refused: BTreeSet<u64>,
}

impl Invariant for Idle {
    fn name(&self) -> &'static str {
        "idle"
    }

    fn told(&mut self, _: &Ledger, exchange: &Exchange<'_>) -> Verdict {
        if let (Some(peer), Answer::Refused(Refused::Deadlock)) =
            (exchange.request.call.peer(), exchange.answer)
        {
            self.refused.insert(peer);
        }
        Ok(())
    }

    fn shown(&mut self, ledger: &Ledger, shown: &Shown<'_>) -> Verdict {
        if shown.seen.is_holding || ledger.is_draining {
            return Ok(());
        }
        // In how many queues each peer stands.
        let mut queues = BTreeMap::<u64, usize>::new();
        for (peer, _) in shown.seen.semaphores.iter().flat_map(|semaphore| &semaphore.queue) {
            *queues.entry(*peer).or_default() += 1;
        }
        let is_there = |peer: &u64| {
            let polls = |asking: &Asking| !asking.has_waited && !self.refused.contains(peer);
            let known = ledger.peers.get(peer).filter(|known| known.is_certain());
            shown.connected.contains(peer) || known.and_then(|known| known.asking.as_ref()).is_some_and(polls)
        };
        shown.seen.semaphores.iter().try_for_each(|semaphore| {
            let Some((peer, count)) = first(semaphore) else { return Ok(()) };
            let free = semaphore.max - semaphore.acquired - semaphore.cooling;
            if count <= free && queues.get(&peer) == Some(&1) && is_there(&peer) {
                return Err(format!("peer {peer} waits for {count}, and {free} are free: {semaphore:?}"));
            }
            Ok(())
        })
    }
}

/// The first in line that is not passed over.
fn first(semaphore: &Semaphore) -> Option<(u64, i64)> {
    let mut queue = semaphore.queue.iter();
    queue.find(|(peer, count)| *count <= semaphore.max && !semaphore.absent.contains(peer)).copied()
}
