//! What people, scripts and monitoring ask for: health, version, icon, metrics, and the page for
//! what is not there.

use std::{fmt::Display, sync::Arc, time::Duration};

use axum::{
    BoxError,
    body::Bytes,
    extract::State,
    http::{
        HeaderValue, Method, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{Html, IntoResponse, Response},
};

use tokio::time::Instant;

use super::{app::App, extract::Who, v0_2::text};
use crate::security::{Caller, Right};

const ICON: &[u8] = include_bytes!("favicon.ico");

/// From which size on, in bytes, and for how long a page of metrics is shared.
const PAGE_IS_SHARED_FROM: usize = 256 * 1024;
const PAGE_IS_SHARED_FOR: Duration = Duration::from_secs(1);

/// How deep a path may be for the page that says 404 to have links: those grow with the depth.
const DEEPEST: usize = 16;

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

pub(super) async fn metrics(State(app): State<Arc<App>>, Who(caller): Who) -> Response {
    let page = shared_page(app).await;
    page_of_metrics(page.map(|page| if caller.may_all(Right::Read) { page } else { visible(&page, &caller) }))
}

/// A page of metrics, or that there is none.
pub(super) fn page_of_metrics(page: Result<impl IntoResponse, impl Display>) -> Response {
    match page {
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

/// The page of metrics: made by one request at a time, beside the requests of others, and if it is large shared for a
/// second.
async fn shared_page(app: Arc<App>) -> Result<Bytes, BoxError> {
    let mut pages = app.metrics.pages().lock_owned().await;
    if let Some((page, made)) = &pages.last
        && made.elapsed() < PAGE_IS_SHARED_FOR
    {
        return Ok(page.clone());
    }
    // The task goes on if the client hangs up, so the next page waits for this one all the same.
    tokio::task::spawn_blocking(move || {
        pages.last = None;
        let page = Bytes::from(app.metrics.render(&pages, &app.engine)?);
        pages.last = (page.len() > PAGE_IS_SHARED_FROM).then(|| (page.clone(), Instant::now()));
        Ok(page)
    })
    .await?
}

/// The lines of a page that tell of no semaphore, or of one that the caller may look at.
fn visible(page: &[u8], caller: &Caller) -> Bytes {
    const LABEL: &str = "semaphore=\"";
    let is_visible = |line: &&str| {
        let Some((_, rest)) = line.split_once(LABEL).filter(|_| !line.starts_with('#')) else { return true };
        caller.may(Right::Read, &label_value(rest))
    };
    let lines = str::from_utf8(page).unwrap_or_default().lines().filter(is_visible);
    let mut visible = String::with_capacity(page.len());
    lines.for_each(|line| visible.extend([line, "\n"]));
    visible.into()
}

/// The value of a label, up to its closing quote, as Prometheus escapes it.
fn label_value(text: &str) -> String {
    let (mut value, mut letters) = (String::new(), text.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '"' => break,
            '\\' => value.push(match letters.next() {
                Some('n') => '\n',
                Some(other) => other,
                None => break,
            }),
            other => value.push(other),
        }
    }
    value
}

/// The answer where nothing is. `path` is the request's, or its route's template.
pub(super) fn not_found(app: &App, method: &Method, path: &str) -> Response {
    if method == Method::GET {
        app.metrics.num_404.inc();
    }
    (StatusCode::NOT_FOUND, Html(not_found_page(path))).into_response()
}

fn not_found_page(path: &str) -> String {
    let depth = path.matches('/').count().saturating_sub(1);
    let links = if depth <= DEEPEST {
        // Relative, as a proxy may serve all this below a path of which the server knows nothing.
        let root = format!("./{}", "../".repeat(depth));
        format!(" It has a <a href=\"{root}\">front page</a> and <a href=\"{root}metrics\">metrics</a>.")
    } else {
        String::new()
    };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Not found</title></head>\n\
         <body>\n<h1>404: nothing is here</h1>\n<p>This is a Throttle server.{links}</p>\n</body>\n</html>\n"
    )
}
