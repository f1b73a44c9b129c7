//! Refusals: a request is refused for a reason that its client can see, and what must be refused is.

use std::collections::BTreeMap;

use throttle_core::{Account, Deadlock, RestorePolicy};

use super::{Invariant, Verdict};
use crate::{
    ledger::{Exchange, Known, Ledger},
    message::{Answer, Call, Refused},
    time::Moment,
};

/// A bound above this is never reached here.
const LARGE: usize = 100;

#[derive(Default)]
pub(super) struct Refusals {
    /// Peers whose clients were told that they are gone, when nobody may bring back what it had.
    gone: BTreeMap<u64, Moment>,
}

impl Invariant for Refusals {
    fn name(&self) -> &'static str {
        "refusals"
    }

    fn told(&mut self, ledger: &Ledger, exchange: &Exchange<'_>) -> Verdict {
        match (&exchange.request.call, exchange.answer) {
            (_, Answer::Gone { peer, .. }) => {
                self.gone.insert(*peer, exchange.at);
                Ok(())
            }
            (Call::Restore { peer, locks, .. }, Answer::Done) => {
                let was_gone = self.gone.remove(peer).is_some_and(|at| at < exchange.request.sent_at);
                let is_denied = ledger.setup.settings.restore == RestorePolicy::Deny && !locks.is_empty();
                if was_gone && is_denied {
                    return Err(format!(
                        "peer {peer} was gone, and may not come back with {locks:?}, but it may"
                    ));
                }
                Ok(())
            }
            (_, Answer::Refused(refused)) if !is_justified(ledger, exchange, *refused) => {
                Err(format!("it is refused without a reason: {exchange:?}"))
            }
            _ => Ok(()),
        }
    }
}

fn is_justified(ledger: &Ledger, exchange: &Exchange<'_>, refused: Refused) -> bool {
    let (setup, call) = (&ledger.setup, &exchange.request.call);
    match refused {
        Refused::UnknownSemaphore => setup.faults.operators > 0,
        Refused::ExceedsMax => {
            let is_beyond = |name: &str, count| setup.spec_of(name).is_none_or(|spec| count > spec.max);
            let is_wrong = locks_of(call).iter().any(|(name, count)| is_beyond(name, *count));
            is_wrong || setup.changes_semaphores() || ledger.is_calm
        }
        Refused::Deadlock => setup.names.iter().any(|name| kind_of(ledger, name) == Deadlock::Detect),
        Refused::Hierarchy => is_climbing(ledger, exchange),
        Refused::AlreadyPending => {
            known(ledger, call).is_none_or(|known| !known.is_certain() || known.asking.is_some())
        }
        Refused::Limit => {
            let limits = &setup.settings.limits;
            let of_core =
                [limits.peers, limits.waiters_per_semaphore, limits.locks_per_peer, limits.locks_per_request];
            let others = [limits.semaphores, limits.deadlock_walk, setup.bounds.waits];
            let quotas = setup.owners.iter().map(|Account { quota, .. }| quota);
            let shares = quotas.flat_map(|q| [q.peers, q.pending, q.members, q.blocked]);
            shares.into_iter().any(|share| share < LARGE)
                || of_core.iter().chain(&others).any(|limit| *limit < LARGE)
        }
        // These have judges of their own.
        Refused::RestoreConflict | Refused::KeyReused | Refused::InUse => true,
        Refused::Invalid => false,
    }
}

fn known<'a>(ledger: &'a Ledger, call: &Call) -> Option<&'a Known> {
    ledger.peers.get(&call.peer()?)
}

fn locks_of(call: &Call) -> &[(std::sync::Arc<str>, i64)] {
    match call {
        Call::Session { locks, .. } | Call::Acquire { locks, .. } => locks,
        Call::KeepOrRestore { pending, .. } => pending,
        _ => &[],
    }
}

fn kind_of(ledger: &Ledger, name: &str) -> Deadlock {
    ledger.setup.spec_of(name).map_or(Deadlock::Hierarchy, |spec| spec.deadlock)
}

/// Whether a request asks for a level that is not below one that it has, or for more than it has.
fn is_climbing(ledger: &Ledger, exchange: &Exchange<'_>) -> bool {
    let call = &exchange.request.call;
    if !ledger.removed.is_empty() {
        // Nobody knows which locks a peer has left.
        return true;
    }
    let Some(known) = known(ledger, call).filter(|known| known.is_certain()) else {
        // A request for a peer and its locks has nothing yet, unless it is a repeat.
        return call.key().is_some() || !matches!(call, Call::Session { .. });
    };
    let level = |name: &str| ledger.setup.spec_of(name).map_or(0, |spec| spec.level);
    locks_of(call).iter().any(|(name, count)| {
        let asked = known.asking.iter().flat_map(|asking| &asking.locks).filter(|(of, _)| of == name);
        let had =
            known.held.get(name).map(|hold| hold.count).into_iter().chain(asked.map(|(_, count)| *count));
        had.into_iter().any(|had| *count > had) || known.held.keys().any(|held| level(name) >= level(held))
    })
}
