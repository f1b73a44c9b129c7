//! Nothing lies idle: whoever is first in line, is there, and asks for what is free, does not wait. Where requests may
//! pass those that wait for something else, those do not count.

use std::collections::{BTreeMap, BTreeSet};

use throttle_core::Order;

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
        let pass_within = ledger.setup.settings.pass_within.as_micros();
        shown.seen.semaphores.iter().try_for_each(|semaphore| {
            let free = semaphore.max - semaphore.acquired - semaphore.cooling;
            let passes = ledger.setup.spec_of(&semaphore.name).is_some_and(|spec| spec.order == Order::Pass);
            let is_young = |peer: &u64| {
                // Of one whose end was asked for, and did not come, nobody knows when it began to wait.
                let known = ledger.peers.get(peer).filter(|known| known.is_certain());
                let asking = known.and_then(|known| known.asking.as_ref());
                let waited = asking.map(|asking| shown.at.saturating_sub(asking.first_sent));
                // By a clock that may be too slow, or too fast, or that was set while the server was down.
                waited.is_some_and(|waited| u128::from(waited + waited / 10) < pass_within)
                    && !ledger.clock_was_set
            };
            let is_passed = |(peer, count): &(u64, i64)| {
                passes
                    && *count <= free
                    && queues.get(peer).is_some_and(|&queues| queues > 1)
                    && is_there(peer)
                    && is_young(peer)
            };
            let Some((peer, count)) = first(semaphore, is_passed) else { return Ok(()) };
            if count <= free && queues.get(&peer) == Some(&1) && is_there(&peer) {
                return Err(format!("peer {peer} waits for {count}, and {free} are free: {semaphore:?}"));
            }
            Ok(())
        })
    }
}

/// The first in line that is not passed over, and not passed by others.
fn first(semaphore: &Semaphore, is_passed: impl Fn(&(u64, i64)) -> bool) -> Option<(u64, i64)> {
    let is_passed_over =
        |(peer, count): &(u64, i64)| *count > semaphore.max || semaphore.absent.contains(peer);
    let mut queue = semaphore.queue.iter();
    queue.find(|waiter| !is_passed_over(waiter) && !is_passed(waiter)).copied()
}
