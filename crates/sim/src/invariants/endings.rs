//! Endings: a client whose peer is gone is told why, as long as that is remembered.

use throttle_core::EndCause;

use super::{Invariant, Verdict};
use crate::{
    ledger::{Exchange, Ledger},
    message::{Answer, Call},
};

/// So many endings are always remembered here.
const ENDINGS_REMEMBERED: usize = 1_000;

pub(super) struct Endings;

impl Invariant for Endings {
    fn name(&self) -> &'static str {
        "endings"
    }

    fn told(&mut self, ledger: &Ledger, exchange: &Exchange<'_>) -> Verdict {
        let Answer::Gone { peer, ending } = exchange.answer else { return Ok(()) };
        let Some(known) = ledger.peers.get(peer) else { return Ok(()) };
        let is_remembered = ledger.setup.bounds.endings > ENDINGS_REMEMBERED
            && ledger.started_at < known.confirmed_at
            && !known.may_have_come_back(exchange.request.sent_at)
            && known.instance == exchange.instance
            && !matches!(exchange.request.call, Call::Restore { .. });
        match ending {
            None if is_remembered => Err(format!("nothing is known of the end of peer {peer}")),
            Some((EndCause::Operator, reason)) if !known.reasons.contains(reason) => {
                Err(format!("peer {peer} ended because of {:?}, and {reason:?} is told", known.reasons))
            }
            Some((EndCause::Expired, _))
                if known.ended_at.is_some_and(|ended| ended + known.lease < known.guaranteed_until) =>
            {
                Err(format!("peer {peer} was ended, and is said to have expired"))
            }
            Some((EndCause::Released, _)) if known.is_certain() && known.instance == exchange.instance => {
                Err(format!("nobody released peer {peer}, and it is said that somebody did"))
            }
            _ => Ok(()),
        }
    }
}
