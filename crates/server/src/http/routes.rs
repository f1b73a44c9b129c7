//! The routes: one row each, with everything that others ask about a route. No code asks a path what it is.

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use axum::{
    body::{Body, HttpBody as _},
    extract::Request,
    handler,
    http::{
        HeaderValue, Method, StatusCode,
        header::{ALLOW, CONTENT_LENGTH},
    },
    response::{IntoResponse as _, Response},
};
use futures_util::future::BoxFuture;
use throttle_core::PeerId;
use utoipa::openapi::OpenApi;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouter},
    routes,
};

use super::{
    app::App,
    dashboard,
    extract::Params,
    site, v0_1, v0_2,
    v1::{self, cluster, events, heartbeats, history, locks, named, openapi, peers, permissions, probes},
};
use crate::{
    dialect::Dialect::{self, Site, V0_1, V0_2, V1},
    http::v1::{reload, resume, semaphores, session, updates},
    security::Right,
    telemetry::ShownPeer,
};

/// What has to be so before the answers of a route leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// Nothing: they say nothing about peers and locks, or wait for each of their parts themselves.
    Now,
    /// The server still led when the command ran, if the handler says so; else as below.
    Confirmed,
    /// Everything that they may tell of is flushed.
    Committed,
}

/// How much a request is to the log, and to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// Next to nothing: it is answered though the log is behind.
    Light,
    /// Nothing, but its answer may be long: one is made at a time, so that they hold up nobody else.
    Long,
    /// Something.
    Heavy,
}

/// A route.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) dialect: Dialect,
    /// Its name: in `/openapi.json`, if that describes it.
    pub(super) operation: &'static str,
    pub(super) waits: Waits,
    pub(super) weight: Weight,
    pub(super) right: Right,
    handler: fn(Request, Arc<App>) -> BoxFuture<'static, Response>,
    /// What it says of itself.
    description: Option<fn() -> UtoipaMethodRouter<Arc<App>>>,
}

impl Route {
    /// Whether it tells how the server is: whoever watches over it learns that, however much else comes from there.
    pub(super) fn is_probe(&self) -> bool {
        matches!(self.operation, "livez" | "readyz" | "health")
    }
}

/// Runs a handler, whatever it takes.
fn run<T, H>(handler: H, request: Request, app: Arc<App>) -> BoxFuture<'static, Response>
where
    H: handler::Handler<T, Arc<App>, Future = BoxFuture<'static, Response>>,
{
    handler.call(request, app)
}

macro_rules! table {
    (@description described $handler:path) => { Some(|| routes!($handler)) };
    (@description plain $handler:path) => { None };
    ($($method:ident $path:expr, $dialect:ident, $operation:literal, $waits:ident, $weight:ident, $right:ident,
        $kind:ident $handler:path;)+) => {
        /// All routes.
        pub(super) static TABLE: &[Route] = &[$(Route {
            method: Method::$method,
            path: $path,
            dialect: $dialect,
            operation: $operation,
            waits: Waits::$waits,
            weight: Weight::$weight,
            right: Right::$right,
            handler: |request, app| run($handler, request, app),
            description: table!(@description $kind $handler),
        },)+];
    };
}

