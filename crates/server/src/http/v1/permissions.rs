//! What the caller may do.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse as _, Response},
};
use throttle_api::{Action, Permissions};

use super::documented;
use crate::http::App;

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
        Ok(()) => Permissions { actions: Action::ALL.map(Into::into).into(), reason: None },
        Err(problem) => Permissions { actions: Vec::new(), reason: Some(problem.detail().to_owned()) },
    };
    Json(permissions).into_response()
}
