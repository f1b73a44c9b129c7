//! What people, scripts and monitoring ask for: health, version, icon, metrics, and the page for
//! what is not there.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{
        HeaderValue, Method, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{Html, IntoResponse, Response},
};

use super::{app::App, classic::text};

const ICON: &[u8] = include_bytes!("favicon.ico");

const NOT_FOUND: &str = "<!DOCTYPE html>
<html lang=\"en\">
<head><meta charset=\"utf-8\"><title>Not found</title></head>
<body>
<h1>404: nothing is here</h1>
<p>This is a Throttle server. <a href=\"/\">Its front page</a> is at <code>/</code>, its metrics are at
<a href=\"/metrics\"><code>/metrics</code></a>.</p>
</body>
</html>
";

pub(super) async fn health() -> Response {
    text(StatusCode::OK, "Ok")
}

pub(super) async fn version() -> Response {
    text(StatusCode::OK, env!("CARGO_PKG_VERSION"))
}

pub(super) async fn favicon() -> impl IntoResponse {
    let day = HeaderValue::from_static("max-age=86400");
    ([(CONTENT_TYPE, HeaderValue::from_static("image/x-icon")), (CACHE_CONTROL, day)], ICON)
}

pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    match app.metrics.render(&app.engine) {
        Ok(page) => {
            let format = HeaderValue::from_static(prometheus::TEXT_FORMAT);
            ([(CONTENT_TYPE, format)], page).into_response()
        }
        Err(error) => {
            tracing::error!("The metrics could not be written: {error}");
            text(StatusCode::INTERNAL_SERVER_ERROR, "The metrics could not be written; the log says why.")
        }
    }
}

pub(super) fn not_found(app: &App, method: &Method) -> Response {
    if method == Method::GET {
        app.metrics.num_404.inc();
    }
    (StatusCode::NOT_FOUND, Html(NOT_FOUND)).into_response()
}
