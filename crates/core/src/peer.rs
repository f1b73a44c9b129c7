//! One peer: its lease, what it holds, what it waits for.

use std::time::Duration;

use crate::{
    names::{Labels, PeerId, Token},
    owner::Owner,
    presence::Presence,
    queue::Rank,
    slot::SemaphoreSlot,
    time::Time,
};

pub(crate) struct Peer {
    pub(crate) id: PeerId,
    pub(crate) created_at: Time,
    /// What the client asked for last; a grant after a wait renews the lease by it.
    pub(crate) expires_in: Duration,
    /// What the client is promised.
    pub(crate) expires_at: Time,
    /// When the peer ends: the promise and its margin.
    pub(crate) ends_at: Time,
    /// Where the index of leases has the peer. A renewal leaves it there; it moves on when it comes up.
    pub(crate) indexed_at: Time,
    /// In the order of their serials, so that it is the same whichever way the state came about.
    pub(crate) locks: Vec<Held>,
    pub(crate) pending: Option<Box<Request>>,
    pub(crate) labels: Option<Labels>,
    pub(crate) owner: Owner,
}

/// An acquired lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) semaphore: SemaphoreSlot,
    pub(crate) count: i64,
    /// Identifies the lock among the holders of its semaphore: the number of its token, or one drawn from
    /// the same counter for a restored lock that has none.
    pub(crate) serial: u64,
    pub(crate) token: Option<Token>,
    pub(crate) since: Time,
}

/// What a peer waits for: all of it, or nothing.
pub(crate) struct Request {
    pub(crate) rank: Rank,
    pub(crate) priority: i32,
    pub(crate) since: Time,
    /// When it was found last that it does not wait for ever, in the order of `next_sequence`.
    pub(crate) examined_at: u64,
    /// Whether its client is there to take a grant.
    pub(crate) presence: Presence,
    pub(crate) parts: Vec<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) semaphore: SemaphoreSlot,
    pub(crate) count: i64,
}

impl Peer {
    pub(crate) fn held(&self, semaphore: SemaphoreSlot) -> Option<&Held> {
        self.locks.iter().find(|held| held.semaphore == semaphore)
    }

    pub(crate) fn asked(&self, semaphore: SemaphoreSlot) -> Option<&Part> {
        self.pending.as_ref()?.parts.iter().find(|part| part.semaphore == semaphore)
    }
}

/// What becomes of a count on a semaphore that a request names: a smaller one shrinks it.
pub(crate) fn count_named(named: &[Part], semaphore: SemaphoreSlot, count: i64) -> i64 {
    let named = named.iter().find(|part| part.semaphore == semaphore);
    named.map_or(count, |part| part.count.min(count))
}
