//! Refusals as RFC 9457 describes them.

use std::sync::Arc;

use axum::{
    http::{
        HeaderValue, Method, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use throttle_api::{self as api, Cause, Code};
use throttle_core::{EndCause, PeerId};
use throttle_node::Ending;

use super::convert;
use crate::{
    http::refusal::{Refusal, TellsNothing, circle},
    runtime::Engine,
    security::{Caller, Excess, Forbidden, Right},
};

/// An answer of this dialect, or a refusal that turns into one.
pub(in crate::http) type Answer = Result<Response, Problem>;

/// How long a client that met a limit is asked to wait before it tries again, in seconds.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// A refusal on its way to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http) struct Problem {
    code: Code,
    detail: String,
    /// How what is gone ended.
    ending: Option<(Cause, Option<Arc<str>>)>,
    /// What the caller has too much of, if that is why.
    excess: Option<Excess>,
    /// It tells nothing of what happened.
    tells_nothing: bool,
}

impl Problem {
    pub(in crate::http) fn new(code: Code, detail: impl Into<String>) -> Self {
        let ending = matches!(code, Code::PeerGone | Code::TokenGone).then_some((Cause::Unknown, None));
        Self { code, detail: detail.into(), ending, excess: None, tells_nothing: false }
    }

    /// The refusal of whoever has too much of something.
    pub(in crate::http) fn limit(detail: String, excess: Option<Excess>) -> Self {
        Self { excess, ..Self::new(Code::LimitReached, detail) }
    }

    /// The refusal of what is gone.
    fn gone(code: Code, ending: &Ending, detail: String) -> Self {
        let cause = match ending.cause {
            EndCause::Expired => Cause::Expired,
            EndCause::Released | EndCause::ExceedsMax => Cause::Released,
            EndCause::Operator | EndCause::Removed => Cause::Operator,
        };
        Self { ending: Some((cause, ending.reason.clone())), ..Self::new(code, detail) }
    }

    /// What kind of refusal it is.
    pub(in crate::http) fn code(&self) -> Code {
        self.code
    }

    /// What was wrong, and what would be right.
    pub(in crate::http) fn detail(&self) -> &str {
        &self.detail
    }

    pub(super) fn body(&self) -> api::Problem<'_> {
        let problem = api::Problem::new(self.code, &*self.detail);
        match &self.ending {
            Some((cause, reason)) => problem.with_ending(*cause, reason.as_deref()),
            None => problem,
        }
    }

    /// The status that the answer has.
    pub(super) fn status(&self) -> StatusCode {
        // Each code has one that is valid.
        StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The same refusal, with what the engine knows about what the request named.
    pub(in crate::http) fn explained(
        engine: &Engine,
        caller: &Caller,
        peer: Option<PeerId>,
        refusal: impl Into<Refusal>,
    ) -> Self {
        match (refusal.into().told_to(caller), peer) {
            (Refusal::UnknownPeer, Some(peer)) => {
                Self::peer_gone(peer, engine.ending(peer.by(caller.by())).as_ref())
            }
            (Refusal::UnknownSemaphore(name), _) => {
                let near = engine.suggestions(&name, |near| caller.may(Right::Read, near));
                Self::unknown_semaphore(&name, &near)
            }
            (refusal, _) => refusal.into(),
        }
    }

    fn unknown_semaphore(name: &str, near: &[String]) -> Self {
        let advice = if near.is_empty() {
            "GET /v1/semaphores lists those that there are.".to_owned()
        } else {
            format!("Known names that are near: {}.", near.join(", "))
        };
        Self::new(Code::UnknownSemaphore, format!("No semaphore is called {name:?}. {advice}"))
    }

    fn peer_gone(peer: PeerId, ending: Option<&Ending>) -> Self {
        let Some(ending) = ending else { return Self::peer_unknown(&peer.to_string()) };
        let how = how_it_ended(ending);
        let detail =
            format!("Peer {peer} {how}. It holds nothing any more. Make a new one with POST /v1/peers.");
        Self::gone(Code::PeerGone, ending, detail)
    }

    /// About a token of a semaphore that is not live.
    pub(super) fn token_gone(semaphore: &str, token: &str, ending: Option<&Ending>) -> Self {
        let Some(ending) = ending else {
            let detail = format!(
                "No live lock on semaphore {semaphore:?} has the token {token}: it ended some time ago, or it was \
                 never given. Refuse what comes with it."
            );
            return Self::new(Code::TokenGone, detail);
        };
        let how = how_it_ended(ending);
        let detail = format!("The lock with the token {token} {how}. Refuse what comes with it.");
        Self::gone(Code::TokenGone, ending, detail)
    }

    /// About a peer of which nothing is known.
    pub(super) fn peer_unknown(id: &str) -> Self {
        let detail = format!(
            "Peer {id} is unknown: it expired or was released some time ago, or it never existed on this server. \
             Make a new one with POST /v1/peers."
        );
        Self::new(Code::PeerGone, detail)
    }
}

/// In words.
fn how_it_ended(Ending { cause, reason, at }: &Ending) -> String {
    let at = convert::stamp(*at);
    match cause {
        EndCause::Expired => format!("expired at {at}: no heartbeat came in time"),
        EndCause::Released | EndCause::ExceedsMax => format!("was released at {at}"),
        EndCause::Removed => format!("ended at {at}, when an operator removed its semaphore"),
        EndCause::Operator => {
            let reason = reason.as_deref().unwrap_or("no reason was given");
            format!("was released by an operator at {at}: {reason}")
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid(sentence) => Self::new(Code::InvalidRequest, sentence),
            Refusal::NotJson => Self::new(
                Code::UnsupportedMediaType,
                "The body must be JSON and say so: set the header Content-Type to application/json.",
            ),
            Refusal::TooLarge(max) => {
                let detail = format!("The body is too large: at most {max} bytes are read here.");
                Self::new(Code::TooLarge, detail)
            }
            Refusal::TooSlow => {
                Self::new(Code::RequestTimeout, "The body of the request did not arrive in time.")
            }
            Refusal::UnknownPeer => {
                Self::new(Code::PeerGone, "The peer is gone. Make a new one with POST /v1/peers.")
            }
            Refusal::UnknownSemaphore(name) => Self::unknown_semaphore(&name, &[]),
            Refusal::ExceedsMax { semaphore, count, max } => Self::new(
                Code::CountExceedsMax,
                format!(
                    "A count of {count} on semaphore {semaphore:?} can never be granted, as its max is {max}. Ask \
                     for at most {max}, or raise its max first."
                ),
            ),
            Refusal::Hierarchy { semaphore, level, held } => Self::new(
                Code::HierarchyViolation,
                format!(
                    "A lock of level {held} is held, so only lower levels can be asked for (or the same lock with \
                     the same or a smaller count), but semaphore {semaphore:?} has level {level}. Release first \
                     what is held, or ask for all of it in one request."
                ),
            ),
            Refusal::AlreadyPending => Self::new(
                Code::AlreadyPending,
                "The peer already waits for other locks. Ask for just those again, or release them first.",
            ),
            Refusal::Deadlock(chain) => Self::new(
                Code::Deadlock,
                format!(
                    "The request would wait for ever: {}. Release what is held, and ask for all of it in one request.",
                    circle(&chain)
                ),
            ),
            Refusal::RestoreConflict(sentence) => Self::new(Code::RestoreConflict, sentence),
            Refusal::Forbidden(forbidden) => forbidden.into(),
            Refusal::Behind(sentence) => {
                Self { tells_nothing: true, ..Self::new(Code::Unavailable, sentence) }
            }
            Refusal::Limit { sentence, excess } => {
                Self::limit(format!("The server is at a limit: {sentence}. Try again later."), excess)
            }
        }
    }
}

impl From<Forbidden> for Problem {
    fn from(forbidden: Forbidden) -> Self {
        Self::new(Code::Forbidden, forbidden.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // A body of strings and numbers can always be written.
        let body = serde_json::to_vec(&self.body()).unwrap_or_default();
        let mut response = Response::new(body.into());
        *response.status_mut() = self.status();
        // For those who tell of it.
        response.extensions_mut().insert(self.code);
        if self.tells_nothing {
            response.extensions_mut().insert(TellsNothing);
        }
        self.excess.map(|excess| response.extensions_mut().insert(excess));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.code.asks_to_retry() {
            headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        response
    }
}

/// The answer on a path below `/v1` that is no route.
pub(in crate::http) fn not_found(path: &str) -> Response {
    let detail = format!("There is no route {path:?}. GET /openapi.json describes those that there are.");
    Problem::new(Code::NotFound, detail).into_response()
}

/// The answer on a route of `/v1` to a method that it does not have. The router adds `Allow`.
pub(in crate::http) fn method_not_allowed(method: &Method, path: &str) -> Response {
    let detail =
        format!("The method {method} is not allowed on {path:?}. The header Allow lists those that are.");
    Problem::new(Code::MethodNotAllowed, detail).into_response()
}
