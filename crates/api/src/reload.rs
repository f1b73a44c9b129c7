//! What came of reading the configuration file again.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};
#[cfg(feature = "openapi")]
use utoipa::ToSchema;

use crate::{Deadlock, Open, Order, Span};

/// How what the file says now differs from what it said when it was last read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Difference {
    /// Semaphores and patterns that are new.
    pub added: BTreeMap<String, Declaration>,
    /// Those that are declared differently.
    pub changed: BTreeMap<String, Change>,
    /// Those that are gone. One in use takes no new requests, and goes when it is idle.
    pub removed: BTreeMap<String, Declaration>,
    /// Parts of the file that changed as well, but are read only at the start.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub needs_restart: Vec<Cow<'static, str>>,
    /// Those of the removed semaphores and patterns that are in use.
    pub removed_in_use: BTreeMap<String, Usage>,
    /// What may not have been meant, in sentences: semaphores removed that are in use, or more than half of all.
    pub warnings: Vec<String>,
}

/// What of a removed semaphore is in use; of a pattern, of all its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Usage {
    /// The count that is held.
    #[cfg_attr(feature = "openapi", schema(minimum = 0, example = 1))]
    pub acquired: i64,
    /// The count that waits.
    #[cfg_attr(feature = "openapi", schema(minimum = 0, example = 0))]
    pub pending: i64,
}

/// What the file says of a semaphore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Declaration {
    /// The full count; 0 pauses it.
    #[cfg_attr(feature = "openapi", schema(minimum = 0, example = 42))]
    pub max: i64,
    /// Its place in the lock hierarchy.
    #[cfg_attr(feature = "openapi", schema(example = 0))]
    pub level: i32,
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
}

/// What the file said, and what it says now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Change {
    /// What it said.
    pub before: Declaration,
    /// What it says now.
    pub now: Declaration,
}
