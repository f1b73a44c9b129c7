//! The description of this dialect, OpenAPI 3.1.

use std::sync::LazyLock;

use axum::{
    body::Bytes,
    http::{HeaderValue, header::CONTENT_TYPE},
    response::IntoResponse,
};
use throttle_api::Problem;
use utoipa::{
    OpenApi as _, PartialSchema as _,
    openapi::{Header, OpenApi, RefOr, path::Operation},
};

use super::documented;
use crate::http::routes;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Throttle",
        description = "Semaphores for distributed systems.\n\nA *semaphore* has a name and a `max`. A *peer* is one \
                       thread of execution of a client; it lives while heartbeats renew its lease, and holds *locks*: \
                       counts on semaphores. What does not fit waits in line, first come, first served.\n\nTimes are \
                       RFC 3339 in UTC, durations are strings such as `1h 30m`, ids and tokens are strings of digits. \
                       Errors are `application/problem+json` (RFC 9457) with a stable `code`. A browser that sends a \
                       request for a page of another origin, or that reaches the server under a name that is not \
                       its own, is answered 403 on every route (`cross_origin`, `unknown_host`).",
        license(name = "MIT", identifier = "MIT"),
        contact()
    ),
    // Relative to where the description is, as a proxy may serve all this below a path.
    servers((url = ".")),
    tags(
        (name = documented::PEERS, description = "Those who hold and wait."),
        (name = documented::LOCKS, description = "What they hold and wait for."),
        (name = documented::SEMAPHORES, description = "What there is to hold."),
        (name = documented::SERVER, description = "The server itself.")
    ),
    components(schemas(Problem<'static>))
)]
struct Frame;

/// The description without any route.
pub(in crate::http) fn frame() -> OpenApi {
    let mut frame = Frame::openapi();
    frame.info.contact = None;
    frame
}

/// Where the description is.
pub(in crate::http) const PATH: &str = "/openapi.json";

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
    let mut description = routes::description();
    for item in description.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete];
        operations.into_iter().flatten().for_each(add_instance);
    }
    // A description of strings and numbers can always be written.
    description.to_pretty_json().unwrap_or_default().into()
});

/// `GET /openapi.json`: the description.
pub(in crate::http) async fn document() -> impl IntoResponse {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], DOCUMENT.clone())
}

/// Describes the header that every answer has.
fn add_instance(operation: &mut Operation) {
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            let mut instance = Header::new(String::schema());
            instance.description = Some("Changes when the server starts with empty state.".to_owned());
            response.headers.insert("Throttle-Instance".to_owned(), instance.into());
        }
    }
}
