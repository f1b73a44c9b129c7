//! Reading requests: every mistake in one becomes a sentence that says what would be right.

use std::{
    borrow::Cow, collections::BTreeMap, convert::Infallible, ops::RangeInclusive, str::FromStr, sync::Arc,
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{FromRequestParts, Query, Request},
    http::{HeaderMap, header::CONTENT_TYPE, request::Parts},
};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use throttle_core::PeerId;

use super::{app::App, refusal::Refusal};
use crate::{
    bound, net,
    security::{Asker, Caller, Forbidden, Right},
};

/// The JSON body of a request. `example` shows a right one.
pub(super) async fn json<T: DeserializeOwned>(
    app: &App,
    request: Request,
    example: &str,
) -> Result<T, Refusal> {
    let (parts, body) = request.into_parts();
    json_of(app, &parts.headers, body, example).await
}

/// The JSON body of a request that is taken apart already.
pub(super) async fn json_of<T: DeserializeOwned>(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    example: &str,
) -> Result<T, Refusal> {
    let body = bytes_of(app, body).await?;
    check_json(headers)?;
    parse(&body, example)
}

/// The body of a request, as it came.
pub(super) async fn bytes_of(app: &App, body: Body) -> Result<Bytes, Refusal> {
    bytes_up_to(app, body, app.body_bytes_max).await
}

/// The body of a request to a route with a limit of its own, as it came.
pub(super) async fn bytes_up_to(app: &App, body: Body, limit: usize) -> Result<Bytes, Refusal> {
    Ok(net::read_body(body, limit, app.body_timeout).await?)
}

/// Whether the body is declared to be JSON.
pub(super) fn check_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if content_type.is_some_and(is_json) { Ok(()) } else { Err(Refusal::NotJson) }
}

/// What a body says. `example` shows a right one.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8], example: &str) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        Refusal::Invalid(format!("The body is not what it should be: {error}. Expected: {example}"))
    })
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
        || (essence.len() > 5
            && essence.is_char_boundary(essence.len() - 5)
            && essence.split_at(essence.len() - 5).1.eq_ignore_ascii_case("+json"))
}

/// Refuses locks that the caller may not ask for, whether there are such semaphores or not.
pub(super) fn check_locks(caller: &Caller, locks: &[(&str, i64)]) -> Result<(), Forbidden> {
    locks.iter().try_for_each(|(semaphore, _)| caller.check(Right::Acquire, semaphore))
}

/// Who sends a request.
pub(super) struct Who(pub(super) Asker);

impl FromRequestParts<Arc<App>> for Who {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Infallible> {
        if app.guard.is_open() {
            return Ok(Self(Asker::Anybody));
        }
        // The gate tells.
        let found = parts.extensions.get::<Arc<Caller>>().cloned();
        Ok(Self(Asker::Known(found.unwrap_or_else(Caller::nobody))))
    }
}

/// How many parameters a path has at most.
const PARAMS: usize = 2;

/// Where the parameters of a route are in the path of a request.
#[derive(Clone, Copy, Default)]
pub(super) struct Params([Option<(usize, usize)>; PARAMS]);

impl Params {
    pub(super) fn of(path: &str, found: &matchit::Params<'_, '_>) -> Self {
        let mut places = found.iter().map(|(_, value)| {
            // It is a part of the path.
            let start = value.as_ptr().addr() - path.as_ptr().addr();
            (start, start + value.len())
        });
        Self([places.next(), places.next()])
    }

    /// Where one of them is.
    pub(super) fn place(&self, index: usize) -> Option<(usize, usize)> {
        *self.0.get(index)?
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0 == [None; PARAMS]
    }
}

/// The parameters of a path, such as that of `/peers/{peer}`: one, or two.
pub(super) struct PathOf<T>(Result<T, Refusal>);

pub(super) fn path<T>(path: PathOf<T>) -> Result<T, Refusal> {
    path.0
}

/// A parameter, decoded.
fn param(parts: &Parts, index: usize) -> Result<String, Refusal> {
    let place = parts.extensions.get::<Params>().and_then(|params| params.place(index));
    let text = place.and_then(|(start, end)| parts.uri.path().get(start..end)).unwrap_or_default();
    // The usual case: an id.
    if !text.contains('%') {
        return Ok(text.to_owned());
    }
    percent_decode_str(text).decode_utf8().map(Cow::into_owned).map_err(|_| {
        let sentence = "The path cannot be read: it is not UTF-8. Names in it are percent-encoded UTF-8.";
        Refusal::Invalid(sentence.to_owned())
    })
}

impl<S: Sync> FromRequestParts<S> for PathOf<String> {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(param(parts, 0)))
    }
}

impl<S: Sync> FromRequestParts<S> for PathOf<(String, String)> {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(param(parts, 0).and_then(|first| Ok((first, param(parts, 1)?)))))
    }
}

pub(super) fn peer_id(text: &str) -> Result<PeerId, Refusal> {
    u64::from_str(text).map(PeerId).map_err(|_| {
        Refusal::Invalid(format!(
            "{text:?} is not the id of a peer: an integer from 0 to {}, as the server gave it.",
            u64::MAX
        ))
    })
}

/// The query, form-decoded.
pub(super) fn query<T: DeserializeOwned>(parts: &Parts, example: &str) -> Result<T, Refusal> {
    match Query::<T>::try_from_uri(&parts.uri) {
        Ok(Query(query)) => Ok(query),
        Err(rejection) => Err(Refusal::Invalid(format!(
            "The query cannot be read: {}. Expected: {example}",
            rejection.body_text()
        ))),
    }
}

/// A human-readable duration called `name`, no longer than `max`.
pub(super) fn duration(name: &str, text: &str, max: Duration) -> Result<Duration, Refusal> {
    duration_within(name, text, Duration::ZERO..=max)
}

/// A human-readable duration called `name`, of a length in this range.
pub(super) fn duration_within(
    name: &str,
    text: &str,
    range: RangeInclusive<Duration>,
) -> Result<Duration, Refusal> {
    let invalid = |reason: &str| {
        let (least, most) = (bound::shown(*range.start()), bound::shown(*range.end()));
        Refusal::Invalid(format!(
            "{name} is {text:?}: {reason}. Expected a duration from {least} to {most} such as \"30s\", \"5m\", \
             \"250ms\" or \"1h 30m\"."
        ))
    };
    let duration = humantime::parse_duration(text).map_err(|error| invalid(&error.to_string()))?;
    if duration < *range.start() {
        Err(invalid("that is too short"))
    } else if duration > *range.end() {
        Err(invalid("that is too long"))
    } else {
        Ok(duration)
    }
}

/// Locks as a client names them.
pub(super) type Locks = BTreeMap<String, i64>;

/// The same locks as the engine takes them.
pub(super) fn locks(locks: &Locks) -> Vec<(&str, i64)> {
    locks.iter().map(|(semaphore, &count)| (semaphore.as_str(), count)).collect()
}
