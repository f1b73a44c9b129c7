//! The requests that wait for a grant while their connection is open.

use std::{collections::HashMap, error::Error, fmt};

use throttle_core::PeerId;
use tokio::sync::oneshot;

/// As many requests wait as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyBlocked {
    /// How many may wait.
    pub limit: usize,
}

impl fmt::Display for TooManyBlocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the limit of {} requests that wait at the same time is reached", self.limit)
    }
}

impl Error for TooManyBlocked {}

/// Who is to be woken when something happens to a peer. A client that lost its connection may ask again
/// while its old request is not yet gone, so there may be several for one peer.
pub(super) struct Blocked {
    limit: usize,
    count: usize,
    next_ticket: u64,
    by_peer: HashMap<PeerId, Vec<(u64, oneshot::Sender<()>)>, foldhash::fast::RandomState>,
}

impl Blocked {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, count: 0, next_ticket: 0, by_peer: HashMap::default() }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Registers a request. The receiver completes when something happened to the request of the peer.
    pub(super) fn enter(&mut self, peer: PeerId) -> Result<(u64, oneshot::Receiver<()>), TooManyBlocked> {
        if self.count >= self.limit {
            return Err(TooManyBlocked { limit: self.limit });
        }
        let (sender, receiver) = oneshot::channel();
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.count += 1;
        self.by_peer.entry(peer).or_default().push((ticket, sender));
        Ok((ticket, receiver))
    }

    /// Forgets a request that stopped waiting, if it was not woken already.
    pub(super) fn leave(&mut self, peer: PeerId, ticket: u64) {
        let Some(requests) = self.by_peer.get_mut(&peer) else { return };
        let before = requests.len();
        requests.retain(|(other, _)| *other != ticket);
        self.count -= before - requests.len();
        if requests.is_empty() {
            self.by_peer.remove(&peer);
        }
    }

    /// Whether a request of this peer waits.
    pub(super) fn has(&self, peer: PeerId) -> bool {
        self.by_peer.contains_key(&peer)
    }

    pub(super) fn wake(&mut self, peer: PeerId) {
        if self.count == 0 {
            return;
        }
        for (_, sender) in self.by_peer.remove(&peer).unwrap_or_default() {
            self.count -= 1;
            // A request that is gone needs no word; its grant stays with the peer.
            let _ = sender.send(());
        }
    }

    pub(super) fn wake_all(&mut self) {
        self.count = 0;
        for (_, sender) in self.by_peer.drain().flat_map(|(_, requests)| requests) {
            let _ = sender.send(());
        }
    }
}
