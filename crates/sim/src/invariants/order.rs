//! The order of grants: a request whose client knows that it waits is granted before one that asks for no less and is
//! behind it by the times of both and their priorities. Tokens tell the order.

use std::{collections::BTreeMap, sync::Arc};

use super::{Invariant, Shown, Verdict};
use crate::{
    ledger::{Asking, Exchange, Ledger, Note},
    message::Answer,
    time::Moment,
};

/// For each peer that waits and semaphore: the least token that somebody got who came later.
#[derive(Default)]
pub(super) struct Order {
    overtaken_by: BTreeMap<(u64, Arc<str>), (Moment, u64)>,
    /// The queues as they were last seen: those who were known to wait, in order.
    queues: BTreeMap<Arc<str>, Vec<Waits>>,
}

/// One that waits.
#[derive(Clone, Copy, Debug)]
struct Waits {
    peer: u64,
    /// Since when it asks.
    first_sent: Moment,
    /// Until when its peer lives for sure. It may be gone then, come back, and stand in line anew.
    guaranteed_until: Moment,
}

/// Whether one request stands ahead of another one for sure, and waited already while the other one did.
fn is_ahead(ledger: &Ledger, ahead: &Asking, asking: &Asking) -> bool {
    let Some(told) = ahead.told_pending_at else { return false };
    if ahead.priority == asking.priority {
        return told < asking.first_sent;
    }
    if ledger.clock_was_set || told >= asking.still_pending_at.max(asking.first_sent) {
        return false;
    }
    // Of the arrivals, in the time of leases, which does not count when the server stood still.
    let least = i128::from(asking.first_sent) - i128::from(told);
    let least = if least < 0 { least } else { (least - i128::from(ledger.stood_still)).max(0) };
    // By a clock that may be too slow.
    let least = if ledger.clocks_drift() { least - least.abs() / 20 } else { least };
    let step = i128::try_from(ledger.setup.settings.ageing_step.as_micros()).unwrap_or(i128::MAX);
    least > i128::from(asking.priority - ahead.priority) * step
}

impl Invariant for Order {
    fn name(&self) -> &'static str {
        "order"
    }

    fn told(&mut self, ledger: &Ledger, exchange: &Exchange<'_>) -> Verdict {
        let Answer::Peer(seen) = exchange.answer else { return Ok(()) };
        let Some(known) = ledger.peers.get(&seen.id) else { return Ok(()) };
        let Some(asking) = known.asking.as_ref().filter(|_| seen.pending.is_empty()) else { return Ok(()) };
        let Some((name, count)) = asking.single() else { return Ok(()) };
        if known.guaranteed_until <= exchange.at {
            // In the dialect v0.1 it may have been gone, and stand in line anew.
            return Ok(());
        }
        if ledger.removed.contains_key(name) {
            // Whoever waited for it waits for it no more.
            return Ok(());
        }
        let granted = seen.locks.iter().find(|lock| lock.semaphore == *name).and_then(|lock| lock.token);
        let Some(token) = granted else { return Ok(()) };
        let overtaken = self.overtaken_by.remove(&(seen.id, name.clone()));
        if let Some((_, other)) = overtaken.filter(|(first_sent, _)| *first_sent == asking.first_sent)
            && other < token
            && asking.is_steady
            && known.is_certain()
        {
            return Err(format!(
                "peer {} waited for {name} before the one that got token {other}, and got {token}",
                seen.id
            ));
        }
        if !known.is_certain() {
            return Ok(());
        }
        // Who waits in vain so far, though it was known to wait when this one came?
        for (peer, other) in &ledger.peers {
            let Some(ahead) = other.asking.as_ref().filter(|ahead| ahead.is_steady) else { continue };
            let asks_no_more = ahead.single().is_some_and(|(of, least)| of == name && least <= count);
            if *peer != seen.id && asks_no_more && other.is_certain() && is_ahead(ledger, ahead, asking) {
                let entry =
                    self.overtaken_by.entry((*peer, name.clone())).or_insert((ahead.first_sent, token));
                if entry.0 != ahead.first_sent {
                    *entry = (ahead.first_sent, token);
                }
                entry.1 = entry.1.min(token);
            }
        }
        Ok(())
    }

    fn shown(&mut self, ledger: &Ledger, shown: &Shown<'_>) -> Verdict {
        for semaphore in &shown.seen.semaphores {
            let known = |peer: &u64| {
                let known = ledger.peers.get(peer).filter(|known| known.is_certain())?;
                let asking = known.asking.as_ref().filter(|asking| asking.told_pending_at.is_some())?;
                let (first_sent, guaranteed_until) = (asking.first_sent, known.guaranteed_until);
                (guaranteed_until > shown.at).then_some(Waits { peer: *peer, first_sent, guaranteed_until })
            };
            let queue: Vec<_> = semaphore.queue.iter().filter_map(|(peer, _)| known(peer)).collect();
            let mut before = self.queues.insert(semaphore.name.clone(), queue.clone()).unwrap_or_default();
            before.retain(|one| one.guaranteed_until > shown.at);
            let same = |one: &Waits| (one.peer, one.first_sent);
            let is_in = |all: &[Waits], one: &Waits| all.iter().any(|other| same(other) == same(one));
            let stayed = before.iter().filter(|one| is_in(&queue, one)).map(same);
            let stay = queue.iter().filter(|one| is_in(&before, one)).map(same);
            if !ledger.removed.contains_key(&semaphore.name) && stayed.ne(stay) {
                return Err(format!("these waited: {before:?}, and now in another order: {semaphore:?}"));
            }
        }
        Ok(())
    }

    fn noted(&mut self, ledger: &Ledger, _: Moment, note: &Note) {
        // A server that forgot the queue begins a new one.
        if matches!(note, Note::Started { .. }) && ledger.has_forgotten {
            self.overtaken_by.clear();
            self.queues.clear();
        }
    }
}
