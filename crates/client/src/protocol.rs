//! Requests and answers as values. Nothing here does I/O.
//!
//! These are the requests that all servers from 0.2 on have; those of `/v1` are in `v1`.

use std::{collections::BTreeMap, fmt, time::Duration};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use throttle_api::{Cause, Code, Open, Problem};

use crate::{Error, v1};

pub(crate) const INSTANCE_HEADER: &str = "throttle-instance";
pub(crate) const TRACE_HEADER: &str = "traceparent";
pub(crate) const TOKEN_HEADER: &str = "throttle-fencing-token";
pub(crate) const KEY_HEADER: &str = "idempotency-key";

const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// An unexpected answer may be a whole page of HTML.
const LONGEST_QUOTE: usize = 300;
const NO_ROUTE: &str =
    "no such route; is the URL that of a Throttle server, and is the server recent enough?";

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) json: Option<Value>,
    /// How long the server may hold the answer back.
    pub(crate) block_for: Duration,
    /// The same without the wait: what a request that waits is repeated as. The answer tells at once whether the first
    /// one reached the queue, which a second wait would not.
    pub(crate) at_once: Option<Box<Request>>,
    /// Whether it is safe to send it again when it may have arrived.
    pub(crate) repeatable: bool,
    /// Makes the server know a repeat for what it is.
    pub(crate) idempotency_key: Option<String>,
    /// The semaphores that it names.
    pub(crate) semaphores: Vec<String>,
}

/// One answer, good or bad.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// The id of the server's state; `None` from servers that cannot tell (up to 0.5).
    pub(crate) instance: Option<String>,
    /// The fencing token of the grant that this answers.
    pub(crate) token: Option<u64>,
    pub(crate) retry_after: Option<Duration>,
    /// Where a redirect leads that keeps method and body.
    pub(crate) location: Option<String>,
    pub(crate) text: String,
}

/// A request of `/v1` as its caller writes it. To look once more does no harm.
pub(crate) fn raw(method: &str, path: &str, json: Option<Value>) -> Result<Request, Error> {
    let method = method.parse().map_err(|_| Error::Configuration(format!("{method:?} is no HTTP method")))?;
    let repeatable = method == Method::GET;
    Ok(Request { json, repeatable, ..Request::new(method, path) })
}

impl Answer {
    /// What an answer of `/v1` says.
    pub(crate) fn json(self, request: &Request) -> Result<Value, Error> {
        if !self.status.is_success() {
            return Err(self.refused(request));
        }
        let text = if self.text.is_empty() { "null" } else { &self.text };
        serde_json::from_str(text).map_err(|_| self.unexpected(request))
    }

    /// What the answer to a probe says. Others than Throttle may be there, and answer all that they are asked.
    pub(crate) fn line(self, request: &Request) -> Result<String, Error> {
        match self.status.is_success() {
            true if self.text.starts_with("Ok") => Ok(self.text),
            true => Err(self.unexpected(request)),
            false => Err(self.refused(request)),
        }
    }

    fn refused(&self, request: &Request) -> Error {
        match serde_json::from_str(&self.text) {
            Ok(Problem { code, detail, .. }) => Error::Problem {
                status: self.status.as_u16(),
                code: code.to_string(),
                detail: detail.into_owned(),
            },
            Err(_) => self.unexpected(request),
        }
    }

    fn unexpected(&self, request: &Request) -> Error {
        let what = format!("{} {}", request.method, request.path);
        let message = self.text.chars().take(LONGEST_QUOTE).collect();
        Error::Server { what, status: self.status.as_u16(), message }
    }
}

