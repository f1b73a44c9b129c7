//! The keys by which clients mark a request that they may repeat: a repeat finds the peer that the first made.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use throttle_core::PeerId;
use xxhash_rust::xxh3::Xxh3;

use crate::journal::Record;

/// The key of a request, with what tells the same request from another one.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    text: &'a str,
    fingerprint: u64,
}

impl<'a> Key<'a> {
    /// `text` marks the request to `route` with this body.
    pub fn new(text: &'a str, route: &str, body: &[u8]) -> Self {
        // It is written down, so every release must come to the same number.
        let mut hash = Xxh3::new();
        hash.update(&(route.len() as u64).to_le_bytes());
        hash.update(route.as_bytes());
        hash.update(body);
        Self { text, fingerprint: hash.digest() }
    }

    /// The key of a request that came to an earlier run of the server.
    pub(super) fn known(text: &'a str, fingerprint: u64) -> Self {
        Self { text, fingerprint }
    }

    /// What is written down of it.
    pub(super) fn record(&self, peer: PeerId) -> Record {
        Record::KeyUsed { peer: peer.0, key: self.text.into(), fingerprint: self.fingerprint }
    }
}

/// The key was used for another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyReused;

/// The keys of the last requests; the oldest make room for new ones.
pub(super) struct Keys {
    limit: usize,
    next: u64,
    made: HashMap<Arc<str>, Made, foldhash::fast::RandomState>,
    /// In order of arrival. A key that was forgotten and used again is in here twice; its number tells which
    /// entry counts.
    order: VecDeque<(u64, Arc<str>)>,
}

struct Made {
    number: u64,
    fingerprint: u64,
    peer: PeerId,
}

impl Keys {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, next: 0, made: HashMap::default(), order: VecDeque::new() }
    }

    /// The peer that this request made when it came first.
    pub(super) fn find(&self, key: Option<Key<'_>>) -> Result<Option<PeerId>, KeyReused> {
        let Some(key) = key else { return Ok(None) };
        match self.made.get(key.text) {
            Some(made) if made.fingerprint != key.fingerprint => Err(KeyReused),
            made => Ok(made.map(|made| made.peer)),
        }
    }

    pub(super) fn remember(&mut self, key: Option<Key<'_>>, peer: PeerId) {
        let Some(key) = key else { return };
        if self.order.len() >= self.limit
            && let Some((number, oldest)) = self.order.pop_front()
            && self.made.get(&oldest).is_some_and(|made| made.number == number)
        {
            self.made.remove(&oldest);
        }
        let text: Arc<str> = key.text.into();
        self.made.insert(text.clone(), Made { number: self.next, fingerprint: key.fingerprint, peer });
        self.order.push_back((self.next, text));
        self.next += 1;
    }

    /// Makes a repeat a new request.
    pub(super) fn forget(&mut self, key: Option<Key<'_>>) {
        if let Some(key) = key {
            self.made.remove(key.text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_first() {
        let key = |text| Some(Key::new(text, "POST /v1/peers", b"{}"));
        let mut keys = Keys::new(2);
        keys.remember(key("a"), PeerId(1));
        keys.forget(key("a"));
        assert_eq!(keys.find(key("a")), Ok(None));
        keys.remember(key("a"), PeerId(2));
        keys.remember(key("b"), PeerId(3));
        assert_eq!(keys.find(key("a")), Ok(Some(PeerId(2))), "its earlier place in the order does not count");
        assert_eq!(keys.find(Some(Key::new("a", "POST /v1/peers", b"{ }"))), Err(KeyReused));
        assert_eq!(keys.find(Some(Key::new("a", "POST /v1/locks", b"{}"))), Err(KeyReused));
        keys.remember(key("c"), PeerId(4));
        assert_eq!(keys.find(key("a")), Ok(None));
        assert_eq!(keys.find(key("b")), Ok(Some(PeerId(3))));
        assert_eq!((keys.made.len(), keys.order.len()), (2, 2));
    }
}
