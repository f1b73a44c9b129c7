//! A peer, what it holds, and what it waits for.

use serde::{Serialize, Serializer};
use throttle_core::{HeldView, HolderView, Name, PeerView, PendingView};
use utoipa::ToSchema;

use super::scalar::{Digits, LabelsOf, Span, Stamp};
use throttle_journal::Wall;

/// How many of those who hold what a peer waits for are shown with it.
const BLOCKERS: usize = 10;

/// One thread of execution of a client. It lives until its lease ends.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http::v1) struct Peer {
    /// Its id.
    pub(in crate::http::v1) id: Digits,
    /// What its client tells of it.
    labels: LabelsOf,
    created_at: Stamp,
    /// Until when its locks are promised to it.
    expires_at: Stamp,
    /// What it holds.
    locks: Vec<Lock>,
    /// What it waits for.
    #[schema(required)]
    pending: Option<Box<Pending>>,
}

/// A lock that a peer holds.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http::v1) struct Lock {
    #[schema(value_type = String, example = "A")]
    semaphore: Name,
    #[schema(minimum = 1, example = 1)]
    count: i64,
    /// The fencing token of the grant; null for a restored lock without one.
    #[schema(required)]
    token: Option<Digits>,
    /// Since when it is held.
    since: Stamp,
}

/// What a peer waits for: all of it, or nothing.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http::v1) struct Pending {
    /// Each semaphore and the count asked for.
    #[serde(serialize_with = "as_map")]
    #[schema(value_type = BTreeMap<String, i64>, example = json!({"B": 1}))]
    locks: Vec<(Name, i64)>,
    #[schema(example = 0)]
    priority: i32,
    since: Stamp,
    /// Its place, counted from 1, in the queue where it stands farthest back.
    #[schema(minimum = 1, example = 3)]
    position: usize,
    /// How much longer it may take, judged by how long locks were held lately. Null if there is nothing to
    /// judge by.
    #[schema(required)]
    estimated_wait: Option<Span>,
    /// Who holds what it waits for: the first ten.
    #[schema(max_items = 10)]
    blocked_by: Vec<Blocker>,
}

/// A peer that holds what another waits for.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http::v1) struct Blocker {
    #[schema(value_type = String, example = "B")]
    semaphore: Name,
    peer: Digits,
    #[schema(minimum = 1, example = 1)]
    count: i64,
    since: Stamp,
    labels: LabelsOf,
}

impl Peer {
    pub(in crate::http::v1) fn of(peer: PeerView<'_>, wall: Wall) -> Self {
        Self {
            id: Digits(peer.id().0),
            labels: LabelsOf(peer.labels().cloned()),
            created_at: Stamp(wall.at(peer.created_at())),
            expires_at: Stamp(wall.at(peer.expires_at())),
            locks: peer.locks().map(|lock| Lock::of(lock, wall)).collect(),
            pending: peer.pending().map(|pending| Box::new(Pending::of(pending, wall))),
        }
    }
}

impl Lock {
    fn of(lock: HeldView<'_>, wall: Wall) -> Self {
        Self {
            semaphore: lock.semaphore().clone(),
            count: lock.count(),
            token: lock.token().map(|token| Digits(token.0)),
            since: Stamp(wall.at(lock.since())),
        }
    }
}

impl Pending {
    fn of(pending: PendingView<'_>, wall: Wall) -> Self {
        Self {
            locks: pending.locks().map(|(name, count)| (name.clone(), count)).collect(),
            priority: pending.priority(),
            since: Stamp(wall.at(pending.since())),
            position: pending.position(),
            estimated_wait: pending.estimated_wait().map(Span),
            blocked_by: pending.holders().take(BLOCKERS).map(|holder| Blocker::of(holder, wall)).collect(),
        }
    }
}

impl Blocker {
    fn of(holder: HolderView<'_>, wall: Wall) -> Self {
        Self {
            semaphore: holder.lock.semaphore().clone(),
            peer: Digits(holder.peer.id().0),
            count: holder.lock.count(),
            since: Stamp(wall.at(holder.lock.since())),
            labels: LabelsOf(holder.peer.labels().cloned()),
        }
    }
}

fn as_map<S: Serializer>(locks: &[(Name, i64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(locks.iter().map(|(name, count)| (name, count)))
}
