//! Which path of this dialect is whose.

use std::sync::Arc;

use axum::Router;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{events, heartbeats, locks, openapi, peers, probes, reload, resume, semaphores};
use crate::http::App;

/// All routes of this dialect, and the one that describes them.
pub(in crate::http) fn routes() -> Router<Arc<App>> {
    let (router, description) = OpenApiRouter::with_openapi(openapi::frame())
        .routes(routes!(peers::create, peers::list))
        .routes(routes!(peers::get, peers::release))
        .routes(routes!(peers::heartbeat))
        .routes(routes!(locks::acquire))
        .routes(routes!(locks::release))
        .routes(routes!(locks::session))
        .routes(routes!(semaphores::list))
        .routes(routes!(semaphores::get, semaphores::set, semaphores::change, semaphores::remove))
        .routes(routes!(semaphores::token))
        .routes(routes!(heartbeats::renew))
        .routes(routes!(events::events))
        .routes(routes!(reload::reload))
        .routes(routes!(resume::resume))
        .routes(routes!(probes::livez))
        .routes(routes!(probes::readyz))
        .split_for_parts();
    router.merge(openapi::route(description))
}
