//! The one place that every answer goes through: it leaves when all that it tells is safe.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::Request,
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
    routing::Router,
};
use throttle_api::Code;
use tower::Service as _;

use super::{
    app::App,
    classic::{text, try_again},
    origin::Guard,
    router::is_v1,
    v1::Problem,
};
use throttle_node::Condition;

/// What is asked to see how the server does, and answered whatever the disk does.
const PROBES: [&str; 5] = ["/livez", "/readyz", "/health", "/version", "/metrics"];

/// Marks an answer that tells of nothing that the journal is about.
#[derive(Clone, Copy)]
struct Open;

/// An answer that need not wait for the journal.
pub(super) fn open(mut response: Response) -> Response {
    response.extensions_mut().insert(Open);
    response
}

/// The answer to a heartbeat: it waits for the journal only if there is something to wait for.
pub(super) fn after(app: &App, condition: Condition, response: Response) -> Response {
    // Without a journal nothing waits, so nothing need be said.
    match condition {
        Condition::Now | Condition::Confirmed if app.engine.is_durable() => open(response),
        Condition::Now | Condition::Confirmed | Condition::Committed(_) => response,
    }
}

/// Has a request answered, and holds the answer back until all that it read and changed is safe.
pub(super) async fn answer(
    app: &Arc<App>,
    mut routes: Guard<Router>,
    request: Request,
) -> Result<Response, Infallible> {
    if !app.engine.is_durable() || PROBES.contains(&request.uri().path()) {
        return routes.call(request).await;
    }
    let is_v1 = is_v1(request.uri().path());
    if app.engine.is_behind() && !is_light(request.method(), request.uri().path()) {
        return Ok(refusal(is_v1, "The journal is behind; nothing was changed. Try again later."));
    }
    let response = routes.call(request).await?;
    if response.extensions().get::<Open>().is_some() {
        return Ok(response);
    }
    Ok(match app.engine.settled().await {
        Ok(()) => response,
        Err(_) => refusal(
            is_v1,
            "The journal cannot be written, so the server stops. Whether the request had an effect shows once it is \
             started again.",
        ),
    })
}

/// The answer while the server recovers what it knew.
pub(super) fn not_ready(path: &str) -> Response {
    const SENTENCE: &str = "The server is not ready yet: it reads its journal. Try again soon.";
    match path {
        "/livez" => text(StatusCode::OK, "Ok"),
        path => refusal(is_v1(path) || path == "/readyz", SENTENCE),
    }
}

/// Whether a request adds next to nothing to the journal: a look, or a heartbeat.
fn is_light(method: &Method, path: &str) -> bool {
    let is_one_peer = |rest: &str| !rest.contains('/');
    method.is_safe()
        || path.ends_with("/heartbeat")
        || path == "/v1/heartbeats"
        || method == Method::PUT && path.strip_prefix("/peers/").is_some_and(is_one_peer)
}

fn refusal(is_v1: bool, sentence: &'static str) -> Response {
    if is_v1 {
        return Problem::new(Code::Unavailable, sentence).into_response();
    }
    try_again(sentence)
}
