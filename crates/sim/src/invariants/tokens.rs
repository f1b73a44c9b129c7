//! Tokens: no two grants have the same, and of two grants of a semaphore the later one has the larger.

use std::{collections::BTreeMap, sync::Arc};

use super::{Invariant, Verdict};
use crate::{
    ledger::{Exchange, Ledger},
    message::Answer,
    time::Moment,
};

#[derive(Default)]
pub(super) struct Tokens {
    /// Whose each token is.
    owners: BTreeMap<u64, (u64, Arc<str>)>,
    /// The largest token that somebody was told of, and when, in order of both.
    told: BTreeMap<Arc<str>, Vec<(Moment, u64)>>,
}

impl Invariant for Tokens {
    fn name(&self) -> &'static str {
        "tokens"
    }

    fn told(&mut self, ledger: &Ledger, exchange: &Exchange<'_>) -> Verdict {
        let Answer::Peer(seen) = exchange.answer else { return Ok(()) };
        let known = ledger.peers.get(&seen.id);
        for lock in &seen.locks {
            let Some(token) = lock.token else { continue };
            let owner = (seen.id, lock.semaphore.clone());
            let of = self.owners.entry(token).or_insert_with(|| owner.clone());
            if *of != owner {
                return Err(format!("token {token} is {owner:?}'s, and {of:?}'s"));
            }
            let told = self.told.entry(lock.semaphore.clone()).or_default();
            // It was granted after it was asked for, so it exceeds every token that anybody knew of by then.
            let asking = known.and_then(|known| known.asking.as_ref());
            let asked_at = asking
                .filter(|asking| asking.locks.iter().any(|(name, _)| *name == lock.semaphore))
                .map(|asking| asking.first_sent);
            let is_new =
                known.is_some_and(|known| !known.held.contains_key(&lock.semaphore) && known.is_certain());
            let is_removed = ledger.removed.contains_key(&lock.semaphore);
            if let Some(asked_at) = asked_at.filter(|_| is_new && !is_removed) {
                let before = told.partition_point(|(at, _)| *at < asked_at);
                if let Some((_, larger)) =
                    told.get(..before).and_then(<[_]>::last).filter(|(_, other)| *other > token)
                {
                    return Err(format!("token {token} of {:?} comes after {larger}", lock.semaphore));
                }
            }
            let largest = told.last().map_or(0, |(_, largest)| *largest);
            told.push((exchange.at, largest.max(token)));
        }
        Ok(())
    }
}
