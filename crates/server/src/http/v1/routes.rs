//! Which path of this dialect is whose.

use std::sync::Arc;

use axum::Router;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    events, heartbeats, history, locks, named, openapi, peers, permissions, probes, reload, resume,
    semaphores, updates,
};
use crate::http::App;

/// All routes of this dialect with the one that describes them, and their templates.
pub(in crate::http) fn routes() -> (Router<Arc<App>>, Vec<String>) {
    let (router, description) = OpenApiRouter::with_openapi(openapi::frame())
        .routes(routes!(peers::create, peers::list))
        .routes(routes!(peers::get, peers::release))
        .routes(routes!(peers::heartbeat))
        .routes(routes!(locks::acquire))
        .routes(routes!(locks::release))
        .routes(routes!(locks::release_several))
        .routes(routes!(locks::session))
        .routes(routes!(semaphores::list))
        .routes(routes!(semaphores::get, semaphores::set, semaphores::change, semaphores::remove))
        .routes(routes!(semaphores::token))
        .routes(routes!(named::get, named::set, named::change, named::remove))
        .routes(routes!(named::token))
        .routes(routes!(heartbeats::renew))
        .routes(routes!(history::history))
        .routes(routes!(events::events))
        .routes(routes!(updates::updates))
        .routes(routes!(permissions::permissions))
        .routes(routes!(reload::reload))
        .routes(routes!(resume::resume))
        .routes(routes!(probes::livez))
        .routes(routes!(probes::readyz))
        .split_for_parts();
    let mut templates: Vec<String> = description.paths.paths.keys().cloned().collect();
    templates.push(openapi::PATH.to_owned());
    (router.merge(openapi::route(description)), templates)
}
