//! Bounds: nothing grows beyond what the settings allow.

use std::collections::BTreeMap;

use super::{Invariant, Shown, Verdict};
use crate::ledger::Ledger;

pub(super) struct Bounds;

impl Invariant for Bounds {
    fn name(&self) -> &'static str {
        "bounds"
    }

    fn shown(&mut self, ledger: &Ledger, shown: &Shown<'_>) -> Verdict {
        let limits = &ledger.setup.settings.limits;
        if shown.seen.peers > limits.peers {
            return Err(format!("{} peers live, of at most {}", shown.seen.peers, limits.peers));
        }
        // What the file declares is there, whatever the limit is.
        let most = limits.semaphores.max(ledger.setup.declared.len());
        if shown.seen.semaphores.len() > most {
            return Err(format!("there are {} semaphores, of at most {most}", shown.seen.semaphores.len()));
        }
        let waiting = shown.seen.semaphores.iter().find(|one| one.queue.len() > limits.waiters_per_semaphore);
        if let Some(semaphore) = waiting {
            return Err(format!("at most {} may wait: {semaphore:?}", limits.waiters_per_semaphore));
        }
        let mut locks = BTreeMap::<u64, usize>::new();
        for (peer, _) in shown.seen.semaphores.iter().flat_map(|one| one.holders.iter().chain(&one.queue)) {
            *locks.entry(*peer).or_default() += 1;
        }
        let most = limits.locks_per_peer;
        match locks.into_iter().find(|(_, count)| *count > most) {
            Some((peer, count)) => Err(format!("peer {peer} has {count} locks, of at most {most}")),
            None => Ok(()),
        }
    }
}
