//! Why a command was refused. One narrow type an operation; a refused command changes nothing, except that
//! the lease of the peer may have moved (see [`Core::acquire`](crate::Core::acquire)).

use std::{error::Error, fmt};

use crate::{
    counted::counted,
    names::{Name, PeerId},
};

/// The peer expired, was released, or never existed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownPeer;

/// No semaphore has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownSemaphore(pub Name);

/// A table is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitReached {
    /// What there is too much of.
    pub resource: Resource,
    /// How many there may be.
    pub limit: usize,
}

/// What a [`LimitReached`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Live peers.
    Peers,
    /// Requests in the queue of one semaphore.
    Waiters,
    /// Locks of one peer, acquired and pending.
    Locks,
    /// Semaphores that one request asks for.
    Parts,
    /// What requests over several semaphores in one queue ask for, all together.
    JointParts,
    /// Semaphores, members of patterns among them.
    Semaphores,
    /// Members of one pattern.
    Members,
    /// Peers to look at before a request can be shown to close no deadlock.
    Walk,
    /// What the peers of one owner use.
    Share(Share),
}

/// What a [`Quota`](crate::Quota) is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Live peers.
    Peers,
    /// Pending requests.
    Pending,
    /// Members of patterns that came to be by his requests.
    Members,
}

/// Why a peer could not be made.
pub type NewPeerError = LimitReached;

/// Why a request for locks was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcquireError {
    /// No semaphore has this name.
    UnknownSemaphore(Name),
    /// The count is above the `max` of the semaphore, so it could never be granted.
    ExceedsMax {
        /// The semaphore.
        semaphore: Name,
        /// The count asked for.
        count: i64,
        /// The full count, at least 1.
        max: i64,
    },
    /// The peer expired, was released, or never existed.
    UnknownPeer,
    /// The count is below 1.
    CountBelowOne {
        /// The semaphore.
        semaphore: Name,
        /// The count asked for.
        count: i64,
    },
    /// The same semaphore is named twice in one request.
    NamedTwice(Name),
    /// A peer may ask only for levels below all that it holds.
    Hierarchy {
        /// The semaphore asked for.
        semaphore: Name,
        /// Its level.
        level: i32,
        /// The lowest level among the locks that the peer has.
        held: i32,
    },
    /// The peer already waits for something else.
    AlreadyPending,
    /// The request could not be granted even if every peer that waits for nothing released all it holds.
    Deadlock {
        /// The cycle of waiting peers: the first is the peer that asked, the last waits for one that is named before.
        chain: Vec<Link>,
    },
    /// A table is full.
    Limit(LimitReached),
}

/// One step of a deadlock: `peer` waits for `semaphore`, where `blocker` is in its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The peer that waits.
    pub peer: PeerId,
    /// For what.
    pub semaphore: Name,
    /// The peer in its way.
    pub blocker: PeerId,
    /// Whether the one in the way holds the semaphore, or waits for it further ahead.
    pub is_holder: bool,
}

/// Why a lock could not be released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReleaseError {
    /// The peer expired, was released, or never existed.
    UnknownPeer,
    /// No semaphore has this name.
    UnknownSemaphore(Name),
}

/// Why a peer could not be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// No semaphore has this name.
    UnknownSemaphore(Name),
    /// The count is below 1.
    CountBelowOne {
        /// The semaphore.
        semaphore: Name,
        /// The count to restore.
        count: i64,
    },
    /// The same semaphore is named twice in one request.
    NamedTwice(Name),
    /// The peer is unknown, and the count is above the full count, so nobody can have been granted it.
    ExceedsMax {
        /// The semaphore.
        semaphore: Name,
        /// The count to restore.
        count: i64,
        /// The full count.
        max: i64,
    },
    /// The peer is known, and holds other locks than these.
    Conflict,
    /// The peer is unknown, and locks of such a peer are never taken back here.
    Denied,
    /// The peer is unknown, and its lock does not fit beside what is acquired.
    DoesNotFit {
        /// The semaphore.
        semaphore: Name,
        /// The count to restore.
        count: i64,
        /// The count acquired by others.
        acquired: i64,
        /// The full count.
        max: i64,
    },
    /// A table is full.
    Limit(LimitReached),
}

/// Why a semaphore could not be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoveError {
    /// No semaphore has this name.
    UnknownSemaphore(Name),
    /// It is in use, and force was not asked for.
    InUse(InUse),
}

