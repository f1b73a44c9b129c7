//! What the caller may do.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::documented;
use crate::http::App;

/// Something that changes what others have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    ReleasePeer,
    SetSemaphore,
    ChangeSemaphore,
    RemoveSemaphore,
}

/// What the caller may do.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Permissions {
    /// The operations that steer what others have, by their ids in this description, as far as the caller may use
    /// them. What is said of an operation holds for its twin `…_by_query`, too.
    #[schema(example = json!(["release_peer", "change_semaphore"]))]
    actions: &'static [Action],
    /// Why the caller may not do more, for people. Null if it may do everything.
    #[schema(required)]
    reason: Option<String>,
}

const ALL: &[Action] =
    &[Action::ReleasePeer, Action::SetSemaphore, Action::ChangeSemaphore, Action::RemoveSemaphore];

/// Tells what the caller may do, so that a user interface offers just that.
///
/// A page that was opened under a name that is not the server's own may do nothing: browsers mark its requests that
/// change something, and those are refused.
#[utoipa::path(
    get,
    path = "/v1/permissions",
    operation_id = "get_permissions",
    tag = documented::SERVER,
    responses((status = 200, body = Permissions, description = "What the caller may do."))
)]
pub(in crate::http) async fn permissions(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let permissions = match app.hosts.check(&headers) {
        Ok(()) => Permissions { actions: ALL, reason: None },
        Err(problem) => Permissions { actions: &[], reason: Some(problem.detail().to_owned()) },
    };
    Json(permissions).into_response()
}
