//! Why a node refuses what it is asked for, in values: a dialect has the words.

use std::{error::Error, fmt};

use throttle_core::{AcquireError, LimitReached, PeerId, RestoreError, UnknownPeer, UnknownSemaphore};

use crate::waits::TooManyWaits;

/// Why a request for a peer or for locks is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The rules of locks are against it.
    Acquire(AcquireError),
    /// The peer could not be made.
    Limit(LimitReached),
    /// The peer could not be restored.
    Restore(RestoreError),
    /// The request stands in the queue, but cannot wait there with its connection open: this many do already.
    TooManyWaits(TooManyWaits),
    /// Its idempotency key belongs to another request.
    KeyReused,
    /// The peer that the same request made earlier is gone.
    Gone(PeerId),
    /// So much waits for the log that nothing may be added to it.
    Behind {
        /// Whether the lease began anew, with the length that it had.
        is_kept: bool,
    },
}

/// Why a semaphore could not be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetRefusal {
    /// There are as many as there may be.
    Limit(LimitReached),
    /// There is none of that name.
    Unknown(UnknownSemaphore),
}

impl Refusal {
    /// Whether the peer is not known.
    pub fn is_unknown_peer(&self) -> bool {
        matches!(self, Self::Acquire(AcquireError::UnknownPeer))
    }
}

impl From<AcquireError> for Refusal {
    fn from(error: AcquireError) -> Self {
        Self::Acquire(error)
    }
}

impl From<UnknownPeer> for Refusal {
    fn from(UnknownPeer: UnknownPeer) -> Self {
        Self::Acquire(AcquireError::UnknownPeer)
    }
}

impl From<TooManyWaits> for Refusal {
    fn from(full: TooManyWaits) -> Self {
        Self::TooManyWaits(full)
    }
}

impl From<LimitReached> for Refusal {
    fn from(limit: LimitReached) -> Self {
        Self::Limit(limit)
    }
}

impl From<RestoreError> for Refusal {
    fn from(error: RestoreError) -> Self {
        Self::Restore(error)
    }
}

impl From<LimitReached> for SetRefusal {
    fn from(limit: LimitReached) -> Self {
        Self::Limit(limit)
    }
}

impl From<UnknownSemaphore> for SetRefusal {
    fn from(unknown: UnknownSemaphore) -> Self {
        Self::Unknown(unknown)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acquire(error) => error.fmt(f),
            Self::Limit(error) => error.fmt(f),
            Self::Restore(error) => error.fmt(f),
            Self::TooManyWaits(TooManyWaits { limit, is_share }) => {
                let whose = if *is_share { " of one identity" } else { "" };
                write!(f, "the limit of {limit} requests{whose} that wait at the same time is reached")
            }
            Self::KeyReused => f.write_str("the idempotency key belongs to another request"),
            Self::Gone(_) => f.write_str("the peer that this request made earlier is gone"),
            Self::Behind { .. } => f.write_str("the log is behind"),
        }
    }
}

impl Error for Refusal {}
