//! What the server says, as far as it is shown.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Deserializer, de::Error as _};

/// A semaphore and its figures.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Semaphore {
    pub(super) name: String,
    pub(super) max: i64,
    pub(super) level: i32,
    pub(super) acquired: i64,
    pub(super) pending: i64,
    pub(super) waiting: u64,
    pub(super) cooling: i64,
    #[serde(deserialize_with = "duration")]
    pub(super) longest_wait: Duration,
    pub(super) origin: String,
    pub(super) per: Option<String>,
    pub(super) deadlock: String,
}

/// A semaphore with those who hold it and those who wait for it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Detail {
    #[serde(flatten)]
    pub(super) semaphore: Semaphore,
    pub(super) holders: Vec<Holder>,
    pub(super) holders_total: u64,
    pub(super) queue: Vec<Waiter>,
    pub(super) queue_total: u64,
}

/// Who holds a semaphore.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Holder {
    pub(super) peer: String,
    pub(super) count: i64,
    pub(super) token: Option<String>,
    #[serde(deserialize_with = "moment")]
    pub(super) since: SystemTime,
    #[serde(deserialize_with = "moment")]
    pub(super) expires_at: SystemTime,
    pub(super) labels: Labels,
}

/// Who waits for a semaphore.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Waiter {
    pub(super) peer: String,
    pub(super) count: i64,
    pub(super) priority: i32,
    pub(super) position: u64,
    #[serde(deserialize_with = "moment")]
    pub(super) since: SystemTime,
    #[serde(deserialize_with = "optional_duration")]
    pub(super) estimated_wait: Option<Duration>,
    pub(super) labels: Labels,
    #[serde(default)]
    pub(super) absent: bool,
}

/// A peer, what it holds, and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Peer {
    pub(super) id: String,
    pub(super) labels: Labels,
    #[serde(deserialize_with = "moment")]
    pub(super) created_at: SystemTime,
    #[serde(deserialize_with = "moment")]
    pub(super) expires_at: SystemTime,
    pub(super) locks: Vec<Lock>,
    pub(super) pending: Option<Pending>,
}

/// A lock that a peer holds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Lock {
    pub(super) semaphore: String,
    pub(super) count: i64,
    pub(super) token: Option<String>,
    #[serde(deserialize_with = "moment")]
    pub(super) since: SystemTime,
}

/// What a peer waits for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Pending {
    pub(super) locks: BTreeMap<String, i64>,
    pub(super) priority: i32,
    #[serde(deserialize_with = "moment")]
    pub(super) since: SystemTime,
    pub(super) position: u64,
    #[serde(deserialize_with = "optional_duration")]
    pub(super) estimated_wait: Option<Duration>,
    pub(super) blocked_by: Vec<Blocker>,
}

/// Who holds what a peer waits for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Blocker {
    pub(super) semaphore: String,
    pub(super) peer: String,
    pub(super) count: i64,
    #[serde(deserialize_with = "moment")]
    pub(super) since: SystemTime,
    pub(super) labels: Labels,
}

/// What clients tell of their peers.
pub(super) type Labels = BTreeMap<String, String>;

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    humantime::parse_duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| humantime::parse_duration(&text).map_err(D::Error::custom)).transpose()
}

fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    humantime::parse_rfc3339(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}
