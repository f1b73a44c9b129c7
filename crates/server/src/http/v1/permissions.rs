//! What the caller may do.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse as _, Response},
};
use throttle_api::{Action, Permissions, Server};

use super::{convert, documented};
use crate::{
    http::{App, extract::Who},
    security::Right,
};

/// Tells what the caller may do, so that a user interface offers just that; and which server answers.
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
    let by_name = app.hosts.check(&headers).map_err(|problem| problem.detail().to_owned());
    let allowed =
        by_name.and_then(|()| caller.check_any(Right::Operate).map_err(|forbidden| forbidden.to_string()));
    let permissions = Permissions {
        actions: if allowed.is_ok() { Action::ALL.map(Into::into).into() } else { Vec::new() },
        operates: if allowed.is_ok() { caller.operates() } else { Vec::new() },
        reason: allowed.err(),
        identity: caller.identity().map(str::to_owned),
        exposed: app.guard.is_exposed(),
        server: Some(Server {
            name: app.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: convert::stamp(app.engine.wall().at(app.started_at)),
            keeps: app.keeps.into(),
        }),
    };
    Json(permissions).into_response()
}
