//! Answers are true, whatever crashes later: what a client was told it holds, it holds until it gives it back.

use std::sync::Arc;

use super::{Invariant, Verdict};
use crate::{
    ledger::{Exchange, Hold, Ledger},
    message::{Answer, Call},
};

pub(super) struct Answers;

impl Invariant for Answers {
    fn name(&self) -> &'static str {
        "answers"
    }

    fn told(&mut self, ledger: &Ledger, exchange: &Exchange<'_>) -> Verdict {
        let sent_at = exchange.request.sent_at;
        match (&exchange.request.call, exchange.answer) {
            (Call::Remainder { semaphore }, Answer::Count(remainder)) => {
                let held = ledger.relied_on(semaphore, (sent_at, exchange.at), exchange.instance);
                let sum: i64 = held.iter().map(|(_, hold)| hold.count).sum();
                let max = ledger.largest_max.get(semaphore).copied().unwrap_or(i64::MAX);
                if max.saturating_sub(sum) < *remainder {
                    return Err(format!(
                        "{remainder} are left of {semaphore}, by a look, of {max}: {held:?}"
                    ));
                }
            }
            (Call::LookAtSemaphore { semaphore }, Answer::Semaphore(seen)) => {
                let held = ledger.relied_on(semaphore, (sent_at, exchange.at), exchange.instance);
                // It may have been shrunk since.
                let is_of = |held: &(u64, &Hold), (peer, count): &(u64, i64)| {
                    held.0 == *peer && *count >= held.1.count
                };
                let is_seen = |held: &&(u64, &Hold)| seen.holders.iter().any(|holder| is_of(held, holder));
                if let Some(missing) = held.iter().find(|held| !is_seen(held)) {
                    return Err(format!("{missing:?} is not among the holders: {seen:?}"));
                }
            }
            _ => {}
        }
        let (Answer::Peer(seen), Some(_)) = (exchange.answer, exchange.request.client) else { return Ok(()) };
        let Some(known) = ledger.peers.get(&seen.id) else { return Ok(()) };
        if known.is_muddled || known.ended_at.is_some() || known.guaranteed_until <= exchange.at {
            return Ok(());
        }
        if known.instance != exchange.instance {
            return Ok(());
        }
        for (name, hold) in &known.held {
            let found = seen.locks.iter().find(|lock| lock.semaphore == *name);
            let Some(lock) = found else {
                return Err(format!("peer {} held {hold:?} of {name}, and it is gone: {seen:?}", seen.id));
            };
            // No token is minted for what was brought back.
            let is_same = match hold.token {
                None if hold.is_restored => lock.token.is_none() || lock.token == hold.claimed,
                None => true,
                token => lock.token == token,
            };
            if lock.count != hold.count || !is_same {
                return Err(format!("peer {} held {hold:?} of {name}, and now {lock:?}", seen.id));
            }
        }
        // What it waits for is forgotten with the state that this is about.
        if known.restored_at > 0 || exchange.instance != ledger.instance {
            return Ok(());
        }
        // It has, or waits for, just what it asks for.
        if let Call::Acquire { locks, .. } | Call::Session { locks, .. } = &exchange.request.call {
            let has = |name: &Arc<str>| {
                let held = seen.locks.iter().find(|lock| lock.semaphore == *name).map(|lock| lock.count);
                held.or_else(|| seen.pending.iter().find(|(of, _)| of == name).map(|(_, count)| *count))
            };
            let wrong = locks.iter().find(|(name, count)| has(name).is_some_and(|has| has != *count));
            if let Some(wrong) = wrong {
                return Err(format!("peer {} asks for {wrong:?}, and has something else: {seen:?}", seen.id));
            }
        }
        // What it gave back, or never asked for, it does not have.
        let asked = |name: &str| {
            let asking =
                known.asking.as_ref().is_some_and(|asking| asking.locks.iter().any(|(of, _)| **of == *name));
            let now = match &exchange.request.call {
                Call::Acquire { locks, .. } | Call::Session { locks, .. } => {
                    locks.iter().any(|(of, _)| **of == *name)
                }
                Call::KeepOrRestore { active, pending, .. } => {
                    active.iter().chain(pending).any(|(of, _)| **of == *name)
                }
                _ => false,
            };
            asking || now
        };
        let others =
            seen.locks.iter().map(|lock| &lock.semaphore).chain(seen.pending.iter().map(|(name, _)| name));
        for name in others {
            if !known.held.contains_key(name) && !asked(name) && !ledger.removed.contains_key(name) {
                return Err(format!("peer {} never asked for {name}, or gave it back: {seen:?}", seen.id));
            }
        }
        Ok(())
    }
}
