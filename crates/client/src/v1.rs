//! Requests and answers of `/v1`, which servers have from 0.6 on. Nothing here does I/O.
//!
//! Names of semaphores stand in bodies and queries, never in a path: many proxies decode `%2F` there.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use reqwest::Method;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::json;

use crate::{
    lease::Held,
    protocol::{Request, text},
};

/// Begins the path of every request here.
pub(crate) const PREFIX: &str = "/v1/";

/// Makes a peer. The key makes it safe to repeat: a repeat finds the peer that the first one made.
pub(crate) fn new_peer(expires_in: Duration, labels: &BTreeMap<String, String>, key: String) -> Request {
    let body = json!({ "expires_in": text(expires_in), "labels": labels });
    let request = Request::new(Method::POST, "/v1/peers").json(body);
    Request { idempotency_key: Some(key), ..request }
}

/// Asks for locks, all or nothing, and waits for them at the server. Asking again tells their state.
pub(crate) fn acquire(
    peer: u64,
    locks: &[(String, u64)],
    priority: i32,
    expires_in: Option<Duration>,
    wait: Duration,
) -> Request {
    let counts: BTreeMap<_, _> = locks.iter().map(|(name, count)| (name, count)).collect();
    let body = json!({
        "locks": counts, "priority": priority, "expires_in": expires_in.map(text), "wait": text(wait)
    });
    let request = Request::new(Method::PUT, format!("/v1/peers/{peer}/locks")).json(body);
    let semaphores = locks.iter().map(|(name, _)| name.clone()).collect();
    let request = Request { semaphores, ..request };
    request.waiting(wait, || acquire(peer, locks, priority, expires_in, Duration::ZERO))
}

/// Moves the peer's expiry.
pub(crate) fn heartbeat(peer: u64, expires_in: Duration) -> Request {
    let path = format!("/v1/peers/{peer}/heartbeat");
    Request::new(Method::POST, path).json(json!({ "expires_in": text(expires_in) }))
}

/// Asks for the peer.
pub(crate) fn look(peer: u64) -> Request {
    Request::new(Method::GET, format!("/v1/peers/{peer}"))
}

/// Releases locks, or withdraws the request for them.
pub(crate) fn release(peer: u64, semaphores: &[&str]) -> Request {
    let path = format!("/v1/peers/{peer}/release");
    let request = Request::new(Method::POST, path).json(json!({ "locks": semaphores }));
    Request { semaphores: semaphores.iter().map(|&name| name.to_owned()).collect(), ..request }
}

/// Asks whether a grant is live.
pub(crate) fn token(semaphore: &str, token: u64) -> Request {
    let query = vec![("semaphore", semaphore.to_owned()), ("token", token.to_string())];
    Request { query, ..Request::new(Method::GET, "/v1/token").semaphore(semaphore) }
}

/// A peer as the server shows it.
#[derive(Debug, Deserialize)]
pub(crate) struct Peer {
    #[serde(deserialize_with = "digits")]
    pub(crate) id: u64,
    pub(crate) locks: Vec<Lock>,
    pub(crate) pending: Option<Pending>,
}

/// A lock that a peer holds.
#[derive(Debug, Deserialize)]
pub(crate) struct Lock {
    semaphore: String,
    count: u64,
    /// Null for a restored lock without one.
    token: Option<String>,
}

/// What a peer waits for.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Pending {
    pub(crate) position: Option<u64>,
    #[serde(default, deserialize_with = "duration")]
    pub(crate) estimated_wait: Option<Duration>,
    #[serde(default)]
    pub(crate) blocked_by: Vec<Blocker>,
}

/// A lock that others wait for, and who holds it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Blocker {
    /// The semaphore.
    pub semaphore: String,
    /// The id of the peer that holds it.
    #[serde(rename = "peer", deserialize_with = "digits")]
    pub peer_id: u64,
    /// The count that it holds.
    pub count: u64,
    /// Since when, by the clock of the server.
    #[serde(deserialize_with = "moment")]
    pub since: SystemTime,
    /// What its client tells of it.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// The holder of a lock, as the server shows it.
#[derive(Debug, Deserialize)]
pub(crate) struct Holder {
    pub(crate) count: u64,
}

impl Peer {
    /// What it holds of a semaphore, if it does.
    pub(crate) fn lock(&self, semaphore: &str) -> Option<Held> {
        let lock = self.locks.iter().find(|lock| lock.semaphore == semaphore)?;
        Some(Held { count: lock.count, token: lock.token.as_ref().and_then(|token| token.parse().ok()) })
    }

    /// The fencing token of its lock on a semaphore, if it has one.
    pub(crate) fn token_of(&self, semaphore: &str) -> Option<u64> {
        self.lock(semaphore)?.token
    }

    /// Whether it holds this count, or more.
    pub(crate) fn holds(&self, semaphore: &str, count: u64) -> bool {
        self.lock(semaphore).is_some_and(|held| held.count >= count)
    }
}

fn digits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| humantime::parse_duration(&text).map_err(D::Error::custom)).transpose()
}

fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    humantime::parse_rfc3339(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_semaphores_are_one_request() {
        let locks = [("B".to_owned(), 1), ("A".to_owned(), 2)];
        let request = acquire(7, &locks, -3, Some(Duration::from_secs(30)), Duration::from_secs(10));
        assert_eq!((request.method, request.path.as_str()), (Method::PUT, "/v1/peers/7/locks"));
        let body = json!({"locks": {"A": 2, "B": 1}, "priority": -3, "expires_in": "30s", "wait": "10s"});
        assert_eq!(request.json, Some(body));
        assert_eq!(request.block_for, Duration::from_secs(10));
    }

    #[test]
    fn a_peer_is_read_from_what_the_server_says() {
        let text = r#"{
            "id": "18446744073709551615", "labels": {}, "created_at": "…", "expires_at": "…",
            "locks": [{"semaphore": "A", "count": 2, "token": "1795480000000001", "since": "…"},
                      {"semaphore": "B", "count": 1, "token": null, "since": "…"}],
            "pending": {"locks": {"C": 1}, "priority": 0, "since": "…", "position": 3, "estimated_wait": "1m 2s",
                        "blocked_by": [{"semaphore": "C", "peer": "7", "count": 1,
                                        "since": "2026-03-03T19:02:42.5Z", "labels": {"host": "w1"}}]}
        }"#;
        let peer: Peer = serde_json::from_str(text).unwrap();
        assert_eq!(peer.id, u64::MAX);
        assert_eq!((peer.token_of("A"), peer.token_of("B")), (Some(1_795_480_000_000_001), None));
        assert!(peer.holds("A", 2) && !peer.holds("A", 3) && !peer.holds("C", 1));
        let pending = peer.pending.unwrap();
        assert_eq!((pending.position, pending.estimated_wait), (Some(3), Some(Duration::from_secs(62))));
        assert_eq!((pending.blocked_by[0].peer_id, &*pending.blocked_by[0].labels["host"]), (7, "w1"));
    }
}
