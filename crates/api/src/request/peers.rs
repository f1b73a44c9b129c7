//! Peers made and kept.

use serde::{Deserialize, Serialize};
#[cfg(feature = "openapi")]
use utoipa::ToSchema;

use super::{DurationText, Entries};

/// A peer to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", schema(as = NewPeer))]
pub struct NewPeerBody {
    /// The length of its lease. A heartbeat starts it anew.
    pub expires_in: DurationText,
    /// What people should know of it.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(schema_with = crate::openapi::labels))]
    pub labels: Entries<String>,
}

/// How long a lease is to be from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", schema(as = Heartbeat))]
pub struct HeartbeatBody {
    /// The new length; without it the lease keeps the one that it has.
    pub expires_in: Option<DurationText>,
}