#[rustfmt::skip]
table! {
    POST   "/v1/peers",                   V1, "create_peer",    Committed, Heavy, Acquire, described peers::create;
    GET    "/v1/peers",                   V1, "list_peers",     Committed, Long,  Any,    described peers::list;
    GET    "/v1/peers/{peer}",            V1, "get_peer",       Committed, Light, Any,    described peers::get;
    DELETE "/v1/peers/{peer}",            V1, "release_peer",   Committed, Heavy, Release, described peers::release;
    POST   "/v1/peers/{peer}/heartbeat",  V1, "heartbeat",      Confirmed, Light, Acquire, described peers::heartbeat;
    PUT    "/v1/peers/{peer}/locks",      V1, "acquire_locks",  Committed, Heavy, Acquire, described locks::acquire;
    DELETE "/v1/peers/{peer}/locks/{semaphore}", V1, "release_lock", Committed, Heavy, Release, described locks::release;
    POST   "/v1/peers/{peer}/release",    V1, "release_locks",  Committed, Heavy, Release, described locks::release_several;
    POST   "/v1/locks",                   V1, "acquire_with_new_peer", Committed, Heavy, Acquire, described locks::session;
    POST   "/v1/heartbeats",              V1, "renew_many",     Confirmed, Light, Acquire, described heartbeats::renew;
    GET    "/v1/semaphores",              V1, "list_semaphores", Committed, Long,  Read,   described semaphores::list;
    GET    "/v1/semaphores/{semaphore}",  V1, "get_semaphore",  Committed, Long,  Read,    described semaphores::get;
    PUT    "/v1/semaphores/{semaphore}",  V1, "set_semaphore",  Committed, Heavy, Operate, described semaphores::set;
    PATCH  "/v1/semaphores/{semaphore}",  V1, "change_semaphore", Committed, Heavy, Operate, described semaphores::change;
    DELETE "/v1/semaphores/{semaphore}",  V1, "remove_semaphore", Committed, Heavy, Operate, described semaphores::remove;
    GET    "/v1/semaphores/{semaphore}/tokens/{token}", V1, "check_token", Committed, Light, Read, described semaphores::token;
    GET    "/v1/semaphore",               V1, "get_semaphore_by_query", Committed, Long,  Read, described named::get;
    PUT    "/v1/semaphore",               V1, "set_semaphore_by_query", Committed, Heavy, Operate, described named::set;
    PATCH  "/v1/semaphore",               V1, "change_semaphore_by_query", Committed, Heavy, Operate, described named::change;
    DELETE "/v1/semaphore",               V1, "remove_semaphore_by_query", Committed, Heavy, Operate, described named::remove;
    GET    "/v1/token",                   V1, "check_token_by_query", Committed, Light, Read, described named::token;
    GET    "/v1/history",                 V1, "get_history",    Committed, Long,  Read,    described history::history;
    // Each part of a stream waits for itself.
    GET    "/v1/events",                  V1, "read_events",    Committed, Light, Any,    described events::events;
    GET    "/v1/updates",                 V1, "read_updates",   Committed, Light, Any,    described updates::updates;
    GET    "/v1/cluster",                 V1, "get_cluster",    Now,       Light, Read,    described cluster::status;
    GET    "/v1/permissions",             V1, "get_permissions", Committed, Light, Any,   described permissions::permissions;
    POST   "/v1/session",                 V1, "sign_in",        Now,       Light, None,    described session::sign_in;
    DELETE "/v1/session",                 V1, "sign_out",       Now,       Light, None,    described session::sign_out;
    POST   "/v1/reload",                  V1, "reload",         Committed, Heavy, Admin,   described reload::reload;
    POST   "/v1/resume",                  V1, "resume",         Committed, Heavy, Admin,   described resume::resume;
    GET    "/livez",                      Site, "livez",        Now, Light, None,          described probes::livez;
    GET    "/readyz",                     Site, "readyz",       Now, Light, None,          described probes::readyz;

    POST   "/new_peer",                   V0_2, "v0_2_new_peer",     Committed, Heavy, Acquire, plain v0_2::new_peer;
    GET    "/peers",                      V0_2, "v0_2_list_peers",   Committed, Long,  Any,    plain v0_2::list_peers;
    GET    "/peers/",                     V0_2, "v0_2_list_peers_2", Committed, Long,  Any,    plain v0_2::list_peers;
    PUT    "/peers/{peer}",               V0_2, "v0_2_heartbeat",    Confirmed, Light, Acquire, plain v0_2::heartbeat;
    DELETE "/peers/{peer}",               V0_2, "v0_2_release_peer", Committed, Heavy, Release, plain v0_2::release_peer;
    // A semaphore may be called like a route that other methods have here.
    GET    "/peers/{peer}/{semaphore}",   V0_2, "v0_2_is_acquired",  Committed, Light, Any,    plain v0_2::is_acquired;
    PUT    "/peers/{peer}/{semaphore}",   V0_2, "v0_2_acquire",      Committed, Heavy, Acquire, plain v0_2::acquire;
    DELETE "/peers/{peer}/{semaphore}",   V0_2, "v0_2_release_lock", Committed, Heavy, Release, plain v0_2::release_lock;
    POST   "/peers/{peer}/{semaphore}",   V0_1, "v0_1_block_until_acquired", Committed, Heavy, Acquire, plain v0_1::block_until_acquired;
    POST   "/restore",                    V0_2, "v0_2_restore",      Committed, Heavy, Acquire, plain v0_2::restore;
    GET    "/remainder",                  V0_2, "v0_2_remainder",    Committed, Light, Read,    plain v0_2::remainder;
    POST   "/remove_expired",             V0_2, "v0_2_remove_expired", Committed, Heavy, Any,  plain v0_2::remove_expired;
    POST   "/acquire",                    V0_1, "v0_1_acquire",      Committed, Heavy, Acquire, plain v0_1::acquire;

    GET    "/",                           Site, "dashboard",         Now, Light, None, plain dashboard::front;
    GET    dashboard::FILES,              Site, "dashboard_file",    Now, Light, None, plain dashboard::file;
    GET    "/health",                     Site, "health",            Now, Light, None, plain site::health;
    GET    "/version",                    Site, "version",           Now, Light, None, plain site::version;
    GET    "/favicon.ico",                Site, "favicon",           Now, Light, None, plain site::favicon;
    GET    openapi::PATH,                 Site, "openapi",           Now, Light, None, plain openapi::document;
    GET    "/metrics",                    Site, "metrics",           Now, Light, Read, plain site::metrics;
}

