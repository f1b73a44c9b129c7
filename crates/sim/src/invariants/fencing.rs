//! Fencing: a resource that refuses every token below the largest it has seen never refuses the holder, whatever
//! zombies write.

use std::{collections::BTreeMap, sync::Arc};

use super::{Invariant, Verdict};
use crate::{ledger::Ledger, message::Write, time::Moment};

/// The resource that each semaphore protects.
#[derive(Default)]
pub(super) struct Fencing {
    /// The largest token seen, and the peer that wrote with it.
    largest: BTreeMap<Arc<str>, (u64, u64)>,
}

impl Invariant for Fencing {
    fn name(&self) -> &'static str {
        "fencing"
    }

    fn written(&mut self, ledger: &Ledger, at: Moment, write: &Write) -> Verdict {
        let Write { peer, semaphore, token } = write;
        let (largest, writer) = *self.largest.entry(semaphore.clone()).or_insert((*token, *peer));
        if largest == *token && writer != *peer {
            return Err(format!(
                "peers {writer} and {peer} write with the same token {token} of {semaphore}"
            ));
        }
        if largest <= *token {
            self.largest.insert(semaphore.clone(), (*token, *peer));
            return Ok(());
        }
        // Where several hold at the same time, the resource has to ask the server about a token.
        let is_mutex =
            ledger.largest_max.get(semaphore) == Some(&1) && !ledger.removed.contains_key(semaphore);
        let known = ledger.peers.get(peer).filter(|known| known.guaranteed_until > at && is_mutex);
        let hold = known.and_then(|known| known.held.get(semaphore));
        if hold.is_some_and(|hold| hold.token == Some(*token) && !hold.is_restored) {
            return Err(format!(
                "the holder {peer} of {semaphore} is refused with token {token}, after {largest}"
            ));
        }
        Ok(())
    }
}
