//! What must hold, judged from outside: from what clients sent and were told, and from the stream of events.

mod answers;
mod bounds;
mod deadlocks;
mod endings;
mod exclusion;
mod expiry;
mod fencing;
mod idempotency;
mod idle;
mod leadership;
mod leaks;
mod levels;
mod liveness;
mod order;
mod presence;
mod rates;
mod refusals;
mod shares;
mod stream;
mod tokens;
mod waits;
mod withdrawals;

use std::collections::{BTreeMap, BTreeSet};

use throttle_core::Owner;
use throttle_node::LoggedEvent;

use crate::{
    ledger::{Exchange, Ledger, Note},
    message::{Request, Write},
    shown::Everything,
    time::Moment,
};

/// Whether an invariant holds; the sentence says how not.
pub type Verdict = Result<(), String>;

/// What the server shows at one moment, in two ways.
pub struct Shown<'a> {
    pub at: Moment,
    /// The events since the last time, with their numbers.
    pub events: &'a [(u64, LoggedEvent)],
    /// Events are missing, or the server began anew: a reader has to look at everything again.
    pub is_broken: bool,
    /// Semaphores and peers.
    pub seen: &'a Everything,
    /// The peers whose clients wait with an open connection.
    pub connected: &'a BTreeSet<u64>,
    /// How many requests of each owner wait with an open connection.
    pub waiting: &'a BTreeMap<Owner, usize>,
}

/// Something that must hold.
pub trait Invariant {
    /// Its name.
    fn name(&self) -> &'static str;
    /// A request is sent; the ledger knows.
    fn sent(&mut self, _: &Ledger, _: &Request) {}
    /// A client is told something; the ledger does not know yet.
    fn told(&mut self, _: &Ledger, _: &Exchange<'_>) -> Verdict {
        Ok(())
    }
    /// An answer comes that nobody waits for any more, such as that to a request that arrived twice.
    fn echoed(&mut self, _: &Ledger, _: &Exchange<'_>) -> Verdict {
        Ok(())
    }
    /// A client is told something; the ledger knows by now.
    fn learned(&mut self, _: &Ledger, _: &Exchange<'_>) -> Verdict {
        Ok(())
    }
    /// A client writes to the resource that a semaphore protects.
    fn written(&mut self, _: &Ledger, _: Moment, _: &Write) -> Verdict {
        Ok(())
    }
    /// Something happens to the server.
    fn noted(&mut self, _: &Ledger, _: Moment, _: &Note) {}
    /// An operator looks at everything.
    fn shown(&mut self, _: &Ledger, _: &Shown<'_>) -> Verdict {
        Ok(())
    }
    /// Everybody has gone, and every lease is over.
    fn over(&mut self, _: &Ledger, _: &Shown<'_>) -> Verdict {
        Ok(())
    }
}

/// All of them.
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(exclusion::Exclusion),
        Box::<order::Order>::default(),
        Box::<tokens::Tokens>::default(),
        Box::new(expiry::Expiry),
        Box::new(leaks::Leaks),
        Box::<liveness::Liveness>::default(),
        Box::new(answers::Answers),
        Box::<idempotency::Idempotency>::default(),
        Box::<stream::Stream>::default(),
        Box::<rates::Rates>::default(),
        Box::new(levels::Levels),
        Box::<presence::Presence>::default(),
        Box::new(endings::Endings),
        Box::<idle::Idle>::default(),
        Box::new(bounds::Bounds),
        Box::new(deadlocks::Deadlocks),
        Box::<refusals::Refusals>::default(),
        Box::new(shares::Shares),
        Box::new(waits::Waits),
        Box::<withdrawals::Withdrawals>::default(),
        Box::<fencing::Fencing>::default(),
        Box::<leadership::Leadership>::default(),
    ]
}
