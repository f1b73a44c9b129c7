//! The kinds of events, as readers know them.

use throttle_core::{EndCause, Event};

/// The kind of an event. New ones may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A lock was acquired.
    Granted,
    /// A request began to wait.
    Queued,
    /// An acquired lock was given back, or taken away.
    Released,
    /// An acquired lock ended with the lease of its peer.
    Expired,
    /// A lock or a request became smaller.
    Shrunk,
    /// A request left the queue without a grant.
    Withdrawn,
    /// A peer that the server did not know brought a lock back.
    Restored,
    /// More is acquired than the full count.
    Overcommitted,
    /// A semaphore was created or changed.
    Resized,
    /// A semaphore was removed.
    Removed,
    /// A peer ended, after all that it had.
    PeerEnded,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Granted,
        Self::Queued,
        Self::Released,
        Self::Expired,
        Self::Shrunk,
        Self::Withdrawn,
        Self::Restored,
        Self::Overcommitted,
        Self::Resized,
        Self::Removed,
        Self::PeerEnded,
    ];

    /// The kind of an event of the core. `None`: readers are not shown it.
    pub fn of(event: &Event) -> Option<Self> {
        Some(match event {
            Event::Granted { .. } => Self::Granted,
            Event::Queued { .. } => Self::Queued,
            Event::Released { cause: EndCause::Expired, .. } => Self::Expired,
            Event::Released {
                cause: EndCause::Released | EndCause::Operator | EndCause::Removed | EndCause::ExceedsMax,
                ..
            } => Self::Released,
            Event::Shrunk { .. } => Self::Shrunk,
            Event::Withdrawn { .. } => Self::Withdrawn,
            Event::Restored { .. } => Self::Restored,
            Event::Overcommitted { .. } => Self::Overcommitted,
            Event::SemaphoreSet { .. } => Self::Resized,
            Event::SemaphoreRemoved { .. } => Self::Removed,
            Event::PeerEnded { .. } => Self::PeerEnded,
            Event::SemaphoreRetired { .. }
            | Event::PeerCreated { .. }
            | Event::PeerOwned { .. }
            | Event::SemaphoreOwned { .. }
            | Event::LeaseChanged { .. }
            | Event::Connected { .. }
            | Event::Counters { .. }
            | Event::Cooling { .. }
            | Event::Paused { .. } => return None,
        })
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Queued => "queued",
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Shrunk => "shrunk",
            Self::Withdrawn => "withdrawn",
            Self::Restored => "restored",
            Self::Overcommitted => "overcommitted",
            Self::Resized => "resized",
            Self::Removed => "removed",
            Self::PeerEnded => "peer_ended",
        }
    }
}

/// Why something ended, in a word.
pub const fn cause_name(cause: EndCause) -> &'static str {
    match cause {
        EndCause::Released => "released",
        EndCause::Expired => "expired",
        EndCause::Operator => "operator",
        EndCause::Removed => "removed",
        EndCause::ExceedsMax => "exceeds_max",
    }
}
