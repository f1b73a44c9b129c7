//! The requests that wait for a grant while their connection is open.

use std::{collections::HashMap, error::Error, fmt};

use throttle_core::PeerId;
use tokio::sync::oneshot;

use crate::telemetry::trace::TraceIds;

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
    by_peer: HashMap<PeerId, Vec<Request>, foldhash::fast::RandomState>,
}

struct Request {
    ticket: u64,
    /// Where it is in its trace.
    trace: Option<TraceIds>,
    /// Told when it is woken, with the place in a trace of what woke it.
    sender: oneshot::Sender<Option<TraceIds>>,
}

impl Blocked {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, count: 0, next_ticket: 0, by_peer: HashMap::default() }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Registers a request. The receiver completes when something happened to the request of the peer.
    pub(super) fn enter(
        &mut self,
        peer: PeerId,
        trace: Option<TraceIds>,
    ) -> Result<(u64, oneshot::Receiver<Option<TraceIds>>), TooManyBlocked> {
        if self.count >= self.limit {
            return Err(TooManyBlocked { limit: self.limit });
        }
        let (sender, receiver) = oneshot::channel();
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.count += 1;
        self.by_peer.entry(peer).or_default().push(Request { ticket, trace, sender });
        Ok((ticket, receiver))
    }

    /// Forgets a request that stopped waiting, if it was not woken already. Tells whether it was the peer's last.
    pub(super) fn leave(&mut self, peer: PeerId, ticket: u64) -> bool {
        let Some(requests) = self.by_peer.get_mut(&peer) else { return false };
        let before = requests.len();
        requests.retain(|request| request.ticket != ticket);
        self.count -= before - requests.len();
        let was_last = requests.is_empty();
        if was_last {
            self.by_peer.remove(&peer);
        }
        was_last
    }

    /// Whether a request of this peer waits.
    pub(super) fn has(&self, peer: PeerId) -> bool {
        self.by_peer.contains_key(&peer)
    }

    /// Wakes the requests of a peer. `cause` is where in a trace that happens which they are woken by. Tells where in
    /// its trace the first of them is.
    pub(super) fn wake(&mut self, peer: PeerId, cause: Option<TraceIds>) -> Option<TraceIds> {
        if self.count == 0 {
            return None;
        }
        let requests = self.by_peer.remove(&peer)?;
        self.count -= requests.len();
        let first = requests.first().and_then(|request| request.trace);
        for request in requests {
            // A request that is gone needs no word; its grant stays with the peer.
            let _ = request.sender.send(cause);
        }
        first
    }

    pub(super) fn wake_all(&mut self) {
        self.count = 0;
        for request in self.by_peer.drain().flat_map(|(_, requests)| requests) {
            let _ = request.sender.send(None);
        }
    }
}
