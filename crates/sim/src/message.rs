//! What clients and servers say to each other.

use std::{collections::BTreeMap, sync::Arc};

use throttle_core::{EndCause, Spec};

use crate::time::{Micros, Moment};

/// Identifies a request for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// The locks that a request names, and their counts.
pub type Locks = Vec<(Arc<str>, i64)>;

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    pub id: RequestId,
    /// The client that sends it, if one does; an operator has none.
    pub client: Option<usize>,
    /// Whether somebody sends it who knows the ids of peers that are not his.
    pub is_theft: bool,
    pub sent_at: Moment,
    pub call: Call,
}

/// What a request asks for. Each dialect has some of these.
#[derive(Clone, Debug)]
pub enum Call {
    /// v1, v0.2: a peer that holds nothing.
    NewPeer { key: Option<String>, expires_in: Micros },
    /// v1, v0.1: a peer with its locks.
    Session {
        key: Option<String>,
        expires_in: Micros,
        locks: Locks,
        priority: i32,
        wait: Micros,
        leaves: bool,
    },
    /// v1, v0.2: locks for a peer.
    Acquire {
        peer: u64,
        locks: Locks,
        priority: i32,
        expires_in: Option<Micros>,
        wait: Micros,
        /// The instance of the state in which it was pending when its client last heard of it.
        if_pending: Option<u64>,
    },
    /// All: the lease begins anew.
    Heartbeat { peer: u64, expires_in: Micros },
    /// v1: the same for many.
    Heartbeats { peers: Vec<u64>, expires_in: Micros },
    /// v0.1: the same, bringing back what is held, and waiting for what is asked for.
    KeepOrRestore { peer: u64, expires_in: Micros, active: Locks, pending: Locks, wait: Option<Micros> },
    /// v1, v0.2: locks are given back.
    Release { peer: u64, semaphores: Vec<Arc<str>> },
    /// All: the peer ends.
    EndPeer { peer: u64, reason: Option<Arc<str>> },
    /// v0.2: whether all that was asked for is there.
    IsAcquired { peer: u64 },
    /// v1: a look at the peer.
    Look { peer: u64 },
    /// v0.2: locks that the server may have forgotten, with their tokens.
    Restore { peer: u64, expires_in: Micros, locks: Vec<(Arc<str>, i64, Option<u64>)> },
    /// v1: whether a token is live.
    CheckToken { semaphore: Arc<str>, token: u64 },
    /// v1: a look at a semaphore.
    LookAtSemaphore { semaphore: Arc<str> },
    /// v0.1, v0.2: what is left of a semaphore.
    Remainder { semaphore: Arc<str> },
    /// v1: an operator makes or changes a semaphore.
    SetSemaphore { semaphore: Arc<str>, spec: Spec },
    /// v1: an operator changes the full count of a semaphore.
    Resize { semaphore: Arc<str>, max: i64 },
    /// v1: an operator removes a semaphore.
    RemoveSemaphore { semaphore: Arc<str>, force: bool },
    /// v1: an operator has the file read again, which declares this.
    Reload { declared: BTreeMap<String, Spec> },
    /// v1: an operator has grants given out that are held back.
    Resume,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A peer, as it is now.
    Peer(Peer),
    /// It is done; there is nothing to say.
    Done,
    /// Yes or no.
    Bool(bool),
    /// A number.
    Count(i64),
    /// Which of many peers are gone.
    Renewed { gone: Vec<u64> },
    /// The peer is gone; how, if that is remembered.
    Gone { peer: u64, ending: Option<(EndCause, Option<Arc<str>>)> },
    /// The request left the queue without a grant.
    NotAcquired,
    /// A semaphore.
    Semaphore(Semaphore),
    /// It is refused.
    Refused(Refused),
    /// No server is there, or it stops.
    Unavailable,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    UnknownSemaphore,
    ExceedsMax,
    Hierarchy,
    AlreadyPending,
    Deadlock,
    RestoreConflict,
    KeyReused,
    Limit,
    InUse,
    Invalid,
}

/// A peer as an answer shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub id: u64,
    /// Until when it is promised to live, by the wall clock.
    pub expires_at: Moment,
    pub locks: Vec<Lock>,
    pub pending: Locks,
    /// Since when it waits, by the time of leases, which goes on from one leader to the next.
    pub asked_at: Option<Micros>,
}