/// What a request is for.
#[derive(Clone, Copy)]
pub(super) struct Found {
    /// The route, if there is one.
    pub(super) route: Option<&'static Route>,
    /// All routes of its path.
    rows: Option<&'static Rows>,
    /// Whose words the answer has.
    pub(super) dialect: Dialect,
    params: Params,
}

impl Found {
    /// The template of the path, if anything is there.
    pub(super) fn template(&self) -> Option<&'static str> {
        self.rows?.template
    }

    /// The path of the request as logs and traces may tell it: of the id of a peer there are the last digits.
    pub(super) fn shown_path(&self, path: &str) -> String {
        let names_peer = self.template().is_some_and(|template| template.contains("{peer}"));
        let place = self.params.place(0).filter(|_| names_peer);
        let shown = place.and_then(|(start, end)| {
            let (before, after) = (path.get(..start)?, path.get(end..)?);
            let peer = path.get(start..end)?.parse().ok().map(|id| ShownPeer(PeerId(id)).to_string());
            Some(format!("{before}{}{after}", peer.as_deref().unwrap_or("..")))
        });
        shown.unwrap_or_else(|| path.to_owned())
    }

    /// Runs the handler of the route; or says what is wrong with the method or the path.
    pub(super) async fn answer(self, app: Arc<App>, mut request: Box<Request>) -> Response {
        let Some(route) = self.route else {
            let (method, path) = (request.method(), request.uri().path());
            return match self.rows.filter(|rows| rows.template.is_some()) {
                Some(rows) => rows.method_not_allowed(method, path, self.dialect),
                None if self.dialect == V1 => v1::not_found(path),
                None => site::not_found(&app, method, path),
            };
        };
        if !self.params.is_empty() {
            request.extensions_mut().insert(self.params);
        }
        let is_head = request.method() == Method::HEAD;
        let mut response = (route.handler)(*request, app).await;
        if is_head {
            let length = response.body().size_hint().exact().map(HeaderValue::from);
            *response.body_mut() = Body::empty();
            if let Some(length) = length {
                response.headers_mut().entry(CONTENT_LENGTH).or_insert(length);
            }
        }
        response
    }
}

/// Finds the rows.
static INDEX: LazyLock<matchit::Router<Rows>> = LazyLock::new(index);

/// What a request to `path` is for. HEAD is answered as GET is.
pub(super) fn find(method: &Method, path: &str) -> Found {
    let Ok(found) = INDEX.at(path) else {
        return Found { route: None, rows: None, dialect: Site, params: Params::default() };
    };
    let rows = found.value;
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let route = rows.routes.iter().find(|route| route.method == *method).copied();
    let dialect = route.map_or(rows.dialect, |route| route.dialect);
    Found { route, rows: Some(rows), dialect, params: Params::of(path, &found.params) }
}

/// Whether a request is answered though all connections are in use: it looks at what needs no right and waits for
/// nothing, as whether the server lives. To sign in is more than a look.
pub fn is_answered_when_full(method: &Method, path: &str) -> bool {
    let is_small = |route: &Route| route.right == Right::None && route.waits == Waits::Now;
    find(method, path).route.is_some_and(|route| route.method == Method::GET && is_small(route))
}

/// Every route: its method, its path, and the right that it needs.
pub fn rights() -> impl Iterator<Item = (&'static Method, &'static str, Right)> {
    TABLE.iter().map(|route| (&route.method, route.path, route.right))
}

/// Whether this is the path of a route at which callers just look.
pub fn is_for_looking(path: &str) -> bool {
    TABLE.iter().any(|route| route.path == path && route.method == Method::GET && route.right == Right::Read)
}

/// The rows of one path.
struct Rows {
    template: Option<&'static str>,
    dialect: Dialect,
    routes: Vec<&'static Route>,
}

impl Rows {
    fn method_not_allowed(&self, method: &Method, path: &str, dialect: Dialect) -> Response {
        let mut response = if dialect == V1 {
            v1::method_not_allowed(method, path)
        } else {
            let hint = if method == Method::OPTIONS { " The header Allow lists those that are." } else { "" };
            let text = format!("The method {method} is not allowed on {path}.{hint}\n");
            (StatusCode::METHOD_NOT_ALLOWED, text).into_response()
        };
        let mut allowed = Vec::new();
        for route in &self.routes {
            allowed.push(route.method.as_str());
            if route.method == Method::GET {
                allowed.push("HEAD");
            }
        }
        if let Ok(allowed) = HeaderValue::try_from(allowed.join(",")) {
            response.headers_mut().insert(ALLOW, allowed);
        }
        response
    }
}

