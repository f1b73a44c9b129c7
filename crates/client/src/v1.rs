//! Requests and answers of `/v1`, which servers have from 0.6 on. Nothing here does I/O.
//!
//! Names of semaphores stand in bodies and queries, never in a path: many proxies decode `%2F` there.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, SystemTime},
};

use reqwest::Method;
use serde::Serialize;
use serde_json::Value;
use throttle_api::{
    AnyDigits, BlockerKind, Digits, Entries, HeartbeatBody, HeartbeatsBody, LocksBody, NewPeerBody,
    OnTimeout, Peer, ReleaseBody, SessionBody, Whole,
};

use crate::{labels::who, lease::Held, protocol::Request};

/// Begins the path of every request here.
pub(crate) const PREFIX: &str = "/v1/";

/// Makes a peer. The key makes it safe to repeat: a repeat finds the peer that the first one made.
pub(crate) fn new_peer(expires_in: Duration, labels: &BTreeMap<String, String>, key: String) -> Request {
    let body = NewPeerBody { expires_in: expires_in.into(), labels: labels.clone().into_iter().collect() };
    let request = Request::new(Method::POST, "/v1/peers").json(json(&body));
    Request { idempotency_key: Some(key), ..request }
}

/// Makes a peer and asks for its locks, all or nothing, with a key as [`new_peer`]. The wait, which is a short one, is
/// no reason to expect the answer later.
pub(crate) fn session(
    locks: &[(String, u64)],
    priority: i32,
    expires_in: Duration,
    wait: Option<Duration>,
    labels: &BTreeMap<String, String>,
    key: String,
) -> Request {
    let body = SessionBody {
        locks: entries(locks),
        expires_in: expires_in.into(),
        wait: wait.map(Into::into),
        labels: labels.clone().into_iter().collect(),
        priority: Whole(priority),
        on_timeout: OnTimeout::default(),
    };
    let request = Request::new(Method::POST, "/v1/locks").json(json(&body));
    let semaphores = locks.iter().map(|(name, _)| name.clone()).collect();
    Request { idempotency_key: Some(key), semaphores, ..request }
}

/// Semaphores with their counts. More than any semaphore can have is not to be had either way.
fn entries(locks: &[(String, u64)]) -> Entries<Whole<i64>> {
    let count = |count: u64| Whole(i64::try_from(count).unwrap_or(i64::MAX));
    locks.iter().map(|(name, wanted)| (name.clone(), count(*wanted))).collect()
}

/// Asks for locks, all or nothing, and waits for them at the server. Asking again tells their state; and with the
/// instance that said they are pending, it does not ask anew for what was withdrawn since.
pub(crate) fn acquire(
    peer: u64,
    locks: &[(String, u64)],
    priority: i32,
    expires_in: Option<Duration>,
    wait: Duration,
    if_pending: Option<&str>,
) -> Request {
    let body = LocksBody {
        locks: entries(locks),
        wait: Some(wait.into()),
        priority: Whole(priority),
        expires_in: expires_in.map(Into::into),
        if_pending: if_pending.map(str::to_owned),
    };
    let request = Request::new(Method::PUT, format!("/v1/peers/{peer}/locks")).json(json(&body));
    let semaphores = locks.iter().map(|(name, _)| name.clone()).collect();
    let request = Request { semaphores, ..request };
    request.waiting(wait, || acquire(peer, locks, priority, expires_in, Duration::ZERO, if_pending))
}

/// Moves the peer's expiry.
pub(crate) fn heartbeat(peer: u64, expires_in: Duration) -> Request {
    let path = format!("/v1/peers/{peer}/heartbeat");
    Request::new(Method::POST, path).json(json(&HeartbeatBody { expires_in: Some(expires_in.into()) }))
}

/// Moves the expiry of many peers.
pub(crate) fn heartbeats(peers: &[u64], expires_in: Duration) -> Request {
    let peers = peers.iter().map(|&peer| AnyDigits::Number(peer)).collect();
    let body = HeartbeatsBody { expires_in: expires_in.into(), peers };
    Request::new(Method::POST, "/v1/heartbeats").json(json(&body))
}

/// Asks for the peer.
pub(crate) fn look(peer: u64) -> Request {
    Request::new(Method::GET, format!("/v1/peers/{peer}"))
}

