//! Which path is whose.

use std::{
    convert::Infallible,
    sync::{Arc, OnceLock},
};

use axum::{
    BoxError, Router,
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use hyper::service::{Service, service_fn};

use super::{app::App, classic, first, gate, site, v1};

/// The header of every answer by which clients see that the server started with empty state.
pub const INSTANCE: HeaderName = HeaderName::from_static("throttle-instance");

/// What is served: at first only the word that the server is not ready yet, then everything.
#[derive(Clone, Default)]
pub struct Stage(Arc<OnceLock<(Arc<App>, Router)>>);

impl Stage {
    /// From now on everything is served.
    pub fn open(&self, app: Arc<App>) {
        let router = router(app.clone());
        // It opens once.
        let _ = self.0.set((app, router));
    }
}

/// The whole of HTTP as one service: every answer of the routes, marked with the id of this server's state.
///
/// The mark is put on from outside the router: a layer would cost two allocations a request.
pub fn service<B>(
    stage: Stage,
    instance: HeaderValue,
) -> impl Service<Request<B>, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    service_fn(move |request: Request<B>| {
        let (stage, instance) = (stage.clone(), instance.clone());
        async move {
            let mut response = match stage.0.get() {
                Some((app, router)) => gate::answer(app, router.clone(), request.map(Body::new)).await?,
                None => gate::not_ready(request.uri().path()),
            };
            response.headers_mut().insert(INSTANCE, instance);
            Ok(response)
        }
    })
}

/// All routes.
fn router(app: Arc<App>) -> Router {
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

pub(super) fn is_v1(path: &str) -> bool {
    path.strip_prefix("/v1").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
