//! Idempotency: the repeat of a request under its key finds the peer that the first one made.

use std::collections::BTreeMap;

use super::{Invariant, Verdict};
use crate::{
    ledger::{Exchange, Ledger},
    message::{Answer, Call, Refused},
    time::Moment,
};

/// So many keys are always remembered here.
const KEYS_REMEMBERED: usize = 10_000;

#[derive(Default)]
pub(super) struct Idempotency {
    peers: BTreeMap<String, (u64, u64)>,
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
        match exchange.answer {
            Answer::Peer(seen) => {
                let made = self.peers.entry(key.to_owned()).or_insert((seen.id, exchange.instance));
                let is_same_state = made.1 == exchange.instance;
                // A request that leaves is a new one once it has left.
                let leaves = matches!(call, Call::Session { leaves: true, .. });
                if made.0 != seen.id && is_same_state && !leaves {
                    return Err(format!("key {key} made peer {} and then {}", made.0, seen.id));
                }
                *made = (seen.id, exchange.instance);
                Ok(())
            }
            Answer::Refused(Refused::KeyReused) => Err(format!("key {key} was used for nothing else")),
            _ => Ok(()),
        }
    }

    fn noted(&mut self, _: &Ledger, _: Moment, _: &crate::ledger::Note) {}
}