/// Releases locks, or withdraws the request for them.
pub(crate) fn release(peer: u64, semaphores: &[&str]) -> Request {
    let path = format!("/v1/peers/{peer}/release");
    let locks: Vec<String> = semaphores.iter().map(|&name| name.to_owned()).collect();
    let request = Request::new(Method::POST, path).json(json(&ReleaseBody { locks: locks.clone() }));
    Request { semaphores: locks, ..request }
}

/// Asks whether a grant is live.
pub(crate) fn token(semaphore: &str, token: u64) -> Request {
    let query = vec![("semaphore", semaphore.to_owned()), ("token", token.to_string())];
    Request { query, ..Request::new(Method::GET, "/v1/token").semaphore(semaphore) }
}

/// What is in the way of a request: a peer, or a semaphore that is closed for now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Blocker {
    /// How it is in the way; `None` if only later releases know.
    pub kind: Option<BlockerKind>,
    /// The semaphore.
    pub semaphore: String,
    /// The id of the peer, if one is in the way.
    pub peer_id: Option<u64>,
    /// The count that the peer holds there, or asks for. If no peer is in the way: what the request itself asks for
    /// there.
    pub count: u64,
    /// Since when the peer holds that or waits for it, by the clock of the server.
    pub since: Option<SystemTime>,
    /// What the peer's client tells of it.
    pub labels: BTreeMap<String, String>,
    /// The semaphores that keep the peer waiting itself, if it is ahead.
    pub waits_for: Vec<String>,
    /// When the next grant there is possible without a release, if a rate holds count back and that is known. By the
    /// clock of the server.
    pub until: Option<SystemTime>,
}

impl fmt::Display for Blocker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { semaphore, .. } = self;
        match self.kind {
            Some(BlockerKind::Holder) => write!(formatter, "{semaphore:?} is held by ")?,
            Some(BlockerKind::Ahead) => write!(formatter, "ahead of it for {semaphore:?} is ")?,
            Some(BlockerKind::Paused) => return write!(formatter, "{semaphore:?} is paused"),
            Some(BlockerKind::Rate) => {
                write!(formatter, "{semaphore:?} is held back by its rate")?;
                return self.until.map_or(Ok(()), |at| {
                    write!(formatter, " until {}", humantime::format_rfc3339_seconds(at))
                });
            }
            _ => {
                write!(formatter, "{semaphore:?} is not to be had yet")?;
                if self.peer_id.is_none() {
                    return Ok(());
                }
                formatter.write_str(", because of ")?;
            }
        }
        match (who(&self.labels), self.peer_id) {
            (Some(who), Some(peer_id)) => write!(formatter, "{who} (peer {peer_id})")?,
            (Some(who), None) => write!(formatter, "{who}")?,
            (None, Some(peer_id)) => write!(formatter, "peer {peer_id}")?,
            (None, None) => formatter.write_str("somebody")?,
        }
        if self.waits_for.is_empty() {
            return Ok(());
        }
        let others: Vec<_> = self.waits_for.iter().map(|name| format!("{name:?}")).collect();
        write!(formatter, ", which waits for {}", others.join(", "))
    }
}

impl From<&throttle_api::Blocker> for Blocker {
    fn from(blocker: &throttle_api::Blocker) -> Self {
        Self {
            kind: blocker.kind.known().copied(),
            semaphore: blocker.semaphore.to_string(),
            peer_id: blocker.peer.map(|Digits(peer)| peer),
            count: unsigned(blocker.count),
            since: blocker.since.map(Into::into),
            labels: blocker.labels.to_map(),
            waits_for: blocker.waits_for.iter().map(ToString::to_string).collect(),
            until: blocker.until.map(Into::into),
        }
    }
}

/// What a peer holds of a semaphore, if it does.
pub(crate) fn held(peer: &Peer, semaphore: &str) -> Option<Held> {
    let lock = peer.lock(semaphore)?;
    Some(Held { count: unsigned(lock.count), token: lock.token.map(|Digits(token)| token) })
}

/// All that a peer holds, by the names of semaphores.
pub(crate) fn all_held(peer: &Peer) -> impl Iterator<Item = (String, Held)> {
    peer.locks.iter().map(|lock| {
        let token = lock.token.map(|Digits(token)| token);
        (lock.semaphore.to_string(), Held { count: unsigned(lock.count), token })
    })
}

/// The fencing token of a peer's lock on a semaphore, if it has one.
pub(crate) fn token_of(peer: &Peer, semaphore: &str) -> Option<u64> {
    held(peer, semaphore)?.token
}

