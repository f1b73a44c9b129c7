//! Which path is whose.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post, put},
};

use super::{app::App, classic, dashboard, first, site, v1};

/// All routes, and their templates.
pub(super) fn router(app: Arc<App>) -> (Router, Vec<String>) {
    let (mut router, mut templates) = v1::routes();
    for (template, methods) in older_routes() {
        router = router.route(template, methods);
        templates.push(template.to_owned());
    }
    let router = router.fallback(not_found).method_not_allowed_fallback(method_not_allowed).with_state(app);
    (router, templates)
}

fn older_routes() -> [(&'static str, MethodRouter<Arc<App>>); 15] {
    [
        ("/", get(dashboard::front)),
        (dashboard::FILES, get(dashboard::file)),
        ("/health", get(site::health)),
        ("/version", get(site::version)),
        ("/favicon.ico", get(site::favicon)),
        ("/metrics", get(site::metrics)),
        ("/new_peer", post(classic::new_peer)),
        ("/peers", get(classic::list_peers)),
        ("/peers/", get(classic::list_peers)),
        ("/peers/{peer}", put(classic::heartbeat).delete(classic::release_peer)),
        (
            "/peers/{peer}/{semaphore}",
            // A semaphore may be called like a route that other methods have here.
            get(classic::is_acquired)
                .post(first::block_until_acquired)
                .put(classic::acquire)
                .delete(classic::release_lock),
        ),
        ("/restore", post(classic::restore)),
        ("/remainder", get(classic::remainder)),
        ("/remove_expired", post(classic::remove_expired)),
        ("/acquire", post(first::acquire)),
    ]
}

async fn not_found(State(app): State<Arc<App>>, request: Request) -> Response {
    match request.uri().path() {
        path if is_v1(path) => v1::not_found(path),
        path => site::not_found(&app, request.method(), path),
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