impl Request {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            json: None,
            block_for: Duration::ZERO,
            at_once: None,
            repeatable: true,
            idempotency_key: None,
            semaphores: Vec::new(),
        }
    }

    pub(crate) fn json(self, json: Value) -> Self {
        Self { json: Some(json), ..self }
    }

    pub(crate) fn semaphore(self, name: &str) -> Self {
        Self { semaphores: vec![name.to_owned()], ..self }
    }

    /// Asks the server to hold the answer back for so long.
    pub(crate) fn waiting(self, block_for: Duration, at_once: impl FnOnce() -> Self) -> Self {
        let at_once = (!block_for.is_zero()).then(|| Box::new(at_once()));
        Self { block_for, at_once, ..self }
    }

    /// Method and path.
    pub(crate) fn what(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// Creates a peer. Not repeatable: a repeat would leave a second peer behind.
pub(crate) fn new_peer(expires_in: Duration) -> Request {
    let request = Request::new(Method::POST, "/new_peer").json(json!({ "expires_in": text(expires_in) }));
    Request { repeatable: false, ..request }
}

/// Asks for a lock; with `block_for` the answer comes when it is granted, or when that time is over.
pub(crate) fn acquire(
    peer: u64,
    semaphore: &str,
    count: u64,
    expires_in: Option<Duration>,
    block_for: Option<Duration>,
) -> Request {
    let times = [("expires_in", expires_in), ("block_for", block_for)];
    let query = times.into_iter().filter_map(|(name, time)| Some((name, text(time?)))).collect();
    let request = Request::new(Method::PUT, lock_path(peer, semaphore)).json(json!(count));
    let request = Request { query, ..request.semaphore(semaphore) };
    request.waiting(block_for.unwrap_or_default(), || acquire(peer, semaphore, count, expires_in, None))
}

/// Moves the peer's expiry.
pub(crate) fn heartbeat(peer: u64, expires_in: Duration) -> Request {
    Request::new(Method::PUT, format!("/peers/{peer}")).json(json!({ "expires_in": text(expires_in) }))
}

/// Brings a peer back that the server forgot, with the locks that it holds, the tokens they had, and its labels.
pub(crate) fn restore(
    peer: u64,
    acquired: &impl Serialize,
    expires_in: Duration,
    tokens: &BTreeMap<String, u64>,
    labels: &BTreeMap<String, String>,
) -> Request {
    let mut body = json!({ "expires_in": text(expires_in), "peer_id": peer, "acquired": acquired });
    let semaphores = body.get("acquired").and_then(Value::as_object);
    let semaphores = semaphores.into_iter().flat_map(|locks| locks.keys().cloned()).collect();
    if let Some(body) = body.as_object_mut() {
        if !tokens.is_empty() {
            let tokens = tokens.iter().map(|(name, token)| (name.clone(), json!(token.to_string())));
            body.insert("tokens".to_owned(), tokens.collect());
        }
        if !labels.is_empty() {
            body.insert("labels".to_owned(), json!(labels));
        }
    }
    Request { semaphores, ..Request::new(Method::POST, "/restore").json(body) }
}

/// Ends a peer with all it holds and waits for.
pub(crate) fn release_peer(peer: u64) -> Request {
    Request::new(Method::DELETE, format!("/peers/{peer}"))
}

/// Releases one lock, or withdraws the request for it.
pub(crate) fn release_lock(peer: u64, semaphore: &str) -> Request {
    Request::new(Method::DELETE, lock_path(peer, semaphore)).semaphore(semaphore)
}

/// Asks whether nothing of the peer is pending.
pub(crate) fn is_acquired(peer: u64) -> Request {
    Request::new(Method::GET, format!("/peers/{peer}/is_acquired"))
}

/// Asks what is left of a semaphore.
pub(crate) fn remainder(semaphore: &str) -> Request {
    let request = Request::new(Method::GET, "/remainder").semaphore(semaphore);
    Request { query: vec![("semaphore", semaphore.to_owned())], ..request }
}

/// Asks for all peers.
pub(crate) fn list_of_peers() -> Request {
    Request::new(Method::GET, "/peers/")
}

/// Checks that a name can stand in the path of a request.
pub(crate) fn check_name(semaphore: &str) -> Result<(), Error> {
    if matches!(semaphore, "" | "." | "..") {
        return Err(Error::Configuration(format!(
            "the semaphore is {semaphore:?}; a name like \"A\" is needed, and a URL cannot carry this one"
        )));
    }
    Ok(())
}

fn lock_path(peer: u64, semaphore: &str) -> String {
    format!("/peers/{peer}/{}", segment(semaphore))
}

/// A name as one segment of a path.
fn segment(name: &str) -> impl fmt::Display {
    utf8_percent_encode(name, SEGMENT)
}

/// A duration as the server reads it.
pub(crate) fn text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

impl Answer {
    /// Whether a request for a lock was granted.
    pub(crate) fn is_granted(&self) -> bool {
        self.status != StatusCode::ACCEPTED
    }

    /// Whether a request to end a peer found none.
    pub(crate) fn says_peer_not_found(&self) -> bool {
        self.text.trim().trim_matches('"') == "Peer not found"
    }

    /// The answer if it is a success, else what it means.
    pub(crate) fn check(self, request: &Request) -> Result<Self, Error> {
        if self.status.is_success() {
            return Ok(self);
        }
        let status = self.status.as_u16();
        if let Some(problem) = self.problem(request) {
            return Err(self.refusal_of_v1(request, problem));
        }
        let message = quote(&self.text);
        Err(match status {
            400 | 409 => self.refusal(request),
            401 | 403 => Error::NotAuthorized { status, message },
            404 => Error::Server { what: request.what(), status, message: NO_ROUTE.to_owned() },
            _ => Error::Server { what: request.what(), status, message },
        })
    }

    fn refusal(self, request: &Request) -> Error {
        let message = quote(&self.text);
        if message == "Unknown peer" {
            Error::UnknownPeer { instance: self.instance, detail: None, by_operator: false }
        } else if message.starts_with("Unknown semaphore") {
            let semaphore = request.semaphores.join(", ");
            Error::UnknownSemaphore { semaphore, advice: None }
        } else if message.starts_with("Lock can never be acquired.") {
            Error::CountExceedsMax(message)
        } else if ["Lock hierarchy violation", "Lock hierachy violation"]
            .iter()
            .any(|start| message.starts_with(start))
        {
            // Up to 0.5 it was misspelt.
            Error::HierarchyViolation(with_levels(&message))
        } else if message.starts_with("The peer already waits") {
            Error::AlreadyPending(message)
        } else {
            Error::Refused { status: self.status.as_u16(), message }
        }
    }

    /// What an answer of `/v1` says is wrong.
    fn problem(&self, request: &Request) -> Option<Problem<'static>> {
        if !request.path.starts_with(v1::PREFIX) {
            return None;
        }
        serde_json::from_str(&self.text).ok()
    }

    fn refusal_of_v1(self, request: &Request, problem: Problem<'_>) -> Error {
        let (status, detail) = (self.status.as_u16(), problem.detail.into_owned());
        match (problem.code, status) {
            (Open::Known(Code::PeerGone), _) => {
                let by_operator = problem.cause == Some(Open::Known(Cause::Operator));
                Error::UnknownPeer { instance: self.instance, detail: Some(detail), by_operator }
            }
            (Open::Known(Code::UnknownSemaphore), _) => unknown_semaphore(request, &detail),
            (Open::Known(Code::CountExceedsMax), _) => Error::CountExceedsMax(detail),
            (Open::Known(Code::HierarchyViolation), _) => Error::HierarchyViolation(with_levels(&detail)),
            (Open::Known(Code::NotAcquired), _) => {
                Error::Withdrawn { semaphores: request.semaphores.clone(), is_removed: false }
            }
            (Open::Known(Code::AlreadyPending), _) => Error::AlreadyPending(detail),
            (Open::Known(Code::Deadlock), _) => Error::Deadlock(detail),
            (_, 401 | 403) => Error::NotAuthorized { status, message: detail },
            (_, 400 | 409 | 410 | 413) => Error::Refused { status, message: detail },
            (_, 404) => Error::Server { what: request.what(), status, message: NO_ROUTE.to_owned() },
            _ => Error::Server { what: request.what(), status, message: detail },
        }
    }

    /// Reads the body as JSON.
    pub(crate) fn parse<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Error> {
        serde_json::from_str(&self.text).map_err(|error| Error::Server {
            what: request.what(),
            status: self.status.as_u16(),
            message: format!(
                "the body {:?} was not expected ({error}); is this a Throttle server?",
                quote(&self.text)
            ),
        })
    }
}

