//! The servers of a cluster, and the etcd that keeps their semaphores.

use std::fmt;

use serde::{Deserialize, Serialize};
#[cfg(feature = "openapi")]
use utoipa::ToSchema;

use crate::{Digits, Open, Span, Stamp};

/// What a server does in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ClusterRole {
    /// It answers requests.
    Leader,
    /// It follows the log, and passes requests on to the leader.
    Standby,
}

impl fmt::Display for ClusterRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Leader => "leader",
            Self::Standby => "standby",
        })
    }
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct ClusterLeader {
    /// The URL at which the other servers reach it.
    #[cfg_attr(feature = "openapi", schema(example = "http://10.0.1.5:8000"))]
    pub url: String,
    /// The number of its term: greater than that of every leader before.
    pub epoch: Digits,
    /// Since when it leads, by its own clock; null while it does not say so.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub since: Option<Stamp>,
    /// How long ago etcd last confirmed that it leads; null while it does not say so. It answers nothing without.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub unconfirmed: Option<Span>,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct ClusterServer {
    /// The URL at which the other servers reach it.
    #[cfg_attr(feature = "openapi", schema(example = "http://10.0.1.6:8000"))]
    pub url: String,
    /// What it does; null if it did not answer.
    #[cfg_attr(feature = "openapi", schema(required, value_type = Option<ClusterRole>))]
    pub role: Option<Open<ClusterRole>>,
    /// The number of the last batch of the log that it has taken in or written.
    pub position: Digits,
    /// How long ago it last knew that it has all of the log; nothing on the leader.
    pub lag: Span,
    /// Its release.
    #[cfg_attr(feature = "openapi", schema(example = "0.6.0"))]
    pub version: String,
    /// What keeps it from reading the log, or from writing it, if anything does.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub trouble: Option<String>,
    /// Why it did not answer.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub error: Option<String>,
}

/// A member of etcd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct EtcdMember {
    /// Its URL.
    #[cfg_attr(feature = "openapi", schema(example = "http://10.0.0.1:2379"))]
    pub url: String,
    /// Whether it leads etcd's members.
    pub is_leader: bool,
    /// Its release.
    #[cfg_attr(feature = "openapi", schema(example = "3.5.16"))]
    pub version: String,
    /// How large its database is, in bytes.
    pub db_bytes: u64,
    /// How large it may become, in bytes; null where the member does not tell it, as before release 3.6.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub quota_bytes: Option<u64>,
    /// What is wrong with it.
    pub errors: Vec<String>,
}

/// The servers of a cluster, and the etcd that keeps their semaphores, as one of the servers sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct ClusterStatus {
    /// The server that answers, by the URL at which the others reach it.
    #[cfg_attr(feature = "openapi", schema(example = "http://10.0.1.6:8000"))]
    pub answered_by: String,
    /// Who leads; null while nobody does.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub leader: Option<ClusterLeader>,
    /// All servers, by URL.
    pub servers: Vec<ClusterServer>,
    /// The members of etcd.
    pub etcd: Vec<EtcdMember>,
    /// Why nothing can be promised at the moment, if that is so.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub trouble: Option<String>,
}