/// Whether a peer holds this count, or more.
pub(crate) fn holds(peer: &Peer, semaphore: &str, count: u64) -> bool {
    held(peer, semaphore).is_some_and(|held| held.count >= count)
}

/// A count as answers write it: it is never negative.
pub(crate) fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// A body as JSON. Text and numbers can always be written.
fn json(body: &impl Serialize) -> Value {
    serde_json::to_value(body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn several_semaphores_are_one_request() {
        let locks = [("B".to_owned(), 1), ("A".to_owned(), 2)];
        let request =
            acquire(7, &locks, -3, Some(Duration::from_secs(30)), Duration::from_secs(10), Some("i1"));
        assert_eq!((request.method, request.path.as_str()), (Method::PUT, "/v1/peers/7/locks"));
        let body = json!({"locks": {"A": 2, "B": 1}, "priority": -3, "expires_in": "30s", "wait": "10s",
                          "if_pending": "i1"});
        assert_eq!(request.json, Some(body));
        assert_eq!(request.block_for, Duration::from_secs(10));
    }

    #[test]
    fn what_a_peer_holds_is_found_by_name() {
        let text = r#"{
            "id": "18446744073709551615", "labels": {}, "created_at": "2026-03-03T19:02:42Z",
            "expires_at": "2026-03-03T19:07:42Z",
            "locks": [{"semaphore": "A", "count": 2, "token": "1795480000000001", "since": "2026-03-03T19:02:42Z"},
                      {"semaphore": "B", "count": 1, "token": null, "since": "2026-03-03T19:02:42Z"}],
            "pending": {"locks": {"C": 1}, "priority": 0, "since": "2026-03-03T19:02:42Z", "position": 3,
                        "estimated_wait": "1m 2s",
                        "blocked_by": [{"semaphore": "C", "peer": "7", "count": 1,
                                        "since": "2026-03-03T19:02:42.5Z", "labels": {"host": "w1"}}]}
        }"#;
        let peer: Peer = serde_json::from_str(text).unwrap();
        assert_eq!(peer.id.0, u64::MAX);
        assert_eq!((token_of(&peer, "A"), token_of(&peer, "B")), (Some(1_795_480_000_000_001), None));
        assert!(holds(&peer, "A", 2) && !holds(&peer, "A", 3) && !holds(&peer, "C", 1));
        let pending = peer.pending.unwrap();
        let wait = pending.estimated_wait.map(|wait| wait.0);
        assert_eq!((pending.position, wait), (3, Some(Duration::from_secs(62))));
        let blocker = Blocker::from(&pending.blocked_by[0]);
        assert_eq!((blocker.peer_id, &*blocker.labels["host"]), (Some(7), "w1"));
        // Servers that do not say how tell of holders only.
        assert_eq!((blocker.kind, &blocker.waits_for[..]), (Some(BlockerKind::Holder), &[] as &[String]));
        assert_eq!(blocker.to_string(), "\"C\" is held by @w1 (peer 7)");
        let waits_for = vec!["D".to_owned(), "E".to_owned()];
        let ahead = Blocker { kind: Some(BlockerKind::Ahead), waits_for, labels: BTreeMap::new(), ..blocker };
        assert_eq!(ahead.to_string(), "ahead of it for \"C\" is peer 7, which waits for \"D\", \"E\"");
    }

    #[test]
    fn what_is_in_the_way_is_said_whatever_its_kind() {
        let said = |value| {
            let blocker: throttle_api::Blocker = serde_json::from_value(value).unwrap();
            Blocker::from(&blocker).to_string()
        };
        let nobody = |kind| json!({"kind": kind, "semaphore": "C", "peer": null, "count": 1, "since": null, "labels": {}});
        assert_eq!(said(nobody("paused")), "\"C\" is paused");
        assert_eq!(said(nobody("rate")), "\"C\" is held back by its rate");
        let mut rate = nobody("rate");
        rate["until"] = json!("2026-03-03T19:02:42.5Z");
        assert_eq!(said(rate), "\"C\" is held back by its rate until 2026-03-03T19:02:42Z");
        assert_eq!(said(nobody("strike")), "\"C\" is not to be had yet");
        let strike = json!({"kind": "strike", "semaphore": "C", "peer": "7"});
        assert_eq!(said(strike), "\"C\" is not to be had yet, because of peer 7");
    }
}
