//! What the caller may do.

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::documented;

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
    /// them.
    #[schema(example = json!(["release_peer", "change_semaphore"]))]
    actions: &'static [Action],
}

/// Tells what the caller may do, so that a user interface offers just that.
#[utoipa::path(
    get,
    path = "/v1/permissions",
    operation_id = "get_permissions",
    tag = documented::SERVER,
    responses((status = 200, body = Permissions, description = "What the caller may do."))
)]
pub(super) async fn permissions() -> Response {
    let actions =
        &[Action::ReleasePeer, Action::SetSemaphore, Action::ChangeSemaphore, Action::RemoveSemaphore];
    Json(Permissions { actions }).into_response()
}
