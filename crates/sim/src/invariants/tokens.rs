//! Tokens: no two grants have the same, and of two grants of a semaphore the later one has the larger.

use std::{collections::BTreeMap, sync::Arc};

use super::{Invariant, Verdict};
use crate::{
    ledger::{Exchange, Ledger},
    message::{Answer, Call, Request},
    time::Moment,
};

#[derive(Default)]
pub(super) struct Tokens {
    /// Whose each token is.
    owners: BTreeMap<u64, (u64, Arc<str>)>,
    /// The largest token that somebody was told of, and when, in order of both.
    told: BTreeMap<Arc<str>, Vec<(Moment, u64)>>,
    /// Tokens of locks that were given back, and when that was told.
    dead: BTreeMap<u64, Moment>,
}

impl Tokens {
    /// A peer has given back what it had on these semaphores; without any, all it had.
    fn gave_back(&mut self, peer: u64, semaphores: &[Arc<str>], exchange: &Exchange<'_>) {
        let is_of =
            |of: &(u64, Arc<str>)| of.0 == peer && (semaphores.is_empty() || semaphores.contains(&of.1));
        // A token that was told later may be that of a later lock.
        let told_before = |token: &u64, name: &Arc<str>| {
            let told = self.told.get(name).into_iter().flatten();
            let mut told = told.take_while(|(at, _)| *at < exchange.request.sent_at);
            told.any(|(_, largest)| largest >= token)
        };
        let tokens = self.owners.iter().filter(|(token, of)| is_of(of) && told_before(token, &of.1));
        let tokens: Vec<_> = tokens.map(|(token, _)| *token).collect();
        for token in tokens {
            self.dead.entry(token).or_insert(exchange.at);
        }
    }

    /// Whether what is told of a token is true.
    fn checked(
        &self,
        ledger: &Ledger,
        exchange: &Exchange<'_>,
        name: &str,
        token: u64,
        is_live: bool,
    ) -> Verdict {
        let sent_at = exchange.request.sent_at;
        let is_dead = self.dead.get(&token).is_some_and(|at| *at < sent_at);
        if is_live && is_dead {
            return Err(format!("token {token} of {name} was given back, and is said to be live"));
        }
        let holds = ledger.relied_on(name, (sent_at, exchange.at), exchange.instance);
        let holder = holds.iter().find(|(_, hold)| hold.token == Some(token));
        match holder.filter(|_| !is_live) {
            Some(holder) => Err(format!("token {token} of {name} is said to be dead: {holder:?}")),
            None => Ok(()),
        }
    }
}

impl Invariant for Tokens {
    fn name(&self) -> &'static str {
        "tokens"
    }

    fn sent(&mut self, _: &Ledger, request: &Request) {
        // It may come to life again.
        if let Call::Restore { locks, .. } = &request.call {
            for token in locks.iter().filter_map(|(.., token)| token.as_ref()) {
                self.dead.insert(*token, Moment::MAX);
            }
        }
    }

    fn told(&mut self, ledger: &Ledger, exchange: &Exchange<'_>) -> Verdict {
        match (&exchange.request.call, exchange.answer) {
            (Call::Release { peer, semaphores }, Answer::Done) => self.gave_back(*peer, semaphores, exchange),
            (Call::EndPeer { peer, .. }, Answer::Done) => self.gave_back(*peer, &[], exchange),
            (Call::CheckToken { semaphore, token }, Answer::Bool(is_live)) => {
                return self.checked(ledger, exchange, semaphore, *token, *is_live);
            }
            _ => {}
        }
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
