//! Idempotency: the repeat of a request under its key finds the peer that the first one made.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use throttle_core::EndCause;

use super::{Invariant, Verdict};
use crate::{
    ledger::{Exchange, Ledger},
    message::{Answer, Call, Refused},
};

/// So many keys are always remembered here.
const KEYS_REMEMBERED: usize = 10_000;
/// So many endings are always remembered here.
const ENDINGS_REMEMBERED: usize = 1_000;

/// How a peer ended, as it is told.
type Ending = Option<(EndCause, Option<Arc<str>>)>;

#[derive(Default)]
pub(super) struct Idempotency {
    /// The peer that each key made, the state of the server, and who led when that was told.
    peers: BTreeMap<String, (u64, u64, u64)>,
    /// The keys of requests that would have waited for ever, so that their peers ended.
    refused: BTreeSet<String>,
    /// What was told of the peer of each key that is gone, and the state of the server. Nothing brings such a peer
    /// back.
    gone: BTreeMap<String, (u64, Ending, u64)>,
}

impl Invariant for Idempotency {
    fn name(&self) -> &'static str {
        "idempotency"
    }

    fn told(&mut self, ledger: &Ledger, exchange: &Exchange<'_>) -> Verdict {
        let call = &exchange.request.call;
        let Some(key) = call.key().filter(|_| ledger.setup.bounds.idempotency_keys > KEYS_REMEMBERED) else {
            return Ok(());
        };
        let length = call.lease().unwrap_or_default();
        let (first_sent, first_length) = ledger.keys.get(key).copied().unwrap_or((exchange.at, length));
        match exchange.answer {
            Answer::Refused(Refused::Deadlock) => {
                self.refused.insert(key.to_owned());
                Ok(())
            }
            Answer::Peer(_) if self.refused.contains(key) => Ok(()),
            Answer::Peer(seen) if length != first_length => {
                let made = self.peers.get(key).filter(|(_, instance, ..)| *instance == exchange.instance);
                let leaves = matches!(call, Call::Session { leaves: true, .. });
                if let Some((before, ..)) = made.filter(|_| !leaves) {
                    return Err(format!(
                        "key {key} made peer {before}, and serves another request: {seen:?}"
                    ));
                }
                Ok(())
            }
            Answer::Peer(seen) => {
                let told = (seen.id, exchange.instance, exchange.epoch);
                let (before, instance, epoch) = *self.peers.entry(key.to_owned()).or_insert(told);
                // A leader that stood still tells now what it did before its successor led; that peer may have ended.
                if exchange.epoch < epoch {
                    return Ok(());
                }
                // A request that leaves is a new one once it has left.
                let leaves = matches!(call, Call::Session { leaves: true, .. });
                if before != seen.id && instance == exchange.instance && !leaves {
                    return Err(format!("key {key} made peer {before} and then {}", seen.id));
                }
                self.peers.insert(key.to_owned(), told);
                Ok(())
            }
            Answer::Refused(Refused::KeyReused) if length == first_length => {
                Err(format!("key {key} was used for nothing else"))
            }
            // The peer of a request whose answer was lost lives as long as any other.
            Answer::Gone { .. }
                if !self.peers.contains_key(key)
                    && exchange.at < first_sent + first_length
                    && !matches!(call, Call::Session { leaves: true, .. }) =>
            {
                Err(format!("key {key} made no peer that could be gone by now"))
            }
            // A restart changes nothing of that. A request that left made another peer when it was repeated.
            Answer::Gone { peer, ending } if ledger.setup.bounds.endings > ENDINGS_REMEMBERED => {
                let told = (*peer, ending.clone(), exchange.instance);
                let before = self.gone.insert(key.to_owned(), told);
                match before.filter(|(.., instance)| *instance == exchange.instance) {
                    Some((same, before, _)) if same == *peer && before != *ending => {
                        Err(format!("the peer of key {key} ended with {before:?}, and then with {ending:?}"))
                    }
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn echoed(&mut self, ledger: &Ledger, exchange: &Exchange<'_>) -> Verdict {
        self.told(ledger, exchange)
    }
}
