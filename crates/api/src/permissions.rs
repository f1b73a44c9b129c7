//! What the caller may do.

use serde::{Deserialize, Serialize};
#[cfg(feature = "openapi")]
use utoipa::ToSchema;

use crate::{Open, Stamp};

/// Something that changes what others have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Releasing a peer.
    ReleasePeer,
    /// Making or replacing a semaphore.
    SetSemaphore,
    /// Changing a semaphore.
    ChangeSemaphore,
    /// Removing a semaphore.
    RemoveSemaphore,
}

/// What the caller may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Permissions {
    /// The operations that steer what others have, by their ids in this description, as far as the caller may use
    /// them. What is said of an operation holds for its twin `…_by_query`, too.
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = Vec<Action>, example = json!(["release_peer", "change_semaphore"]))
    )]
    pub actions: Vec<Open<Action>>,
    /// The semaphores that they may concern: names, or patterns with one `*`; `*` alone is all of them.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(example = json!(["etl/*"])))]
    pub operates: Vec<String>,
    /// Why the caller may not do more, for people. Null if it may do everything.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub reason: Option<String>,
    /// Who the caller is. Null where nobody has to say.
    #[cfg_attr(feature = "openapi", schema(required, example = "etl"))]
    #[serde(default)]
    pub identity: Option<String>,
    /// Whether other machines reach the server and nobody has to say who he is.
    #[serde(default)]
    pub exposed: bool,
    /// Which server answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Server))]
    pub server: Option<Server>,
}

/// A server, as it tells of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Server {
    /// Its `name` in the configuration file. Null if it has none.
    #[cfg_attr(feature = "openapi", schema(required, example = "Warehouse, production"))]
    pub name: Option<String>,
    /// Its version.
    #[cfg_attr(feature = "openapi", schema(example = "0.6.0"))]
    pub version: String,
    /// Since when it answers: since its start; of several servers, since it leads.
    pub started_at: Stamp,
    /// What becomes of its state.
    #[cfg_attr(feature = "openapi", schema(value_type = Keeping))]
    pub keeps: Open<Keeping>,
}

/// What becomes of the state of a server: it is forgotten with the process, kept in a data directory, or kept by a
/// cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Keeping {
    /// A restart forgets it.
    Memory,
    /// It is in a data directory.
    Durable,
    /// Several servers keep it in etcd.
    Cluster,
}

/// What signs in.
#[derive(Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SignInBody {
    /// The token.
    #[cfg_attr(feature = "openapi", schema(example = "thr_…", format = Password))]
    pub token: String,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::ReleasePeer, Self::SetSemaphore, Self::ChangeSemaphore, Self::RemoveSemaphore];
}
