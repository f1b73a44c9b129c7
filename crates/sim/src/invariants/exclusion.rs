//! Exclusion: clients that are told they hold a semaphore, and whose leases are not over by their own clocks, never
//! have more than its full count together.

use throttle_core::RestorePolicy;

use super::{Invariant, Verdict};
use crate::ledger::{Exchange, Ledger};

pub(super) struct Exclusion;

impl Invariant for Exclusion {
    fn name(&self) -> &'static str {
        "exclusion"
    }

    fn learned(&mut self, ledger: &Ledger, exchange: &Exchange<'_>) -> Verdict {
        for (name, largest) in &ledger.largest_max {
            let guaranteed = ledger.peers.iter().filter(|(_, known)| known.guaranteed_until > exchange.at);
            let holds: Vec<_> =
                guaranteed.filter_map(|(peer, known)| Some((peer, known.held.get(name)?))).collect();
            let sum: i64 = holds.iter().map(|(_, hold)| hold.sure()).sum();
            // A server that may have forgotten them takes locks back even beyond the full count.
            let is_allowed = ledger.setup.settings.restore == RestorePolicy::Allow
                && holds.iter().any(|(_, hold)| hold.is_restored);
            if sum > *largest && !is_allowed {
                return Err(format!("{sum} of {name} are held, of {largest}: {holds:?}"));
            }
        }
        Ok(())
    }
}
