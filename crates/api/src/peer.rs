//! A peer, what it holds, and what it waits for.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};
#[cfg(feature = "openapi")]
use utoipa::ToSchema;

use crate::{Digits, Labels, Name, Open, Span, Stamp};

/// One thread of execution of a client. It lives until its lease ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Peer {
    /// Its id.
    pub id: Digits,
    /// What its client tells of it.
    pub labels: Labels,
    /// When it was made.
    pub created_at: Stamp,
    /// Until when its locks are promised to it.
    pub expires_at: Stamp,
    /// What it holds.
    pub locks: Vec<Lock>,
    /// What it waits for.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub pending: Option<Box<Pending>>,
}

/// A lock that a peer holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Lock {
    /// The semaphore.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "A"))]
    pub semaphore: Name,
    /// The count that is held.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, example = 1))]
    pub count: i64,
    /// The fencing token of the grant; null for a restored lock without one.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub token: Option<Digits>,
    /// Since when it is held.
    pub since: Stamp,
}

/// What a peer waits for: all of it, or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Pending {
    /// Each semaphore and the count asked for.
    #[serde(serialize_with = "as_map", deserialize_with = "from_map")]
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = std::collections::BTreeMap<String, i64>, example = json!({"B": 1}))
    )]
    pub locks: Vec<(Name, i64)>,
    /// Higher is served first.
    #[cfg_attr(feature = "openapi", schema(example = 0))]
    pub priority: i32,
    /// Since when it waits.
    pub since: Stamp,
    /// Its place, counted from 1, in the queue where it stands farthest back.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, example = 3))]
    pub position: usize,
    /// How much longer it may take, judged by how long locks were held lately. Null if there is nothing to
    /// judge by.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub estimated_wait: Option<Span>,
    /// What is in its way: the first ten.
    #[cfg_attr(feature = "openapi", schema(max_items = 10))]
    pub blocked_by: Vec<Blocker>,
}

/// What is in the way of a request: a peer, or a semaphore that is closed for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Blocker {
    /// How it is in the way. Others may be added.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = BlockerKind, required))]
    pub kind: Open<BlockerKind>,
    /// The semaphore.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "B"))]
    pub semaphore: Name,
    /// The peer, if one is in the way: null with `paused` and `rate`.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub peer: Option<Digits>,
    /// The count that the peer holds there, or asks for. With `paused` and `rate`: what this request asks for there.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, example = 1, required))]
    pub count: i64,
    /// Since when the peer holds that, or waits for it; null if no peer is in the way.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub since: Option<Stamp>,
    /// What the peer's client tells of it. Left out, so empty, in lists of peers.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub labels: Labels,
    /// The semaphores that keep the peer waiting itself, as far as the caller may see them. Only there if it is
    /// `ahead`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>, required = false, example = json!(["C"])))]
    pub waits_for: Vec<Name>,
    /// When the next grant there is possible without a release. Only there with `rate`, and only if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Stamp>,
}

/// How something is in the way of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[non_exhaustive]
pub enum BlockerKind {
    /// The peer holds a lock whose release would help.
    #[default]
    Holder,
    /// The peer's request stands before the other's in the queue.
    Ahead,
    /// The semaphore is paused: its max is 0.
    Paused,
    /// The rate of the semaphore holds back count that was released.
    Rate,
}

impl Peer {
    /// The lock that it holds on a semaphore.
    pub fn lock(&self, semaphore: &str) -> Option<&Lock> {
        self.locks.iter().find(|lock| *lock.semaphore == *semaphore)
    }
}

fn as_map<S: Serializer>(locks: &[(Name, i64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(locks.iter().map(|(name, count)| (name, count)))
}

fn from_map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(Name, i64)>, D::Error> {
    struct Reader;

    impl<'de> Visitor<'de> for Reader {
        type Value = Vec<(Name, i64)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut locks = Vec::with_capacity(map.size_hint().unwrap_or(0).min(64));
            while let Some(lock) = map.next_entry()? {
                locks.push(lock);
            }
            Ok(locks)
        }
    }

    deserializer.deserialize_map(Reader)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_way_is_read_whatever_its_kind() {
        let read = |text| serde_json::from_str::<Blocker>(text).unwrap();
        let holder = read(r#"{"semaphore": "A", "peer": "7", "count": 1, "since": "2026-03-03T19:02:42Z"}"#);
        assert_eq!((holder.kind, holder.peer), (BlockerKind::Holder.into(), Some(Digits(7))));
        let text = r#"{"kind":"rate","semaphore":"A","peer":null,"count":2,"since":null,"labels":{},"until":"2026-03-03T19:02:42.000000Z"}"#;
        let rate = read(text);
        assert_eq!((rate.peer, rate.since, rate.count), (None, None, 2));
        assert!(rate.kind == BlockerKind::Rate && rate.until.is_some());
        assert_eq!(serde_json::to_string(&rate).unwrap(), text);
        let newer = read(r#"{"kind": "strike", "semaphore": "A", "more": 1}"#);
        assert_eq!(newer.kind, Open::Other("strike".into()));
    }

    #[test]
    fn a_peer_of_a_newer_server_is_read() {
        let text = r#"{
            "id": "18446744073709551615", "labels": {"host": "w1"}, "created_at": "2026-03-03T19:02:42Z",
            "expires_at": "2026-03-03T19:07:42.5Z", "colour": "blue",
            "locks": [{"semaphore": "A", "count": 2, "token": "7", "since": "2026-03-03T19:02:42Z", "more": 1}],
            "pending": {"locks": {"C": 1, "B": 2}, "priority": -1, "since": "2026-03-03T19:02:43Z", "position": 3,
                        "estimated_wait": null, "blocked_by": [], "more": {}}
        }"#;
        let peer: Peer = serde_json::from_str(text).unwrap();
        assert_eq!((peer.id, peer.labels.get("host")), (Digits(u64::MAX), Some("w1")));
        assert_eq!(peer.lock("A").map(|lock| (lock.count, lock.token)), Some((2, Some(Digits(7)))));
        let pending = peer.pending.as_deref().unwrap();
        assert_eq!(pending.locks, [("C".into(), 1), ("B".into(), 2)]);
        let again: Peer = serde_json::from_str(&serde_json::to_string(&peer).unwrap()).unwrap();
        assert_eq!(again, peer);
    }
}
