//! A semaphore, who holds it, and who waits for it.

use std::fmt;

use serde::{Deserialize, Serialize};
#[cfg(feature = "openapi")]
use utoipa::ToSchema;

use crate::{Digits, Labels, Name, Open, Span, Stamp};

/// A semaphore and its figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Semaphore {
    /// Its name.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "A"))]
    pub name: Name,
    /// The full count; 0 pauses it.
    #[cfg_attr(feature = "openapi", schema(minimum = 0, example = 42))]
    pub max: i64,
    /// Its place in the lock hierarchy.
    #[cfg_attr(feature = "openapi", schema(example = 0))]
    pub level: i32,
    /// The count that is held.
    #[cfg_attr(feature = "openapi", schema(minimum = 0, example = 1))]
    pub acquired: i64,
    /// The count that waits.
    #[cfg_attr(feature = "openapi", schema(minimum = 0, example = 0))]
    pub pending: i64,
    /// `max` minus `acquired`; negative when overcommitted.
    #[cfg_attr(feature = "openapi", schema(example = 41))]
    pub remainder: i64,
    /// How many requests wait.
    #[cfg_attr(feature = "openapi", schema(minimum = 0, example = 0))]
    pub waiting: usize,
    /// The count that was released, but is not yet due back by the rate.
    #[cfg_attr(feature = "openapi", schema(minimum = 0, example = 0))]
    pub cooling: i64,
    /// How long the request has waited that waits longest.
    pub longest_wait: Span,
    /// Where its declaration came from.
    #[cfg_attr(feature = "openapi", schema(value_type = Origin))]
    pub origin: Open<Origin>,
    /// The rate: a grant's count comes back no sooner than this after it was given.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub per: Option<Span>,
    /// What protects against deadlocks.
    #[cfg_attr(feature = "openapi", schema(value_type = Deadlock))]
    pub deadlock: Open<Deadlock>,
    /// In which order requests are granted.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Order, required))]
    pub order: Open<Order>,
    /// While it is paused: its `max` before that, if the server knows it. Not there otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, example = 42))]
    pub max_before_pause: Option<i64>,
}

/// Where the declaration of a semaphore came from: the configuration file, a request, or the first use of a
/// name that matches a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The configuration file.
    File,
    /// A request.
    Runtime,
    /// The first use of a name that matches a pattern.
    Pattern,
}

/// In which order requests are granted: first come, first served; or a request for one semaphore alone may pass those
/// that wait for another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// First come, first served.
    #[default]
    Strict,
    /// Some may pass.
    Pass,
}

/// What protects against deadlocks: levels, or a search that refuses a request that would wait for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Deadlock {
    /// Levels.
    #[default]
    Hierarchy,
    /// The search.
    Detect,
}

/// A semaphore with those who hold it and those who wait for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct SemaphoreDetail {
    /// The semaphore and its figures.
    #[serde(flatten)]
    pub semaphore: Semaphore,
    /// Those who hold it, in order of grant: `limit` of them, from `holders_cursor` on.
    pub holders: Vec<Holder>,
    /// How many locks are held.
    #[cfg_attr(feature = "openapi", schema(minimum = 0, example = 1))]
    pub holders_total: usize,
    /// What `holders_cursor` takes to list those after these. Null if there are no more.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub holders_next: Option<String>,
    /// Those who wait for it, in their order: `limit` of them, from `queue_cursor` on.
    pub queue: Vec<Waiter>,
    /// How many wait.
    #[cfg_attr(feature = "openapi", schema(minimum = 0, example = 1))]
    pub queue_total: usize,
    /// What `queue_cursor` takes to list those after these. Null if there are no more.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub queue_next: Option<String>,
}

/// A peer that holds a semaphore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Holder {
    /// The peer.
    pub peer: Digits,
    /// The count that it holds.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, example = 1))]
    pub count: i64,
    /// The fencing token of the grant; null for a restored lock without one.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub token: Option<Digits>,
    /// Since when it holds it.
    pub since: Stamp,
    /// Until when its locks are promised to it.
    pub expires_at: Stamp,
    /// What its client tells of it.
    pub labels: Labels,
}

/// A peer that waits for a semaphore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Waiter {
    /// The peer.
    pub peer: Digits,
    /// The count that it asks for.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, example = 1))]
    pub count: i64,
    /// Higher is served first.
    #[cfg_attr(feature = "openapi", schema(example = 0))]
    pub priority: i32,
    /// Its place in this queue, counted from 1.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, example = 1))]
    pub position: usize,
    /// Since when it waits.
    pub since: Stamp,
    /// How much longer it may take, judged by how long locks were held lately. Null if there is nothing to
    /// judge by.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub estimated_wait: Option<Span>,
    /// What its client tells of it.
    pub labels: Labels,
    /// True while it is passed over: it waited with a connection, and has had none for longer than
    /// `queue.absent_after`. Not there otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "openapi", schema(required = false, example = true))]
    pub absent: bool,
    /// True while it holds up nobody behind it here: it is absent, or asks for more than the max of one of its
    /// semaphores, or waits for one of a higher level. Not there otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "openapi", schema(required = false, example = true))]
    pub passed_over: bool,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
