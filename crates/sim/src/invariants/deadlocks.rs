//! Deadlocks: among those who wait, some can always go on, once everybody who waits for nothing has given back what it
//! holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Invariant, Shown, Verdict};
use crate::ledger::{Known, Ledger};

/// A longer search for a deadlock comes to its end here.
const WALK_MIN: usize = 100;

pub(super) struct Deadlocks;

/// A semaphore that somebody waits for, how much of it, and its full count.
type Wanted<'a> = (&'a Arc<str>, i64, i64);

impl Invariant for Deadlocks {
    fn name(&self) -> &'static str {
        "deadlocks"
    }

    fn shown(&mut self, ledger: &Ledger, shown: &Shown<'_>) -> Verdict {
        let mut acquired: BTreeMap<&Arc<str>, i64> = BTreeMap::new();
        let mut held: BTreeMap<u64, Vec<(&Arc<str>, i64)>> = BTreeMap::new();
        let mut asked: BTreeMap<u64, Vec<Wanted<'_>>> = BTreeMap::new();
        for semaphore in &shown.seen.semaphores {
            acquired.insert(&semaphore.name, semaphore.acquired);
            for (peer, count) in &semaphore.holders {
                held.entry(*peer).or_default().push((&semaphore.name, *count));
            }
            // Who is passed over is taken to be gone soon; when it comes back, it is refused if it would wait for ever.
            for (peer, count) in semaphore.queue.iter().filter(|(peer, _)| !semaphore.absent.contains(peer)) {
                asked.entry(*peer).or_default().push((&semaphore.name, *count, semaphore.max));
            }
        }
        let waits: BTreeSet<u64> = asked.keys().copied().collect();
        let mut open: Vec<u64> = held.keys().copied().filter(|peer| !waits.contains(peer)).collect();
        let mut stuck = waits;
        loop {
            for peer in open.drain(..) {
                for (name, count) in held.remove(&peer).unwrap_or_default() {
                    *acquired.entry(name).or_default() -= count;
                }
            }
            // In whatever order they stand: then this finds too few, never too many.
            let fits = |(name, count, max): &Wanted<'_>| {
                acquired.get(name).is_none_or(|of| of + count <= (*max).max(*count))
            };
            let free: Vec<u64> = stuck
                .iter()
                .copied()
                .filter(|peer| asked.get(peer).is_none_or(|all| all.iter().all(fits)))
                .collect();
            if free.is_empty() {
                break;
            }
            stuck.retain(|peer| !free.contains(peer));
            open = free;
        }
        // Who was brought back was asked for no level; and after a change whoever asks again is examined again.
        let changes = ledger.setup.changes_semaphores();
        let is_examined = |known: &Known| {
            let asked_at = known.asking.as_ref().map_or(0, |asking| asking.still_pending_at);
            !changes
                || (asked_at > ledger.changed_by && ledger.setup.settings.limits.deadlock_walk > WALK_MIN)
        };
        let is_plain =
            |peer: &u64| ledger.peers.get(peer).is_some_and(|known| known.is_certain() && is_examined(known));
        if !stuck.is_empty() && stuck.iter().all(is_plain) {
            return Err(format!("these wait for each other: {stuck:?} in {:?}", shown.seen.semaphores));
        }
        Ok(())
    }
}
