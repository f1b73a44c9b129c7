//! Which path of this dialect is whose.

use std::sync::Arc;

use axum::{
    Router,
    routing::{delete, get, post, put},
};

use super::{events, heartbeats, locks, peers};
use crate::http::App;

/// All routes of this dialect.
pub(in crate::http) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/peers", post(peers::create))
        .route("/v1/peers/{peer}", get(peers::get).delete(peers::release))
        .route("/v1/peers/{peer}/heartbeat", post(peers::heartbeat))
        .route("/v1/peers/{peer}/locks", put(locks::acquire))
        .route("/v1/peers/{peer}/locks/{semaphore}", delete(locks::release))
        .route("/v1/locks", post(locks::session))
        .route("/v1/heartbeats", post(heartbeats::renew))
        .route("/v1/events", get(events::events))
}
