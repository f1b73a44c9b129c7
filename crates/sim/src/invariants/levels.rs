//! Levels: a peer is never let in the queue of a level that is not below what it holds, unless deadlocks are detected.

use throttle_core::Deadlock;

use super::{Invariant, Verdict};
use crate::{
    ledger::{Exchange, Ledger},
    message::{Answer, Call},
};

pub(super) struct Levels;

impl Invariant for Levels {
    fn name(&self) -> &'static str {
        "levels"
    }

    fn told(&mut self, ledger: &Ledger, exchange: &Exchange<'_>) -> Verdict {
        let (Call::Acquire { peer, locks, .. }, Answer::Peer(_)) = (&exchange.request.call, exchange.answer)
        else {
            return Ok(());
        };
        let Some(known) = ledger.peers.get(peer) else { return Ok(()) };
        if known.guaranteed_until <= exchange.at || !known.is_certain() {
            return Ok(());
        }
        let by_level = |name: &str| {
            let spec = ledger.setup.spec_of(name).filter(|spec| spec.deadlock == Deadlock::Hierarchy);
            spec.map(|spec| spec.level)
        };
        let held = known
            .held
            .keys()
            .filter_map(|name| Some((name, by_level(name)?)))
            .min_by_key(|(_, level)| *level);
        let Some((lowest, held)) = held else { return Ok(()) };
        for (name, _) in locks
            .iter()
            .filter(|(name, _)| !known.held.contains_key(name) && !ledger.removed.contains_key(name))
        {
            if let Some(level) = by_level(name).filter(|level| *level >= held) {
                return Err(format!(
                    "peer {peer} holds {lowest} of level {held}, and is let in {name} of level {level}"
                ));
            }
        }
        Ok(())
    }
}
