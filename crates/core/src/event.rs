//! What happened: the output worth journaling, counting and showing.

use std::time::Duration;

use crate::{
    names::{Labels, Name, PeerId, Token},
    owner::Owner,
    queue::Rank,
    semaphore::Spec,
    time::Time,
};

/// One change of state. Heartbeats that only move an expiry are none.
///
/// Everything that happens to several locks at once (a grant over several semaphores, the end of a peer)
/// is one event a lock, all in the output of the same command.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A semaphore was created, replaced or resized.
    SemaphoreSet {
        /// Its name.
        semaphore: Name,
        /// What it is from now on.
        spec: Spec,
        /// The pattern that it was made from, if it was.
        pattern: Option<Name>,
        /// When.
        at: Time,
    },
    /// The member of a pattern that was just made counts for somebody.
    SemaphoreOwned {
        /// Its name.
        semaphore: Name,
        /// By whose request it came to be.
        owner: Owner,
    },
    /// A semaphore was removed; no lock on it is left.
    SemaphoreRemoved {
        /// Its name.
        semaphore: Name,
    },
    /// A semaphore takes no new requests, and goes once it is idle.
    SemaphoreRetired {
        /// Its name.
        semaphore: Name,
    },
    /// A peer was made.
    PeerCreated {
        /// The peer.
        peer: PeerId,
        /// When.
        at: Time,
        /// The length of its lease.
        expires_in: Duration,
        /// What its client tells of it.
        labels: Option<Labels>,
    },
    /// The peer that was just made belongs to somebody.
    PeerOwned {
        /// The peer.
        peer: PeerId,
        /// Whose it is.
        owner: Owner,
    },
    /// The length of a peer's lease changed.
    LeaseChanged {
        /// The peer.
        peer: PeerId,
        /// The new length.
        expires_in: Duration,
    },
    /// A request entered the queue of a semaphore.
    Queued {
        /// The peer that waits.
        peer: PeerId,
        /// The semaphore.
        semaphore: Name,
        /// The count asked for.
        count: i64,
        /// The priority asked for.
        priority: i32,
        /// When it began to wait.
        since: Time,
        /// Its place in every queue in which it stands.
        rank: Rank,
    },
    /// The client of a pending request waits with an open connection, for the first time.
    Connected {
        /// The peer that waits.
        peer: PeerId,
    },
    /// A lock was acquired.
    Granted {
        /// The peer that holds it.
        peer: PeerId,
        /// The semaphore.
        semaphore: Name,
        /// The count held.
        count: i64,
        /// The fencing token of this grant.
        token: Token,
        /// When.
        at: Time,
        /// How long the request waited, if it had to.
        waited: Option<Duration>,
    },
    /// A peer gave back a part of what it holds or asks for.
    Shrunk {
        /// The peer.
        peer: PeerId,
        /// The semaphore.
        semaphore: Name,
        /// What is left.
        count: i64,
        /// When.
        at: Time,
    },
    /// An acquired lock ended.
    Released {
        /// The peer that held it.
        peer: PeerId,
        /// The semaphore.
        semaphore: Name,
        /// The count given back.
        count: i64,
        /// The fencing token of the grant, null for a restored lock without one.
        token: Option<Token>,
        /// When.
        at: Time,
        /// How long it was held.
        held: Duration,
        /// Why.
        cause: EndCause,
    },
    /// A pending request left the queue of a semaphore without a grant.
    Withdrawn {
        /// The peer that waited.
        peer: PeerId,
        /// The semaphore.
        semaphore: Name,
        /// The count it had asked for.
        count: i64,
        /// Why.
        cause: EndCause,
    },
    /// A peer ended; its locks and its request ended in the events before this one.
    PeerEnded {
        /// The peer.
        peer: PeerId,
        /// Whose it was.
        owner: Owner,
        /// What its client told of it. Not known of an end that is read from a log.
        labels: Option<Labels>,
        /// Why.
        cause: EndCause,
    },
    /// A peer that the server did not know brought a lock back.
    Restored {
        /// The peer.
        peer: PeerId,
        /// The semaphore.
        semaphore: Name,
        /// The count held.
        count: i64,
        /// The token it kept, if it named one that could be kept.
        token: Option<Token>,
        /// Identifies the lock among those of the semaphore.
        serial: u64,
        /// When.
        at: Time,
    },
    /// A restore or a resize left more acquired than `max`.
    Overcommitted {
        /// The semaphore.
        semaphore: Name,
        /// The count acquired.
        acquired: i64,
        /// The full count.
        max: i64,
    },
    /// The counters went on to these values. Only part of a snapshot.
    Counters {
        /// The next fencing token.
        token: u64,
        /// The next number of a request.
        sequence: u64,
    },
    /// Count that is not due back yet by the rate of its semaphore. Only part of a snapshot.
    Cooling {
        /// The semaphore.
        semaphore: Name,
        /// The count.
        count: i64,
        /// When it is due back.
        until: Time,
    },
    /// The full count of a paused semaphore before the pause. Only part of a snapshot.
    Paused {
        /// The semaphore.
        semaphore: Name,
        /// The full count that it had.
        max_before: i64,
    },
}

/// Why a lock, a request or a peer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndCause {
    /// The client released it.
    Released,
    /// The lease ended.
    Expired,
    /// An operator released it.
    Operator,
    /// Its semaphore was removed.
    Removed,
    /// Its count is above the full count, so it could never be granted.
    ExceedsMax,
}
