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
use crate::{
    http::{App, extract::Who},
    security::Right,
};

/// Tells what the caller may do, so that a user interface offers just that.
///
/// A page that was opened under a name that is not the server's own may do nothing: browsers mark its requests that
/// change something, and those are refused.
#[utoipa::path(
    get,
    path = "/v1/permissions",
    operation_id = "get_permissions",
    tag = documented::SERVER,
    responses((status = 200, body = Permissions, description = "What the caller may do."), documented::GetPermissions)
)]
pub(in crate::http) async fn permissions(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    headers: HeaderMap,
) -> Response {
    let (identity, exposed) = (caller.identity().map(str::to_owned), app.guard.is_exposed());
    let permissions = match app.hosts.check(&headers) {
        Ok(()) => match caller.check_any(Right::Operate) {
            Ok(()) => {
                Permissions { actions: Action::ALL.map(Into::into).into(), reason: None, identity, exposed }
            }
            Err(forbidden) => {
                Permissions { actions: Vec::new(), reason: Some(forbidden.to_string()), identity, exposed }
            }
        },
        Err(problem) => {
            Permissions { actions: Vec::new(), reason: Some(problem.detail().to_owned()), identity, exposed }
        }
    };
    Json(permissions).into_response()
}
