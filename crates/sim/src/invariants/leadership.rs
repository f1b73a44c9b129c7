//! Leadership: once a client was told something by a later leader, no request that is sent from then on is answered by
//! an earlier one, who may not know that it was deposed.

use std::collections::BTreeMap;

use super::{Invariant, Verdict};
use crate::{
    ledger::{Exchange, Ledger},
    message::Answer,
    time::Moment,
};

#[derive(Default)]
pub(super) struct Leadership {
    /// When the first answer of each epoch came.
    first: BTreeMap<u64, Moment>,
}

impl Invariant for Leadership {
    fn name(&self) -> &'static str {
        "leadership"
    }

    fn told(&mut self, _: &Ledger, exchange: &Exchange<'_>) -> Verdict {
        let Exchange { request, answer, epoch, at, .. } = *exchange;
        // Whoever says that it cannot answer tells nothing.
        if epoch == 0 || *answer == Answer::Unavailable {
            return Ok(());
        }
        self.first.entry(epoch).or_insert(at);
        match self.first.range(epoch + 1..).find(|(_, first)| **first < request.sent_at) {
            Some((later, first)) => Err(format!(
                "epoch {later} answered at {first}, and epoch {epoch} a request that was sent after that: {exchange:?}"
            )),
            None => Ok(()),
        }
    }

    fn echoed(&mut self, ledger: &Ledger, exchange: &Exchange<'_>) -> Verdict {
        self.told(ledger, exchange)
    }
}
