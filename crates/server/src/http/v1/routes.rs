//! Which path of this dialect is whose.

use std::sync::Arc;

use axum::{
    Router,
    routing::{delete, get, post, put},
};

use super::{locks, peers, probes, semaphores};
use crate::http::App;

/// All routes of this dialect.
pub(in crate::http) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/peers", post(peers::create).get(peers::list))
        .route("/v1/peers/{peer}", get(peers::get).delete(peers::release))
        .route("/v1/peers/{peer}/heartbeat", post(peers::heartbeat))
        .route("/v1/peers/{peer}/locks", put(locks::acquire))
        .route("/v1/peers/{peer}/locks/{semaphore}", delete(locks::release))
        .route("/v1/locks", post(locks::session))
        .route("/v1/semaphores", get(semaphores::list))
        .route(
            "/v1/semaphores/{semaphore}",
            get(semaphores::get).put(semaphores::set).patch(semaphores::change).delete(semaphores::remove),
        )
        .route("/v1/semaphores/{semaphore}/tokens/{token}", get(semaphores::token))
        .route("/livez", get(probes::livez))
        .route("/readyz", get(probes::readyz))
}
