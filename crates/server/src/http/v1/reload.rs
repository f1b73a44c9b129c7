//! Reading the configuration file again.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State, response::IntoResponse as _};
use serde::Serialize;
use throttle_core::Spec;
use throttle_node::Usage;
use utoipa::ToSchema;

use super::{
    code::Code,
    documented,
    problem::{Answer, Problem},
    shapes::{Deadlock, Span},
};
use crate::{http::App, reload::Reloaded};

/// How what the file says now differs from what it said when it was last read.
#[derive(Serialize, ToSchema)]
#[schema(as = Difference)]
pub(super) struct ReloadedBody {
    /// Semaphores and patterns that are new.
    added: BTreeMap<String, Declaration>,
    /// Those that are declared differently.
    changed: BTreeMap<String, Change>,
    /// Those that are gone. One in use takes no new requests, and goes when it is idle.
    removed: BTreeMap<String, Declaration>,
    /// Parts of the file that changed as well, but are read only at the start.
    needs_restart: Vec<&'static str>,
    /// Those of the removed semaphores and patterns that are in use.
    removed_in_use: BTreeMap<String, UsageBody>,
    /// What may not have been meant, in sentences: semaphores removed that are in use, or more than half of all.
    warnings: Vec<String>,
}

/// What of a removed semaphore is in use; of a pattern, of all its members.
#[derive(Serialize, ToSchema)]
#[schema(as = Usage)]
pub(super) struct UsageBody {
    /// The count that is held.
    #[schema(minimum = 0, example = 1)]
    acquired: i64,
    /// The count that waits.
    #[schema(minimum = 0, example = 0)]
    pending: i64,
}

/// What the file says of a semaphore.
#[derive(Serialize, ToSchema)]
pub(super) struct Declaration {
    /// The full count; 0 pauses it.
    #[schema(minimum = 0, example = 42)]
    max: i64,
    /// Its place in the lock hierarchy.
    #[schema(example = 0)]
    level: i32,
    /// The rate: a grant's count comes back no sooner than this after it was given.
    #[schema(required)]
    per: Option<Span>,
    deadlock: Deadlock,
}

/// What the file said, and what it says now.
#[derive(Serialize, ToSchema)]
pub(super) struct Change {
    before: Declaration,
    now: Declaration,
}

impl From<Spec> for Declaration {
    fn from(spec: Spec) -> Self {
        Self { max: spec.max, level: spec.level, per: spec.per.map(Span), deadlock: spec.deadlock.into() }
    }
}

impl From<Usage> for UsageBody {
    fn from(Usage { acquired, pending }: Usage) -> Self {
        Self { acquired, pending }
    }
}

impl From<Reloaded> for ReloadedBody {
    fn from(Reloaded { difference, needs_restart, removed_in_use, warnings }: Reloaded) -> Self {
        let declarations = |declared: BTreeMap<String, Spec>| {
            declared.into_iter().map(|(name, spec)| (name, spec.into())).collect()
        };
        let changed = difference.changed.into_iter();
        Self {
            added: declarations(difference.added),
            changed: changed
                .map(|(name, (before, now))| (name, Change { before: before.into(), now: now.into() }))
                .collect(),
            removed: declarations(difference.removed),
            needs_restart,
            removed_in_use: removed_in_use.into_iter().map(|(name, usage)| (name, usage.into())).collect(),
            warnings,
        }
    }
}

/// Reads the configuration file again, as SIGHUP does. It is checked first, and comes into force as a whole or not
/// at all. A file that is gone or empty, but said something when it was last read, is an error.
///
/// The later word wins: what differs from the file as last read is changed; what a request set stands otherwise.
#[utoipa::path(
    post,
    path = "/v1/reload",
    operation_id = "reload",
    tag = documented::SERVER,
    responses((status = 200, body = ReloadedBody, description = "What changed."), documented::Reload)
)]
pub(in crate::http) async fn reload(State(app): State<Arc<App>>) -> Answer {
    let reloader = app.reloader.clone();
    let reloaded = tokio::task::spawn_blocking(move || reloader.reload()).await;
    match reloaded {
        Ok(Ok(reloaded)) => Ok(Json(ReloadedBody::from(reloaded)).into_response()),
        Ok(Err(error)) => Err(Problem::new(Code::InvalidConfiguration, format!("Nothing changed. {error}"))),
        Err(_) => Err(Problem::new(Code::Unavailable, "The server is about to stop.")),
    }
}
