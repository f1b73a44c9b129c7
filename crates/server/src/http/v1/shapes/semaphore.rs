//! A semaphore, who holds it, and who waits for it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use throttle_core::{HolderView, Name, Origin, SemaphoreView, Spec, WaiterView};
use utoipa::ToSchema;

use super::scalar::{Digits, LabelsOf, Span, Stamp};
use throttle_journal::Wall;

/// A semaphore and its figures.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http::v1) struct Semaphore {
    #[schema(value_type = String, example = "A")]
    name: Name,
    /// The full count; 0 pauses it.
    #[schema(minimum = 0, example = 42)]
    max: i64,
    /// Its place in the lock hierarchy.
    #[schema(example = 0)]
    level: i32,
    /// The count that is held.
    #[schema(minimum = 0, example = 1)]
    acquired: i64,
    /// The count that waits.
    #[schema(minimum = 0, example = 0)]
    pending: i64,
    /// `max` minus `acquired`; negative when overcommitted.
    #[schema(example = 41)]
    remainder: i64,
    /// How many requests wait.
    #[schema(minimum = 0, example = 0)]
    waiting: usize,
    /// The count that was released, but is not yet due back by the rate.
    #[schema(minimum = 0, example = 0)]
    cooling: i64,
    /// How long the request has waited that waits longest.
    longest_wait: Span,
    origin: DeclaredBy,
    /// The rate: a grant's count comes back no sooner than this after it was given.
    #[schema(required)]
    per: Option<Span>,
    deadlock: Deadlock,
}

/// Where the declaration of a semaphore came from: the configuration file, a request, or the first use of a
/// name that matches a pattern.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Origin)]
pub(in crate::http::v1) enum DeclaredBy {
    File,
    Runtime,
    Pattern,
}

/// What protects against deadlocks: levels, or a search that refuses a request that would wait for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http::v1) enum Deadlock {
    #[default]
    Hierarchy,
    Detect,
}

impl From<Deadlock> for throttle_core::Deadlock {
    fn from(deadlock: Deadlock) -> Self {
        match deadlock {
            Deadlock::Hierarchy => Self::Hierarchy,
            Deadlock::Detect => Self::Detect,
        }
    }
}

impl From<throttle_core::Deadlock> for Deadlock {
    fn from(deadlock: throttle_core::Deadlock) -> Self {
        match deadlock {
            throttle_core::Deadlock::Hierarchy => Self::Hierarchy,
            throttle_core::Deadlock::Detect => Self::Detect,
        }
    }
}

/// A semaphore with those who hold it and those who wait for it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http::v1) struct SemaphoreDetail {
    #[serde(flatten)]
    semaphore: Semaphore,
    /// Those who hold it, in order of grant: the first `limit` of them.
    holders: Vec<Holder>,
    /// How many locks are held.
    #[schema(minimum = 0, example = 1)]
    holders_total: usize,
    /// Those who wait for it, in their order: the first `limit` of them.
    queue: Vec<Waiter>,
    /// How many wait.
    #[schema(minimum = 0, example = 1)]
    queue_total: usize,
}

/// A peer that holds a semaphore.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http::v1) struct Holder {
    peer: Digits,
    #[schema(minimum = 1, example = 1)]
    count: i64,
    /// The fencing token of the grant; null for a restored lock without one.
    #[schema(required)]
    token: Option<Digits>,
    since: Stamp,
    expires_at: Stamp,
    labels: LabelsOf,
}

/// A peer that waits for a semaphore.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http::v1) struct Waiter {
    peer: Digits,
    #[schema(minimum = 1, example = 1)]
    count: i64,
    #[schema(example = 0)]
    priority: i32,
    /// Its place in this queue, counted from 1.
    #[schema(minimum = 1, example = 1)]
    position: usize,
    since: Stamp,
    /// How much longer it may take, judged by how long locks were held lately. Null if there is nothing to
    /// judge by.
    #[schema(required)]
    estimated_wait: Option<Span>,
    labels: LabelsOf,
    /// True while it is passed over: it waited with a connection, and has had none for longer than
    /// `queue.absent_after`. Not there otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false, example = true)]
    absent: bool,
}

impl Semaphore {
    pub(in crate::http::v1) fn of(semaphore: SemaphoreView<'_>) -> Self {
        Self {
            acquired: semaphore.acquired(),
            pending: semaphore.pending(),
            remainder: semaphore.remainder(),
            waiting: semaphore.waiting(),
            cooling: semaphore.cooling(),
            longest_wait: Span(semaphore.longest_wait()),
            ..Self::unused(semaphore.name().clone(), semaphore.spec())
        }
    }

    fn unused(name: Name, spec: Spec) -> Self {
        Self {
            name,
            max: spec.max,
            level: spec.level,
            acquired: 0,
            pending: 0,
            remainder: spec.max,
            waiting: 0,
            cooling: 0,
            longest_wait: Span(Duration::ZERO),
            origin: match spec.origin {
                Origin::File => DeclaredBy::File,
                Origin::Runtime => DeclaredBy::Runtime,
                Origin::Pattern => DeclaredBy::Pattern,
            },
            per: spec.per.map(Span),
            deadlock: spec.deadlock.into(),
        }
    }
}

impl SemaphoreDetail {
    /// What a semaphore would be that is made on its first use.
    pub(in crate::http::v1) fn unused(name: &str, spec: Spec) -> Self {
        Self {
            semaphore: Semaphore::unused(name.into(), spec),
            holders: Vec::new(),
            holders_total: 0,
            queue: Vec::new(),
            queue_total: 0,
        }
    }

    /// With the first `limit` holders and waiters.
    pub(in crate::http::v1) fn of(semaphore: SemaphoreView<'_>, wall: Wall, limit: usize) -> Self {
        let places = 1..=limit;
        Self {
            semaphore: Semaphore::of(semaphore),
            holders: semaphore.holders().take(limit).map(|holder| Holder::of(holder, wall)).collect(),
            holders_total: semaphore.holder_count(),
            queue: places
                .zip(semaphore.queue(0))
                .map(|(place, waiter)| Waiter::of(place, waiter, wall))
                .collect(),
            queue_total: semaphore.waiting(),
        }
    }
}

impl Holder {
    pub(in crate::http::v1) fn of(holder: HolderView<'_>, wall: Wall) -> Self {
        Self {
            peer: Digits(holder.peer.id().0),
            count: holder.lock.count(),
            token: holder.lock.token().map(|token| Digits(token.0)),
            since: Stamp(wall.at(holder.lock.since())),
            expires_at: Stamp(wall.at(holder.peer.expires_at())),
            labels: LabelsOf(holder.peer.labels().cloned()),
        }
    }
}

impl Waiter {
    fn of(position: usize, waiter: WaiterView<'_>, wall: Wall) -> Self {
        Self {
            peer: Digits(waiter.peer.id().0),
            count: waiter.count(),
            priority: waiter.peer.pending().map_or(0, |pending| pending.priority()),
            position,
            since: Stamp(wall.at(waiter.since())),
            estimated_wait: waiter.estimated_wait().map(Span),
            labels: LabelsOf(waiter.peer.labels().cloned()),
            absent: waiter.is_absent(),
        }
    }
}
