//! Answers are true, whatever crashes later: what a client was told it holds, it holds until it gives it back.

use super::{Invariant, Verdict};
use crate::{
    ledger::{Exchange, Ledger},
    message::{Answer, Call},
};

pub(super) struct Answers;

impl Invariant for Answers {
    fn name(&self) -> &'static str {
        "answers"
    }

    fn told(&mut self, ledger: &Ledger, exchange: &Exchange<'_>) -> Verdict {
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
            let is_same = hold.token.is_none() || lock.token == hold.token;
            if lock.count != hold.count || !is_same {
                return Err(format!("peer {} held {hold:?} of {name}, and now {lock:?}", seen.id));
            }
        }
        if known.restored_at > 0 {
            return Ok(());
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
