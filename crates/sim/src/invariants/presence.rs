//! Presence: a client that waited with a connection, and whose connection is gone, is granted nothing until it asks
//! again; and once it is gone for too long, it is passed over.

use std::collections::BTreeMap;

use throttle_core::Event;

use super::{Invariant, Shown, Verdict};
use crate::{
    ledger::{Exchange, Ledger, Note},
    message::{Answer, Call, Request},
    time::{MS, Micros, Moment},
};

/// How long it may take that the server learns that a connection is gone.
const SLACK: Micros = 50 * MS;

#[derive(Default)]
pub(super) struct Presence {
    /// Peers whose only connection is gone, since when.
    gone: BTreeMap<u64, Moment>,
    /// When something was last sent by which each peer asks.
    sent: BTreeMap<u64, Moment>,
    /// Peers that were told that they wait after a wait with a connection, and when they first asked for that.
    waited: BTreeMap<u64, Moment>,
}

/// The peer that a request is a sign of life of, for those who wait.
fn asks(request: &Request) -> Option<u64> {
    request.call.peer().filter(|_| !matches!(request.call, Call::Heartbeat { .. } | Call::Look { .. }))
}

impl Presence {
    /// The connection with which a peer waited is gone, and its client has none that is under way.
    fn lost(&mut self, ledger: &Ledger, request: &Request, at: Moment) {
        let Some(peer) = asks(request).filter(|_| request.call.wait() > 0) else { return };
        let is_known = ledger.peers.get(&peer).is_some_and(|known| !known.is_muddled);
        // Its client may have sent another request that is under way.
        if is_known && self.sent.get(&peer) == Some(&request.sent_at) {
            self.gone.insert(peer, at);
        }
    }
}

impl Invariant for Presence {
    fn name(&self) -> &'static str {
        "presence"
    }

    fn sent(&mut self, _: &Ledger, request: &Request) {
        if let Some(peer) = asks(request) {
            self.gone.remove(&peer);
            self.sent.insert(peer, request.sent_at);
        }
    }

    fn learned(&mut self, ledger: &Ledger, exchange: &Exchange<'_>) -> Verdict {
        let Some(peer) = asks(exchange.request) else { return Ok(()) };
        self.gone.remove(&peer);
        let known = ledger.peers.get(&peer).filter(|known| known.is_certain());
        let asking = known.and_then(|known| known.asking.as_ref());
        if let (Answer::Peer(_), Some(asking), true) = (exchange.answer, asking, exchange.has_waited) {
            self.waited.insert(peer, asking.first_sent);
            self.lost(ledger, exchange.request, exchange.at);
        }
        Ok(())
    }

    fn noted(&mut self, ledger: &Ledger, at: Moment, note: &Note) {
        match note {
            Note::Started { .. } if ledger.has_forgotten => {
                self.gone.clear();
                self.waited.clear();
            }
            Note::Started { .. } => {
                // No connection outlives a restart.
                let (under_way, sent) = (2 * ledger.setup.faults.delay_max, &self.sent);
                let has_not_asked = |peer: &u64| sent.get(peer).is_some_and(|sent| sent + under_way < at);
                let is_same = |(peer, first_sent): &(&u64, &Moment)| {
                    let known = ledger.peers.get(peer).filter(|known| known.is_certain());
                    let asking = known.and_then(|known| known.asking.as_ref());
                    asking.is_some_and(|asking| asking.first_sent == **first_sent)
                };
                let waited = self.waited.iter().filter(is_same).map(|(peer, _)| *peer);
                self.gone = waited.filter(has_not_asked).map(|peer| (peer, at)).collect();
            }
            Note::Muddled(request) => {
                if let Some(peer) = request.call.peer() {
                    self.gone.remove(&peer);
                }
            }
            Note::Closed(request) => self.lost(ledger, request, at),
            Note::ClockSet | Note::StoodStill(_) | Note::Unconfirmed(_) | Note::Stopping | Note::Calm => {}
        }
    }

    fn shown(&mut self, ledger: &Ledger, shown: &Shown<'_>) -> Verdict {
        if ledger.clock_was_set {
            return Ok(());
        }
        for (_, logged) in shown.events {
            let Event::Granted { peer, semaphore, waited: Some(_), .. } = &logged.event else { continue };
            let gone = self.gone.get(&peer.0);
            if let Some(since) = gone.filter(|since| **since < logged.at.as_micros()) {
                return Err(format!("{semaphore} is granted to {peer} whose client is gone since {since}"));
            }
        }
        let absent_after = ledger.setup.settings.absent_after.as_micros();
        let absent_after = u64::try_from(absent_after).unwrap_or(u64::MAX) + SLACK + ledger.stood_still;
        for (peer, since) in self.gone.iter().filter(|(_, since)| **since + absent_after < shown.at) {
            let holds_up = |one: &&crate::message::Semaphore| {
                one.queue.iter().any(|(of, _)| of == peer) && !one.absent.contains(peer)
            };
            if let Some(semaphore) = shown.seen.semaphores.iter().find(holds_up) {
                return Err(format!(
                    "peer {peer} is gone since {since}, and is not passed over: {semaphore:?}"
                ));
            }
        }
        Ok(())
    }
}
