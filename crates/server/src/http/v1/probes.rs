//! Whether the server lives, and whether it is ready for requests.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use throttle_api::Code;

use super::{
    convert, documented,
    problem::{Answer, Problem},
};
use crate::http::{App, v0_2::text};

/// Tells that the process lives.
#[utoipa::path(
    get,
    path = "/livez",
    tag = documented::SERVER,
    responses((status = 200, body = String, content_type = "text/plain", description = "It lives."))
)]
pub(in crate::http) async fn livez() -> Response {
    text(StatusCode::OK, "Ok")
}

/// Tells whether requests are welcome: not while the server reads its journal or is about to stop.
///
/// While nothing is granted anew so that peers can come back first, they are, and the answer says so.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = documented::SERVER,
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "They are."),
        documented::Ready
    )
)]
pub(in crate::http) async fn readyz(State(app): State<Arc<App>>) -> Answer {
    if app.engine.is_draining() {
        return Err(Problem::new(
            Code::Unavailable,
            "The server is about to stop. Ask another one, or try again.",
        ));
    }
    let mut sentence = "Ok".to_owned();
    if app.guard.is_exposed() {
        sentence += ". The server is open: whoever reaches it may do everything";
    }
    let Some((holding, wall)) = app.engine.holding() else {
        return Ok(text(StatusCode::OK, sentence));
    };
    let sentence = format!(
        "{sentence}. Until {} nothing is granted anew, so that peers can come back first; POST /v1/resume ends that.",
        convert::stamp(wall.at(holding.until))
    );
    Ok(text(StatusCode::OK, sentence))
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;
    use crate::{config::Config, serve::in_memory};

    #[tokio::test]
    async fn a_server_that_stops_is_not_ready() {
        let (_, app) = in_memory(Config::default()).unwrap();
        assert!(readyz(State(app.clone())).await.is_ok());
        app.engine.drain();
        let problem = readyz(State(app)).await.unwrap_err();
        assert_eq!(problem.into_response().status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
