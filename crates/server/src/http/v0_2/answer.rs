//! Refusals in the words of this dialect. Clients compare some of them to the letter.

use axum::{
    Json,
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use throttle_core::PeerId;

use crate::http::refusal::{Refusal, TellsNothing, circle};

/// An answer of this dialect, or a refusal that turns into one.
pub(in crate::http) type Answer = Result<Response, Refusal>;

/// How long a client that met a limit is asked to wait before it tries again, in seconds.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// A plain text answer.
pub(in crate::http) fn text(status: StatusCode, text: impl Into<axum::body::Body>) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

/// A refusal that says that another try makes sense.
pub(in crate::http) fn try_again(sentence: impl Into<axum::body::Body>) -> Response {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, sentence);
    response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    response
}

/// The id of a peer: a bare JSON integer.
pub(in crate::http) fn peer(status: StatusCode, peer: PeerId) -> Response {
    (status, Json(peer.0)).into_response()
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Invalid(sentence) => text(StatusCode::BAD_REQUEST, sentence),
            Self::NotJson => text(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body must be JSON and say so: set the header Content-Type to application/json.",
            ),
            Self::TooLarge(max) => text(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("The body is too large: at most {max} bytes are read here."),
            ),
            Self::TooSlow => {
                text(StatusCode::REQUEST_TIMEOUT, "The body of the request did not arrive in time.")
            }
            Self::UnknownPeer => text(StatusCode::BAD_REQUEST, "Unknown peer"),
            Self::UnknownSemaphore(_) => text(StatusCode::BAD_REQUEST, "Unknown semaphore"),
            Self::ExceedsMax { semaphore, count, max } => text(
                StatusCode::CONFLICT,
                format!(
                    "Lock can never be acquired. It would block forever: the count is {count}, but the full count \
                     of semaphore {semaphore:?} is {max}."
                ),
            ),
            Self::Hierarchy { semaphore, level, held } => text(
                StatusCode::CONFLICT,
                format!(
                    "Lock hierarchy violation: a lock of level {held} is held, so only lower levels can be asked \
                     for (or the same lock with the same or a smaller count), but semaphore {semaphore:?} has \
                     level {level}."
                ),
            ),
            Self::AlreadyPending => text(
                StatusCode::CONFLICT,
                "The peer already waits for another lock. Ask for that one again, or release it first.",
            ),
            Self::Deadlock(chain) => text(
                StatusCode::CONFLICT,
                format!(
                    "Deadlock: the request would wait for ever. {}. Release first what is held.",
                    circle(&chain)
                ),
            ),
            Self::RestoreConflict(sentence) => text(StatusCode::CONFLICT, sentence),
            Self::Forbidden(forbidden) => text(StatusCode::FORBIDDEN, format!("Not allowed: {forbidden}")),
            Self::Behind(sentence) => {
                let mut response = try_again(sentence);
                response.extensions_mut().insert(TellsNothing);
                response
            }
            // The old clients try again after a 503; a 429 would be fatal to them.
            Self::Limit { sentence, excess } => {
                let mut response =
                    try_again(format!("The server is at a limit: {sentence}. Try again later."));
                excess.map(|excess| response.extensions_mut().insert(excess));
                response
            }
        }
    }
}
