//! Idempotency keys: a request that is repeated finds the peer that it made when it came first.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use throttle_core::{PeerId, planted};
use throttle_journal::Record;
use xxhash_rust::xxh3::Xxh3;

use crate::refusal::Refusal;

/// The key of a request, with what tells the same request from another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdempotencyKey<'a> {
    text: &'a str,
    fingerprint: u64,
}

impl<'a> IdempotencyKey<'a> {
    /// `text` marks the request to `route` with this body.
    pub fn new(text: &'a str, route: &str, body: &[u8]) -> Self {
        // It is written down, so every release must come to the same number.
        let mut hash = Xxh3::new();
        hash.update(&(route.len() as u64).to_le_bytes());
        hash.update(route.as_bytes());
        hash.update(body);
        Self { text, fingerprint: hash.digest() }
    }

    /// The record of the peer that this request made.
    pub(crate) fn record(&self, peer: PeerId) -> Record {
        Record::KeyUsed { peer: peer.0, key: self.text.into(), fingerprint: self.fingerprint }
    }
}

/// The keys of the last requests; the oldest make room for new ones.
pub(crate) struct IdempotencyKeys {
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

impl IdempotencyKeys {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, next: 0, made: HashMap::default(), order: VecDeque::new() }
    }

    /// The peer that this request made when it came first.
    pub(crate) fn find(&self, key: Option<IdempotencyKey<'_>>) -> Result<Option<PeerId>, Refusal> {
        let Some(key) = key else { return Ok(None) };
        match self.made.get(key.text) {
            Some(made) if made.fingerprint != key.fingerprint && !planted!(FingerprintIgnored) => {
                Err(Refusal::KeyReused)
            }
            made => Ok(made.map(|made| made.peer)),
        }
    }

    pub(crate) fn remember(&mut self, key: IdempotencyKey<'_>, peer: PeerId) {
        self.insert(key.text.into(), key.fingerprint, peer);
    }

    /// Remembers what an earlier run of the server wrote down.
    pub(crate) fn insert(&mut self, text: Arc<str>, fingerprint: u64, peer: PeerId) {
        if self.order.len() >= self.limit
            && let Some((number, oldest)) = self.order.pop_front()
            && self.made.get(&oldest).is_some_and(|made| made.number == number)
        {
            self.made.remove(&oldest);
        }
        self.made.insert(text.clone(), Made { number: self.next, fingerprint, peer });
        self.order.push_back((self.next, text));
        self.next += 1;
    }

    /// Makes a repeat a new request.
    pub(crate) fn forget(&mut self, key: Option<IdempotencyKey<'_>>) {
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
        let key = |text| IdempotencyKey::new(text, "POST /v1/peers", b"{}");
        let mut keys = IdempotencyKeys::new(2);
        keys.remember(key("a"), PeerId(1));
        keys.forget(Some(key("a")));
        assert_eq!(keys.find(Some(key("a"))), Ok(None));
        keys.remember(key("a"), PeerId(2));
        keys.remember(key("b"), PeerId(3));
        let found = keys.find(Some(key("a")));
        assert_eq!(found, Ok(Some(PeerId(2))), "its earlier place in the order does not count");
        for (route, body) in [("POST /v1/peers", b"{ }".as_slice()), ("POST /v1/locks", b"{}")] {
            assert_eq!(keys.find(Some(IdempotencyKey::new("a", route, body))), Err(Refusal::KeyReused));
        }
        keys.remember(key("c"), PeerId(4));
        assert_eq!(keys.find(Some(key("a"))), Ok(None));
        assert_eq!(keys.find(Some(key("b"))), Ok(Some(PeerId(3))));
        assert_eq!((keys.made.len(), keys.order.len()), (2, 2));
    }
}