/// All rows by their paths.
fn index() -> matchit::Router<Rows> {
    let mut paths = matchit::Router::new();
    // Nothing is there, and yet these words say so.
    for path in ["/v1", "/v1/", "/v1/{*rest}"] {
        let _ = paths.insert(path, Rows { template: None, dialect: V1, routes: Vec::new() });
    }
    for route in TABLE {
        if let Ok(rows) = paths.at_mut(route.path).map(|found| found.value)
            && rows.template == Some(route.path)
        {
            rows.routes.push(route);
            continue;
        }
        let (template, dialect) = (Some(route.path), route.dialect);
        // It accepts it, as a test makes sure.
        let _ = paths.insert(route.path, Rows { template, dialect, routes: vec![route] });
    }
    paths
}

/// What all routes say of themselves.
pub(super) fn description() -> OpenApi {
    let described = TABLE.iter().filter_map(|route| route.description);
    let router = OpenApiRouter::with_openapi(openapi::frame());
    described.fold(router, |router, description| router.routes(description())).into_openapi()
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({}; {:?})", self.method, self.path, self.operation, self.right)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_is_found_by_its_path_and_method() {
        for route in TABLE {
            let path =
                route.path.replace("{peer}", "7").replace("{semaphore}", "A%2Fb").replace("{token}", "1");
            let path = path.replace("{*path}", "app.js");
            let found = find(&route.method, &path).route.map(|found| found.operation);
            assert_eq!(found, Some(route.operation), "{route:?}");
        }
        let operations: BTreeSet<_> = TABLE.iter().map(|route| route.operation).collect();
        assert_eq!(operations.len(), TABLE.len(), "names are used once");
    }

    #[test]
    fn the_description_has_the_same_methods_paths_and_names() {
        let described = TABLE.iter().filter_map(|route| Some((route, route.description?().1)));
        for (route, paths) in described {
            let (path, item) = paths.paths.first_key_value().expect("a path");
            let operations = [
                (Method::GET, &item.get),
                (Method::PUT, &item.put),
                (Method::POST, &item.post),
                (Method::PATCH, &item.patch),
                (Method::DELETE, &item.delete),
            ];
            let mut found =
                operations.into_iter().filter_map(|(method, item)| Some((method, item.as_ref()?)));
            let (method, operation) = found.next().expect("an operation");
            assert_eq!((&method, path.as_str()), (&route.method, route.path));
            assert_eq!(operation.operation_id.as_deref(), Some(route.operation), "{route:?}");
        }
    }

    #[test]
    fn what_changes_nothing_is_light_and_what_probes_ask_waits_for_nothing() {
        for route in TABLE {
            if route.method == Method::GET {
                assert_ne!(route.weight, Weight::Heavy, "{route:?}");
            }
            if route.right == Right::Operate || route.right == Right::Admin {
                assert_eq!((route.waits, route.weight), (Waits::Committed, Weight::Heavy), "{route:?}");
            }
        }
    }

    #[test]
    fn a_full_server_is_looked_at_and_no_more() {
        for route in TABLE {
            let is_answered = is_answered_when_full(&route.method, &route.path.replace("{*path}", "app.js"));
            let is_look = route.method == Method::GET && route.right == Right::None;
            assert_eq!(is_answered, is_look, "{route:?}");
        }
        assert!(is_answered_when_full(&Method::HEAD, "/livez"));
        assert!(!is_answered_when_full(&Method::POST, "/livez"));
        let probes: Vec<_> = TABLE.iter().filter(|route| route.is_probe()).map(|route| route.path).collect();
        assert_eq!(probes, ["/livez", "/readyz", "/health"]);
    }

    #[test]
    fn whose_words_an_answer_has() {
        for (method, path, dialect) in [
            (Method::GET, "/v1", V1),
            (Method::GET, "/v1/", V1),
            (Method::GET, "/v1/nothing/here", V1),
            (Method::POST, "/v1/semaphores", V1),
            (Method::GET, "/v12", Site),
            (Method::POST, "/acquire", V0_1),
            (Method::GET, "/acquire", V0_1),
            (Method::POST, "/peers/7/block_until_acquired", V0_1),
            (Method::GET, "/peers/7/is_acquired", V0_2),
            (Method::PUT, "/peers/7/A", V0_2),
            (Method::HEAD, "/peers", V0_2),
            (Method::GET, "/", Site),
            (Method::GET, "*", Site),
            (Method::GET, "/openapi.json", Site),
        ] {
            assert_eq!(find(&method, path).dialect, dialect, "{method} {path}");
        }
    }
}
