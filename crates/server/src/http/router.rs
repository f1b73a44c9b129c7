//! Which path is whose.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderName, Method, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use tower::util::MapResponse;

use super::{app::App, classic, dashboard, first, origin::Guard, site, v1};

/// The header of every answer by which clients see that the server started with empty state.
pub const INSTANCE: HeaderName = HeaderName::from_static("throttle-instance");

/// The whole of HTTP as one service: every answer of the routes, marked with the id of this server's state, and
/// none for pages of other origins.
///
/// Both are done from outside the router: a layer would cost two allocations a request.
pub fn service(
    app: Arc<App>,
) -> MapResponse<Guard<Router>, impl FnOnce(Response) -> Response + Clone + Send + 'static> {
    let instance = app.instance.clone();
    let hosts = app.hosts.clone();
    MapResponse::new(Guard::new(router(app), hosts), move |mut response: Response| {
        response.headers_mut().insert(INSTANCE, instance);
        response
    })
}

/// All routes.
fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(dashboard::front))
        .route(dashboard::FILES, get(dashboard::file))
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
        .merge(v1::routes())
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(app)
}

async fn not_found(State(app): State<Arc<App>>, request: Request) -> Response {
    match request.uri().path() {
        path if is_v1(path) => v1::not_found(path),
        _ => site::not_found(&app, request.method()),
    }
}

async fn method_not_allowed(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    if is_v1(path) {
        return v1::method_not_allowed(method, path);
    }
    let hint = if method == Method::OPTIONS { " The header Allow lists those that are." } else { "" };
    let text = format!("The method {method} is not allowed on {path}.{hint}\n");
    (StatusCode::METHOD_NOT_ALLOWED, text).into_response()
}

fn is_v1(path: &str) -> bool {
    path.strip_prefix("/v1").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
