//! What HTTP forbids and the parser lets through.

use axum::{
    http::{
        HeaderValue, Request, StatusCode, Version,
        header::{CONNECTION, EXPECT, HOST},
    },
    response::Response,
};

use super::v0_2::text;

/// Why a request is refused before anybody looks at what it asks for. Who sent it may mean another one than whoever
/// passed it on, so the connection ends.
pub(super) fn refusal<B>(request: &Request<B>) -> Option<Response> {
    let headers = request.headers();
    let mut hosts = headers.get_all(HOST).iter();
    let is_lacking = hosts.next().is_none() && request.version() >= Version::HTTP_11;
    let is_ambiguous = hosts.next().is_some();
    let mut expected = headers.contains_key(EXPECT).then(|| headers.get_all(EXPECT)).into_iter().flatten();
    let expects_more = expected.any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let (status, sentence) = if is_lacking {
        (StatusCode::BAD_REQUEST, "The request has no Host. HTTP/1.1 wants one, such as Host: localhost.")
    } else if is_ambiguous {
        (StatusCode::BAD_REQUEST, "The request has more than one Host. HTTP allows one.")
    } else if expects_more {
        (
            StatusCode::EXPECTATION_FAILED,
            "The request expects what this server does not do. It knows Expect: 100-continue.",
        )
    } else {
        return None;
    };
    let mut response = text(status, sentence);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Some(response)
}