/// Which of several semaphores is unknown stands only in the sentence.
fn unknown_semaphore(request: &Request, detail: &str) -> Error {
    let told = request.semaphores.iter().find_map(|name| {
        let advice = detail.strip_prefix(&format!("No semaphore is called {name:?}."))?.trim();
        Some((name, Some(advice).filter(|advice| !advice.is_empty())))
    });
    let (semaphore, advice) = told.unzip();
    Error::UnknownSemaphore {
        semaphore: semaphore.or(request.semaphores.first()).cloned().unwrap_or_default(),
        advice: advice.flatten().map(str::to_owned),
    }
}

/// What a server says of levels, with what to do about them.
fn with_levels(message: &str) -> String {
    format!("{message} Take locks from high to low levels; see `level` in the server's configuration.")
}

fn quote(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(LONGEST_QUOTE) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, text: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            instance: Some("i1".to_owned()),
            token: None,
            retry_after: None,
            location: None,
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_name_is_one_segment_of_the_path() {
        let request = acquire(7, "/& ü", 2, Some(Duration::from_millis(1500)), None);
        assert_eq!(request.path, "/peers/7/%2F%26%20%C3%BC");
        assert_eq!(request.query, [("expires_in", "1s 500ms".to_owned())]);
        assert_eq!(request.json, Some(json!(2)));
    }

    #[test]
    fn a_restore_carries_tokens_as_strings() {
        let locks = BTreeMap::from([("A", 1)]);
        let tokens = BTreeMap::from([("A".to_owned(), 9_007_199_254_740_993)]);
        let none = BTreeMap::new();
        let with = restore(7, &locks, Duration::from_secs(1), &tokens, &none).json.unwrap();
        assert_eq!(
            with,
            json!({"expires_in": "1s", "peer_id": 7, "acquired": {"A": 1}, "tokens": {"A": "9007199254740993"}})
        );
        let without = restore(7, &locks, Duration::from_secs(1), &BTreeMap::new(), &none).json.unwrap();
        assert_eq!(without.get("tokens"), None);
    }

    #[test]
    fn refusals_are_told_apart_by_their_words() {
        let request = acquire(7, "A", 2, None, None);
        let error = |status, text| answer(status, text).check(&request).unwrap_err();
        assert!(
            matches!(error(400, "Unknown peer"), Error::UnknownPeer { instance: Some(id), .. } if id == "i1")
        );
        assert!(
            matches!(error(400, "Unknown semaphore"), Error::UnknownSemaphore { semaphore, .. } if semaphore == "A")
        );
        assert!(matches!(
            error(409, "Lock can never be acquired. It would block forever"),
            Error::CountExceedsMax(_)
        ));
        assert!(matches!(error(409, "Lock hierarchy violation: …"), Error::HierarchyViolation(_)));
        assert!(matches!(error(409, "Lock hierachy violation"), Error::HierarchyViolation(_)));
        assert!(matches!(error(409, "The peer already waits for …"), Error::AlreadyPending(_)));
        assert!(matches!(error(409, "else"), Error::Refused { status: 409, .. }));
        assert!(matches!(error(401, ""), Error::NotAuthorized { .. }));
        assert!(matches!(error(502, "<html>"), Error::Server { status: 502, .. }));
    }

    #[test]
    fn refusals_of_v1_are_told_apart_by_their_codes() {
        let wanted = [("A".to_owned(), 1), ("B".to_owned(), 1)];
        let request = v1::acquire(7, &wanted, 0, None, Duration::ZERO, None);
        let error = |status, code: &str, detail: &str| {
            let text = json!({"type": "about:blank", "status": status, "code": code, "detail": detail});
            answer(status, &text.to_string()).check(&request).unwrap_err()
        };
        let gone = error(410, "peer_gone", "Peer 7 was released by an operator: stuck");
        assert!(gone.to_string().ends_with("stuck"), "{gone}");
        assert!(matches!(gone, Error::UnknownPeer { instance: Some(_), detail: Some(_), .. }));
        let unknown =
            error(404, "unknown_semaphore", "No semaphore is called \"B\". Known names that are near: C.");
        assert_eq!(unknown.to_string(), "Unknown semaphore \"B\". Known names that are near: C.");
        assert!(matches!(error(409, "count_exceeds_max", "…"), Error::CountExceedsMax(_)));
        assert!(matches!(error(409, "hierarchy_violation", "…"), Error::HierarchyViolation(_)));
        assert!(matches!(error(409, "already_pending", "…"), Error::AlreadyPending(_)));
        assert!(matches!(error(409, "deadlock", "…"), Error::Deadlock(_)));
        assert!(matches!(error(409, "not_acquired", "…"), Error::Withdrawn { is_removed: false, .. }));
        assert!(matches!(error(400, "invalid_request", "…"), Error::Refused { status: 400, .. }));
        assert!(matches!(error(403, "forbidden", "…"), Error::NotAuthorized { status: 403, .. }));
        assert!(matches!(error(429, "limit_reached", "…"), Error::Server { status: 429, .. }));
        for status in [404, 405] {
            assert!(error(status, "not_found", "…").is_missing_route());
            assert!(answer(status, "<html>").check(&request).unwrap_err().is_missing_route());
        }
        assert!(!unknown.is_missing_route());
    }

    #[test]
    fn a_long_page_is_cut() {
        let error = answer(500, &"ü".repeat(1000)).check(&list_of_peers()).unwrap_err();
        assert!(error.to_string().chars().count() < 400);
    }
}
