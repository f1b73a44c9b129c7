//! What changed, for those who look on.

use serde::{Deserialize, Serialize};
#[cfg(feature = "openapi")]
use utoipa::ToSchema;

use crate::{Digits, Event, Labels, Name, Semaphore, Stamp};

/// What changed since the update before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Update {
    /// When it was written.
    pub at: Stamp,
    /// How many semaphores there are.
    pub semaphores: usize,
    /// How many peers live.
    pub peers: usize,
    /// Semaphores that something happened to, as they are now; at most 200.
    pub changed: Vec<Semaphore>,
    /// Semaphores that are gone.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub removed: Vec<Name>,
    /// Peers that something happened to; at most 200.
    pub changed_peers: Vec<Digits>,
    /// Whether more changed than is told: look again at what matters to you.
    pub is_partial: bool,
    /// The last events; at most 20, in the first update 100.
    pub events: Vec<Numbered>,
    /// How many events came before those, since the update before.
    pub skipped: u64,
}

/// An event with its number, which is below 2^53: events are counted without gaps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Numbered {
    /// The number.
    pub number: u64,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
    /// What the client of its peer tells of it, if that has labels, and still lived when the update was written or
    /// ends with the event.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub labels: Labels,
}

/// Tells of updates that a reader does not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissedUpdates {
    /// How many.
    pub updates: u64,
}