/// A lock as an answer shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    pub semaphore: Arc<str>,
    pub count: i64,
    pub token: Option<u64>,
    /// When it was granted, by the wall clock.
    pub since: Moment,
}

/// A semaphore as an answer shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Semaphore {
    pub name: Arc<str>,
    pub max: i64,
    pub acquired: i64,
    pub pending: i64,
    pub cooling: i64,
    pub waiting: usize,
    /// The peers that hold it, with their counts, in order of their grants.
    pub holders: Vec<(u64, i64)>,
    /// The peers that wait for it, with their counts, in order.
    pub queue: Vec<(u64, i64)>,
    /// Those of them that are passed over because their clients are gone.
    pub absent: Vec<u64>,
}

/// An answer as it arrives.
#[derive(Clone, Debug)]
pub struct Reply {
    pub request: Arc<Request>,
    pub answer: Answer,
    /// Identifies the state of the server that gave it.
    pub instance: u64,
    /// The epoch in which that server led; 0 where there is only one.
    pub epoch: u64,
    /// The request was held open: a connection waited for this.
    pub has_waited: bool,
}

/// What a client writes to the resource that a semaphore protects, with the token of its lock.
#[derive(Clone, Debug)]
pub struct Write {
    pub peer: u64,
    pub semaphore: Arc<str>,
    pub token: u64,
}

impl Call {
    /// The peer that it is about.
    pub fn peer(&self) -> Option<u64> {
        match self {
            Self::Acquire { peer, .. }
            | Self::Heartbeat { peer, .. }
            | Self::KeepOrRestore { peer, .. }
            | Self::Release { peer, .. }
            | Self::EndPeer { peer, .. }
            | Self::IsAcquired { peer }
            | Self::Look { peer }
            | Self::Restore { peer, .. } => Some(*peer),
            Self::NewPeer { .. }
            | Self::Session { .. }
            | Self::Heartbeats { .. }
            | Self::CheckToken { .. }
            | Self::LookAtSemaphore { .. }
            | Self::Remainder { .. }
            | Self::SetSemaphore { .. }
            | Self::Resize { .. }
            | Self::RemoveSemaphore { .. }
            | Self::Reload { .. }
            | Self::Resume => None,
        }
    }

    /// The key that makes a repeat harmless.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::NewPeer { key, .. } | Self::Session { key, .. } => key.as_deref(),
            _ => None,
        }
    }

    /// How long its client lets the server wait for a grant.
    pub fn wait(&self) -> Micros {
        match self {
            Self::Session { wait, .. } | Self::Acquire { wait, .. } => *wait,
            Self::KeepOrRestore { wait, .. } => wait.unwrap_or_default(),
            _ => 0,
        }
    }

    /// The length of the lease that it asks for.
    pub fn lease(&self) -> Option<Micros> {
        match self {
            Self::NewPeer { expires_in, .. }
            | Self::Session { expires_in, .. }
            | Self::Heartbeat { expires_in, .. }
            | Self::Heartbeats { expires_in, .. }
            | Self::KeepOrRestore { expires_in, .. }
            | Self::Restore { expires_in, .. } => Some(*expires_in),
            Self::Acquire { expires_in, .. } => *expires_in,
            _ => None,
        }
    }

    /// The peers whose lease it has begin anew.
    pub fn renews(&self) -> &[u64] {
        match self {
            Self::Heartbeats { peers, .. } => peers,
            Self::Heartbeat { peer, .. }
            | Self::KeepOrRestore { peer, .. }
            | Self::Restore { peer, .. }
            | Self::Acquire { peer, expires_in: Some(_), .. } => std::slice::from_ref(peer),
            _ => &[],
        }
    }

    /// Whether it may change what a semaphore is.
    pub fn changes_semaphores(&self) -> bool {
        matches!(
            self,
            Self::SetSemaphore { .. }
                | Self::Resize { .. }
                | Self::RemoveSemaphore { .. }
                | Self::Reload { .. }
        )
    }

    /// Whether it may make the peer hold or ask for something that it did not before.
    pub fn asks(&self) -> bool {
        matches!(
            self,
            Self::Session { .. } | Self::Acquire { .. } | Self::KeepOrRestore { .. } | Self::Restore { .. }
        )
    }
}
