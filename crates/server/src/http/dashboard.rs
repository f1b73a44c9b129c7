//! The dashboard: its page at `/`, and its files, which are part of the binary.
//!
//! The files are served below a path with their fingerprint in it, so that browsers keep them for ever and never
//! mix two versions; the page itself is asked for anew each time. All addresses are relative to the page's own, as a
//! proxy may serve it below a path.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, LazyLock},
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri,
        header::{
            ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
            REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{Html, IntoResponse as _, Response},
};

use super::{
    app::App,
    extract::{self, PathOf},
    site,
    v0_2::text,
    v1::Problem,
};

/// The path below which the files are.
pub(super) const FILES: &str = "/dashboard/{fingerprint}/{*file}";

/// Nothing but what this server gives, no inline code or style, and no page around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types lit-html";

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../dashboard/", $name)))),+]
    };
}

/// Every file of the folder `dashboard` beside `src` that browsers get. The page itself is the first.
const EMBEDDED: &[(&str, &[u8])] = files![
    "index.html",
    "api.js",
    "app.js",
    "cluster.js",
    "draw.js",
    "findings.js",
    "format.js",
    "live.js",
    "may.js",
    "memory.js",
    "pages/about.js",
    "pages/cluster.js",
    "pages/events.js",
    "pages/peer.js",
    "pages/peers.js",
    "pages/semaphore.js",
    "pages/semaphores.js",
    "pages/sign-in.js",
    "parts/bar.js",
    "parts/chart.js",
    "parts/declare.js",
    "parts/dialog.js",
    "parts/events.js",
    "parts/pager.js",
    "parts/peer.js",
    "parts/rows.js",
    "parts/sparkline.js",
    "parts/spotlight.js",
    "people.js",
    "refetch.js",
    "server.js",
    "store.js",
    "style/base.css",
    "style/pages.css",
    "vendor/lit-html/LICENSE",
    "vendor/lit-html/directive-helpers.js",
    "vendor/lit-html/directive.js",
    "vendor/lit-html/directives/repeat.js",
    "vendor/lit-html/lit-html.js",
    "vendor/uplot/LICENSE",
    "vendor/uplot/uplot.css",
    "vendor/uplot/uplot.js",
    "words.js",
];

static DASHBOARD: LazyLock<Dashboard> = LazyLock::new(Dashboard::new);

struct Dashboard {
    page: Bytes,
    fingerprint: String,
    files: HashMap<&'static str, &'static [u8]>,
}

impl Dashboard {
    fn new() -> Self {
        let mut hasher = DefaultHasher::new();
        EMBEDDED.hash(&mut hasher);
        let fingerprint = format!("{:016x}", hasher.finish());
        let files: HashMap<_, _> = EMBEDDED.iter().copied().collect();
        let page = files.get("index.html").copied().unwrap_or_default();
        let page = String::from_utf8_lossy(page).replace("FILES", &format!("dashboard/{fingerprint}"));
        Self { page: page.into(), fingerprint, files }
    }
}

/// Whether the client wants to see a page rather than a text.
pub(super) fn is_wanted(accept: Option<&HeaderValue>) -> bool {
    accept.and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/html"))
}

/// Whether a request only reads one of the files. They are the same for everybody.
pub(super) fn is_file(method: &Method, path: &str) -> bool {
    matches!(*method, Method::GET | Method::HEAD) && path.starts_with("/dashboard/")
}

/// `/`: the dashboard for browsers, a greeting for others.
pub(super) async fn front(headers: HeaderMap) -> Response {
    if is_wanted(headers.get(ACCEPT)) {
        return page(&headers);
    }
    let mut response = text(StatusCode::OK, "Hello from Throttle!");
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    response
}

fn page(headers: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", DASHBOARD.fingerprint);
    let is_known = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|tags| tags.to_str().ok())
        .any(|tags| tags.contains(&tag));
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Html(DASHBOARD.page.clone()).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("accept"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(ETAG, tag);
    }
    harden(headers);
    response
}

/// A file of the dashboard.
pub(super) async fn file(
    State(app): State<Arc<App>>,
    method: Method,
    uri: Uri,
    path: PathOf<(String, String)>,
) -> Response {
    let (fingerprint, name) = extract::path(path).unwrap_or_default();
    embedded(&fingerprint, &name).unwrap_or_else(|| site::not_found(&app, &method, uri.path()))
}

/// What a request gets of the dashboard: its page, if it is a browser's, or a file of this release.
pub(super) fn part(request: &Request) -> Option<Response> {
    match request.uri().path().strip_prefix("/dashboard/") {
        Some(path) => path.split_once('/').and_then(|(fingerprint, name)| embedded(fingerprint, name)),
        None => is_wanted(request.headers().get(ACCEPT)).then(|| page(request.headers())),
    }
}

fn embedded(fingerprint: &str, name: &str) -> Option<Response> {
    let bytes = DASHBOARD.files.get(name).filter(|_| fingerprint == DASHBOARD.fingerprint)?;
    let mut response = Response::new(Body::from(Bytes::from_static(bytes)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(type_of(name)));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    harden(headers);
    Some(response)
}

/// A page that says why there is none, and which setting changes that.
pub(super) fn refusal(problem: &Problem, setting: Option<&str>) -> Response {
    let detail = escaped(problem.detail());
    let setting = setting.map(|setting| format!("<pre>{}</pre>\n", escaped(setting))).unwrap_or_default();
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Throttle: refused</title></head>\n\
         <body>\n<h1>Throttle does not open here</h1>\n<p>{detail}</p>\n{setting}</body>\n</html>\n"
    );
    let mut response = (StatusCode::FORBIDDEN, Html(page)).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    harden(response.headers_mut());
    response
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// What keeps the page to itself.
fn harden(headers: &mut HeaderMap) {
    let same_origin = HeaderValue::from_static("same-origin");
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), same_origin.clone());
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), same_origin);
}

fn type_of(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn names_below(folder: &Path, prefix: &str, names: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                names_below(&entry.path(), &format!("{name}/"), names);
            } else if entry.path().extension().is_none_or(|extension| extension != "md") {
                names.push(name);
            }
        }
    }

    #[test]
    fn every_file_of_the_folder_is_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboard");
        let mut names = Vec::new();
        names_below(&folder, "", &mut names);
        names.sort_unstable();
        let mut embedded: Vec<_> = EMBEDDED.iter().map(|(name, _)| (*name).to_owned()).collect();
        embedded.sort_unstable();
        assert_eq!(embedded, names);
    }

    #[test]
    fn no_address_begins_at_the_root_of_the_host() {
        for (name, bytes) in EMBEDDED.iter().filter(|(name, _)| !name.starts_with("vendor/")) {
            let text = std::str::from_utf8(bytes).unwrap();
            for (number, line) in text.lines().enumerate() {
                let mut quoted = ['"', '\'', '`'].into_iter().flat_map(|quote| line.split(quote).skip(1));
                let is_absolute = |part: &str| {
                    part.strip_prefix('/').is_some_and(|rest| rest.starts_with(char::is_alphanumeric))
                };
                assert!(!quoted.any(is_absolute), "{name}:{}: {line}", number + 1);
            }
        }
    }

    #[test]
    fn the_page_names_only_files_that_there_are() {
        let page = std::str::from_utf8(&DASHBOARD.page).unwrap();
        let start = format!("\"dashboard/{}/", DASHBOARD.fingerprint);
        let named: Vec<_> = page.split(&start).skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(named.len() > 2);
        for name in named {
            assert!(DASHBOARD.files.contains_key(name), "{name}");
        }
    }
}
