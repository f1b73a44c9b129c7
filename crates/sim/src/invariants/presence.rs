//! Presence: a client that waited with a connection, and whose connection is gone, is granted nothing until it asks
//! again.

use std::collections::BTreeMap;

use throttle_core::Event;

use super::{Invariant, Shown, Verdict};
use crate::{
    ledger::{Exchange, Ledger, Note},
    message::Request,
    time::Moment,
};

#[derive(Default)]
pub(super) struct Presence {
    /// Peers whose only connection is gone, since when.
    gone: BTreeMap<u64, Moment>,
    /// When something was last sent for each peer.
    sent: BTreeMap<u64, Moment>,
    is_broken: bool,
}

impl Invariant for Presence {
    fn name(&self) -> &'static str {
        "presence"
    }

    fn sent(&mut self, _: &Ledger, request: &Request) {
        if let Some(peer) = request.call.peer() {
            self.gone.remove(&peer);
            self.sent.insert(peer, request.sent_at);
        }
    }

    fn told(&mut self, _: &Ledger, exchange: &Exchange<'_>) -> Verdict {
        if let Some(peer) = exchange.request.call.peer() {
            self.gone.remove(&peer);
        }
        Ok(())
    }

    fn noted(&mut self, ledger: &Ledger, at: Moment, note: &Note) {
        match note {
            Note::Started { .. } => self.gone.clear(),
            Note::ClockSet => self.is_broken = true,
            Note::Muddled(request) => {
                if let Some(peer) = request.call.peer() {
                    self.gone.remove(&peer);
                }
            }
            Note::Closed(request) => {
                // Its client may have sent another request that is under way.
                let peer = request.call.peer().filter(|_| request.call.wait() > 0);
                let known = peer.and_then(|peer| Some((peer, ledger.peers.get(&peer)?)));
                let is_last = |peer| self.sent.get(&peer) == Some(&request.sent_at);
                if let Some((peer, _)) = known.filter(|(peer, known)| !known.is_muddled && is_last(*peer)) {
                    self.gone.insert(peer, at);
                }
            }
            Note::StoodStill(_) | Note::Stopping | Note::Calm => {}
        }
    }

    fn shown(&mut self, ledger: &Ledger, shown: &Shown<'_>) -> Verdict {
        if self.is_broken || ledger.clock_was_set {
            return Ok(());
        }
        for (_, logged) in shown.events {
            let Event::Granted { peer, semaphore, waited: Some(_), .. } = &logged.event else { continue };
            let gone = self.gone.get(&peer.0);
            if let Some(since) = gone.filter(|since| **since < logged.at.as_micros()) {
                return Err(format!("{semaphore} is granted to {peer} whose client is gone since {since}"));
            }
        }
        Ok(())
    }
}
