//! Locks asked for and released.

use serde::{Deserialize, Serialize};
#[cfg(feature = "openapi")]
use utoipa::ToSchema;

use super::{DurationText, Entries, Whole};

/// Locks to be asked for, all or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", schema(as = AskForLocks))]
pub struct LocksBody {
    /// Each semaphore and the count asked for.
    #[cfg_attr(feature = "openapi", schema(schema_with = crate::openapi::locks))]
    pub locks: Entries<Whole<i64>>,
    /// How long to wait for a grant, with the connection open. Without it the answer comes at once.
    pub wait: Option<DurationText>,
    /// Higher is served first. Waiting outranks it with time.
    #[serde(default)]
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = i32, minimum = -2_147_483_648, maximum = 2_147_483_647, default = 0)
    )]
    pub priority: Whole<i32>,
    /// A new length for the lease of the peer, which starts anew.
    pub expires_in: Option<DurationText>,
    /// Go on waiting: the `Throttle-Instance` of the answer that said the request is pending. If it has left the queue
    /// since without a grant, or its locks were released by somebody else, the answer is 409 `not_acquired`, and
    /// nothing is asked for anew. A server of another instance asks for the locks as if this were not here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_pending: Option<String>,
}

/// Locks to be released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", schema(as = ReleaseLocks))]
pub struct ReleaseBody {
    /// The semaphores.
    #[cfg_attr(feature = "openapi", schema(min_items = 1, example = json!(["t/in"])))]
    pub locks: Vec<String>,
}

/// What becomes of a peer whose wait ends without a grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnTimeout {
    /// It goes on waiting in the queue.
    #[default]
    Stay,
    /// It is removed.
    Leave,
}

/// A peer to be made together with its locks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", schema(as = NewSession))]
pub struct SessionBody {
    /// Each semaphore and the count asked for.
    #[cfg_attr(feature = "openapi", schema(schema_with = crate::openapi::locks))]
    pub locks: Entries<Whole<i64>>,
    /// The length of its lease. A heartbeat starts it anew.
    pub expires_in: DurationText,
    /// How long to wait for a grant, with the connection open. Without it the answer comes at once.
    pub wait: Option<DurationText>,
    /// What people should know of it.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(schema_with = crate::openapi::labels))]
    pub labels: Entries<String>,
    /// Higher is served first. Waiting outranks it with time.
    #[serde(default)]
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = i32, minimum = -2_147_483_648, maximum = 2_147_483_647, default = 0)
    )]
    pub priority: Whole<i32>,
    /// What becomes of the peer if the wait ends without a grant.
    #[serde(default)]
    pub on_timeout: OnTimeout,
}
