//! Waits: a request that is held open is answered when it is granted, when its time is over, or when the promised time
//! of its peer is: not before, and not after.

use throttle_core::EndCause;

use super::{Invariant, Verdict};
use crate::{
    ledger::{Exchange, Ledger},
    message::{Answer, Call},
};

pub(super) struct Waits;

impl Invariant for Waits {
    fn name(&self) -> &'static str {
        "waits"
    }

    fn told(&mut self, ledger: &Ledger, exchange: &Exchange<'_>) -> Verdict {
        let Exchange { request, answer, at, has_waited, .. } = exchange;
        if !has_waited || ledger.stopped_at >= request.sent_at {
            return Ok(());
        }
        let (sent_at, wait) = (request.sent_at, request.call.wait());
        match answer {
            Answer::Peer(seen)
                if !seen.pending.is_empty() && *at + ledger.tolerance(wait) < sent_at + wait =>
            {
                // The answer itself tells that the lease goes on.
                if !ledger.clock_was_set && seen.expires_at > *at + ledger.tolerance(wait) {
                    return Err(format!("it waits no longer, though its time is not over: {request:?}"));
                }
                Ok(())
            }
            // A peer whose wait ended in time asks again within the margin.
            Answer::Gone { peer, ending: Some((EndCause::Expired, _)) }
                if ledger.setup.settings.margin_max.as_millis() > 0
                    && ledger.stood_still == 0
                    && matches!(request.call, Call::Acquire { .. } | Call::KeepOrRestore { .. }) =>
            {
                Err(format!("the peer {peer} of a waiting request expired before the wait was over"))
            }
            _ => Ok(()),
        }
    }
}
