//! The one place that every answer goes through: it leaves when all that it tells is safe.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::Router,
};
use throttle_api::Code;
use tower::Service as _;

use super::{
    app::App,
    origin::Guard,
    routes::{Found, Waits, Weight},
    v0_2::{text, try_again},
    v1::Problem,
};
use crate::dialect::Dialect;
use throttle_node::Condition;

/// The place in the log that an answer waits for whose route waits for nothing as a rule.
#[derive(Clone, Copy)]
struct Commit(Condition);

/// Has an answer wait for what its command says, on a route whose answers need not wait otherwise.
pub(super) fn after(condition: Condition, mut response: Response) -> Response {
    match condition {
        Condition::Now | Condition::Confirmed => {}
        Condition::Committed(_) => drop(response.extensions_mut().insert(Commit(condition))),
    }
    response
}

/// Has a request answered, and holds the answer back until all that it read and changed is safe.
pub(super) async fn answer(
    app: &Arc<App>,
    mut routes: Guard<Router>,
    found: Found,
    request: Request,
) -> Result<Response, Infallible> {
    if !app.engine.is_durable() {
        return routes.call(request).await;
    }
    let (waits, weight) =
        found.route.map_or((Waits::Committed, Weight::Light), |route| (route.waits, route.weight));
    if weight == Weight::Heavy && app.engine.is_behind() {
        return Ok(refusal(found.dialect, "The journal is behind; nothing was changed. Try again later."));
    }
    let response = routes.call(request).await?;
    let flushed = match (waits, response.extensions().get::<Commit>()) {
        (Waits::Now, _) | (Waits::Confirmed, None) => Ok(()),
        (_, Some(&Commit(condition))) => app.engine.condition(condition).await,
        (Waits::Committed, None) => app.engine.settled().await,
    };
    Ok(match flushed {
        Ok(()) => response,
        Err(_) => refusal(
            found.dialect,
            "The journal cannot be written, so the server stops. Whether the request had an effect shows once it is \
             started again.",
        ),
    })
}

/// The answer while the server recovers what it knew.
pub(super) fn not_ready(found: Found) -> Response {
    const SENTENCE: &str = "The server is not ready yet: it reads its journal. Try again soon.";
    match found.route.map(|route| route.operation) {
        Some("livez") => text(StatusCode::OK, "Ok"),
        Some("readyz") => refusal(Dialect::V1, SENTENCE),
        _ => refusal(found.dialect, SENTENCE),
    }
}

fn refusal(dialect: Dialect, sentence: &'static str) -> Response {
    if dialect == Dialect::V1 {
        return Problem::new(Code::Unavailable, sentence).into_response();
    }
    try_again(sentence)
}