/// The semaphore has holders or waiters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InUse {
    /// How many locks are acquired on it.
    pub holders: usize,
    /// How many requests wait for it.
    pub waiters: usize,
}

impl fmt::Display for UnknownPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown peer")
    }
}

impl fmt::Display for UnknownSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no semaphore is called {:?}", self.0)
    }
}

impl fmt::Display for LimitReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.resource {
            Resource::Peers => "live peers",
            Resource::Waiters => "requests that wait for one semaphore",
            Resource::Locks => "locks of one peer",
            Resource::Parts => "semaphores in one request",
            Resource::JointParts => "locks that requests over several semaphores in one queue ask for",
            Resource::Semaphores => "semaphores",
            Resource::Members => "members of one pattern",
            Resource::Walk => "peers to look at for a deadlock",
            Resource::Share(Share::Peers) => "live peers of one identity",
            Resource::Share(Share::Pending) => "waiting requests of one identity",
            Resource::Share(Share::Members) => "semaphores that one identity has made by patterns",
        };
        write!(f, "the limit of {} {what} is reached", self.limit)
    }
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSemaphore(name) => UnknownSemaphore(name.clone()).fmt(f),
            Self::ExceedsMax { semaphore, count, max } => {
                write!(f, "a count of {count} is above the full count {max} of {semaphore:?}")
            }
            Self::UnknownPeer => UnknownPeer.fmt(f),
            Self::CountBelowOne { semaphore, count } => below_one(f, semaphore, *count),
            Self::NamedTwice(name) => named_twice(f, name),
            Self::Hierarchy { semaphore, level, held } => {
                write!(f, "{semaphore:?} has level {level}, which is not below the held level {held}")
            }
            Self::AlreadyPending => f.write_str("the peer already waits for another request"),
            Self::Deadlock { chain } => {
                f.write_str("it would wait for ever")?;
                for (at, link) in chain.iter().enumerate() {
                    let Link { peer, semaphore, blocker, is_holder } = link;
                    let (start, does) =
                        (if at == 0 { ": " } else { ", " }, if *is_holder { "held by" } else { "behind" });
                    write!(f, "{start}{peer:?} for {semaphore:?}, {does} {blocker:?}")?;
                }
                Ok(())
            }
            Self::Limit(limit) => limit.fmt(f),
        }
    }
}

impl fmt::Display for ReleaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPeer => UnknownPeer.fmt(f),
            Self::UnknownSemaphore(name) => UnknownSemaphore(name.clone()).fmt(f),
        }
    }
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSemaphore(name) => UnknownSemaphore(name.clone()).fmt(f),
            Self::CountBelowOne { semaphore, count } => below_one(f, semaphore, *count),
            Self::NamedTwice(name) => named_twice(f, name),
            Self::ExceedsMax { semaphore, count, max } => {
                write!(f, "{count} of {semaphore:?} is more than its max of {max}")
            }
            Self::Conflict => f.write_str("the peer is known and holds other locks"),
            Self::Denied => f.write_str("the peer is unknown, and lost locks are not taken back"),
            Self::DoesNotFit { semaphore, count, acquired, max } => {
                write!(f, "{count} of {semaphore:?} does not fit beside {acquired} acquired of {max}")
            }
            Self::Limit(limit) => limit.fmt(f),
        }
    }
}

impl fmt::Display for RemoveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSemaphore(name) => UnknownSemaphore(name.clone()).fmt(f),
            Self::InUse(in_use) => in_use.fmt(f),
        }
    }
}

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { holders, waiters } = *self;
        write!(f, "in use by {} and {}", counted(holders, "lock"), counted(waiters, "waiting request"))
    }
}

fn below_one(f: &mut fmt::Formatter<'_>, semaphore: &str, count: i64) -> fmt::Result {
    write!(f, "the count on {semaphore:?} must be at least 1, not {count}")
}

fn named_twice(f: &mut fmt::Formatter<'_>, semaphore: &str) -> fmt::Result {
    write!(f, "{semaphore:?} is named twice in one request")
}

impl Error for UnknownPeer {}
impl Error for UnknownSemaphore {}
impl Error for LimitReached {}
impl Error for AcquireError {}
impl Error for ReleaseError {}
impl Error for RestoreError {}
impl Error for RemoveError {}
impl Error for InUse {}
