//! Liveness: once faults have ceased, every request is answered in its time, nobody waits for what is free, and a grant
//! is told at once.

use std::collections::BTreeMap;

use super::{Invariant, Shown, Verdict};
use crate::{
    ledger::{Exchange, Ledger, Note},
    message::{Answer, Call, Request, RequestId},
    time::{MS, Micros, Moment, SECOND},
};

/// How long an answer may take that has nothing to wait for: the way there and back, and a write.
const SLACK: Micros = 200 * MS;

/// About as many bytes as a piece of a snapshot has here at most.
const PIECE: u64 = 20_000;

/// The same where an answer may have to wait for a piece of a snapshot, which some clusters cut into very many parts.
fn slack(ledger: &Ledger) -> Micros {
    let part = ledger.setup.cluster.as_ref().map_or(usize::MAX, |cluster| cluster.part_bytes.max(1));
    SLACK + PIECE / u64::try_from(part).unwrap_or(u64::MAX) * MS
}

#[derive(Default)]
pub(super) struct Liveness {
    calm_since: Option<Moment>,
    waiting: BTreeMap<RequestId, (Moment, Request)>,
}

impl Invariant for Liveness {
    fn name(&self) -> &'static str {
        "liveness"
    }

    fn sent(&mut self, ledger: &Ledger, request: &Request) {
        if self.calm_since.is_some() {
            let by = request.sent_at + request.call.wait() + slack(ledger);
            self.waiting.insert(request.id, (by, request.clone()));
        }
    }

    fn noted(&mut self, _: &Ledger, at: Moment, note: &Note) {
        match note {
            Note::Calm => self.calm_since = Some(at),
            Note::Muddled(request) | Note::Closed(request) => drop(self.waiting.remove(&request.id)),
            Note::Started { .. }
            | Note::StoodStill(_)
            | Note::Unconfirmed(_)
            | Note::Stopping
            | Note::ClockSet => {}
        }
    }

    fn told(&mut self, ledger: &Ledger, exchange: &Exchange<'_>) -> Verdict {
        self.waiting.remove(&exchange.request.id);
        // A request that waited is answered as soon as it is granted.
        let (Answer::Peer(seen), Some(calm)) = (exchange.answer, self.calm_since) else { return Ok(()) };
        let Call::Acquire { locks, .. } = &exchange.request.call else { return Ok(()) };
        let sent_at = exchange.request.sent_at;
        let of = seen.locks.iter().filter(|lock| locks.iter().any(|(name, _)| *name == lock.semaphore));
        let Some(granted) = of.map(|lock| lock.since).max().filter(|_| !ledger.clock_was_set) else {
            return Ok(());
        };
        let stood_still = ledger.stood_still > 0;
        if seen.pending.is_empty()
            && granted > sent_at.max(calm)
            && exchange.at > granted + slack(ledger)
            && !stood_still
        {
            return Err(format!("a grant of {granted} is told at {}: {:?}", exchange.at, exchange.request));
        }
        Ok(())
    }

    fn shown(&mut self, _: &Ledger, shown: &Shown<'_>) -> Verdict {
        let Some(calm) = self.calm_since.filter(|calm| shown.at > calm + SECOND) else { return Ok(()) };
        let late = self.waiting.values().find(|(by, request)| *by < shown.at && request.sent_at > calm);
        if let Some((_, request)) = late {
            return Err(format!("no answer comes to {request:?}"));
        }
        Ok(())
    }
}
