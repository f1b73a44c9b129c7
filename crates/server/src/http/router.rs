//! Which path is whose.

use std::sync::Arc;

use axum::{
    Router,
    extract::Request,
    http::{HeaderName, Method, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use tower::util::MapResponseLayer;

use super::{app::App, classic, first, site};

const INSTANCE: HeaderName = HeaderName::from_static("throttle-instance");

/// All routes.
pub fn router(app: Arc<App>) -> Router {
    let instance = app.instance.clone();
    Router::new()
        .route("/", get(site::greeting))
        .route("/health", get(site::health))
        .route("/version", get(site::version))
        .route("/favicon.ico", get(site::favicon))
        .route("/metrics", get(site::metrics))
        .route("/new_peer", post(classic::new_peer))
        .route("/peers", get(classic::list_peers))
        .route("/peers/", get(classic::list_peers))
        .route("/peers/{peer}", put(classic::heartbeat).delete(classic::release_peer))
        .route(
            "/peers/{peer}/{semaphore}",
            // A semaphore may be called like a route that other methods have here.
            get(classic::is_acquired)
                .post(first::block_until_acquired)
                .put(classic::acquire)
                .delete(classic::release_lock),
        )
        .route("/restore", post(classic::restore))
        .route("/remainder", get(classic::remainder))
        .route("/remove_expired", post(classic::remove_expired))
        .route("/acquire", post(first::acquire))
        .fallback(site::not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(MapResponseLayer::new(move |mut response: Response| {
            response.headers_mut().insert(INSTANCE, instance.clone());
            response
        }))
        .with_state(app)
}

async fn method_not_allowed(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let hint = if method == Method::OPTIONS { " The header Allow lists those that are." } else { "" };
    let text = format!("The method {method} is not allowed on {path}.{hint}\n");
    (StatusCode::METHOD_NOT_ALLOWED, text).into_response()
}
