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
    let Some((holding, wall)) = app.engine.holding() else {
        return Ok(text(StatusCode::OK, "Ok"));
    };
    let sentence = format!(
        "Ok. Until {} nothing is granted anew, so that peers can come back first; POST /v1/resume ends that.",
        convert::stamp(wall.at(holding.until))
    );
    Ok(text(StatusCode::OK, sentence))
}

#[cfg(test)]
mod tests {
    use axum::{http::HeaderValue, response::IntoResponse as _};
    use throttle_core::{Core, Settings};
    use throttle_node::{Bounds, Declared, Follower};

    use super::*;
    use crate::{
        config::{Config, Content, Limits, Loaded, Start},
        history::History,
        metrics::Metrics,
        reload::{Current, Reloader},
        runtime::{Engine, Parts},
    };

    #[tokio::test]
    async fn a_server_that_stops_is_not_ready() {
        let metrics = Metrics::new(100).unwrap();
        let limits = Limits::default();
        let bounds = Bounds { waits: 1, endings: 1, idempotency_keys: 1, events: limits.events };
        let follower = Follower::new(Core::new(Settings::default(), 1, 0));
        let observer = Box::new(metrics.recorder());
        let engine = Engine::new(Parts { follower, bounds, event_streams: 1, observer, log: None }).unwrap();
        let loaded = Loaded { config: Config::default(), content: Content::Missing };
        let current = Current::at_start(loaded, &Declared::new(), &Start::default());
        let reloader = Arc::new(Reloader::new(Start::default(), current, engine.clone()));
        let history = Arc::new(History::new(1, limits.history_step));
        let instance = HeaderValue::from_static("0");
        let app = App::new(engine, metrics, &Config::default(), instance, history, reloader);
        assert!(readyz(State(app.clone())).await.is_ok());
        app.engine.drain();
        let problem = readyz(State(app)).await.unwrap_err();
        assert_eq!(problem.into_response().status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
