//! Idempotency keys: a request that is repeated finds the peer that it made when it came first.
//!
//! A key belongs to whoever used it: the same text is another key to somebody else. When there are too many, the oldest
//! of whoever has the most makes room, so nobody can have those of others forgotten.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use throttle_core::{Owner, PeerId, planted};
use throttle_journal::Record;
use xxhash_rust::xxh3::Xxh3;

use crate::refusal::Refusal;

/// The key of a request, with what tells the same request from another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdempotencyKey<'a> {
    owner: &'a Owner,
    text: &'a str,
    fingerprint: u64,
}

impl<'a> IdempotencyKey<'a> {
    /// `text`, by which `owner` marks the request to `route` with this body.
    pub fn new(owner: &'a Owner, text: &'a str, route: &str, body: &[u8]) -> Self {
        // It is written down, so every release must come to the same number.
        let mut hash = Xxh3::new();
        hash.update(&(route.len() as u64).to_le_bytes());
        hash.update(route.as_bytes());
        hash.update(body);
        Self { owner, text, fingerprint: hash.digest() }
    }

    /// The record of the peer that this request made.
    pub(crate) fn record(&self, peer: PeerId) -> Record {
        Record::KeyUsed { peer: peer.0, key: self.text.into(), fingerprint: self.fingerprint }
    }
}

/// The keys of the last requests.
pub(crate) struct IdempotencyKeys {
    limit: usize,
    next: u64,
    by_owner: HashMap<Owner, KeysOfOne, foldhash::fast::RandomState>,
    /// Everybody by how many places his keys take.
    shares: BTreeSet<(usize, Owner)>,
    /// The places of all.
    places: usize,
}

#[derive(Default)]
struct KeysOfOne {
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
        Self { limit, next: 0, by_owner: HashMap::default(), shares: BTreeSet::new(), places: 0 }
    }

    /// The peer that this request made when it came first.
    pub(crate) fn find(&self, key: Option<IdempotencyKey<'_>>) -> Result<Option<PeerId>, Refusal> {
        let Some(key) = key else { return Ok(None) };
        match self.by_owner.get(of(key.owner)).and_then(|keys| keys.made.get(key.text)) {
            Some(made) if made.fingerprint != key.fingerprint && !planted!(FingerprintIgnored) => {
                Err(Refusal::KeyReused)
            }
            made => Ok(made.map(|made| made.peer)),
        }
    }

    pub(crate) fn remember(&mut self, key: IdempotencyKey<'_>, peer: PeerId) {
        self.insert(key.owner, key.text.into(), key.fingerprint, peer);
    }

    /// Remembers what an earlier run of the server wrote down.
    pub(crate) fn insert(&mut self, owner: &Owner, text: Arc<str>, fingerprint: u64, peer: PeerId) {
        let owner = of(owner).clone();
        if self.places >= self.limit {
            self.make_room();
        }
        let number = self.next;
        self.next += 1;
        self.change(owner, |keys| {
            keys.made.insert(text.clone(), Made { number, fingerprint, peer });
            keys.order.push_back((number, text));
        });
    }

    /// Makes a repeat a new request.
    pub(crate) fn forget(&mut self, key: Option<IdempotencyKey<'_>>) {
        if let Some(key) = key
            && let Some(keys) = self.by_owner.get_mut(of(key.owner))
        {
            keys.made.remove(key.text);
        }
    }

    /// Forgets the oldest key of whoever has the most.
    fn make_room(&mut self) {
        let Some((_, owner)) = self.shares.last().cloned() else { return };
        self.change(owner, |keys| {
            if let Some((number, oldest)) = keys.order.pop_front()
                && keys.made.get(&oldest).is_some_and(|made| made.number == number)
            {
                keys.made.remove(&oldest);
            }
        });
    }

    /// Changes the keys of somebody, and how many places they take.
    fn change(&mut self, owner: Owner, change: impl FnOnce(&mut KeysOfOne)) {
        let keys = self.by_owner.entry(owner.clone()).or_default();
        let before = keys.order.len();
        change(keys);
        let after = keys.order.len();
        if after == 0 {
            self.by_owner.remove(&owner);
        }
        self.places = self.places + after - before;
        self.shares.remove(&(before, owner.clone()));
        if after > 0 {
            self.shares.insert((after, owner));
        }
    }
}

/// To whom a key belongs.
fn of(owner: &Owner) -> &Owner {
    if planted!(KeysOfAll) { &Owner::NOBODY } else { owner }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key<'a>(owner: &'a Owner, text: &'a str) -> IdempotencyKey<'a> {
        IdempotencyKey::new(owner, text, "POST /v1/peers", b"{}")
    }

    #[test]
    fn the_oldest_are_forgotten_first() {
        let key = |text| key(&Owner::NOBODY, text);
        let mut keys = IdempotencyKeys::new(2);
        keys.remember(key("a"), PeerId(1));
        keys.forget(Some(key("a")));
        assert_eq!(keys.find(Some(key("a"))), Ok(None));
        keys.remember(key("a"), PeerId(2));
        keys.remember(key("b"), PeerId(3));
        let found = keys.find(Some(key("a")));
        assert_eq!(found, Ok(Some(PeerId(2))), "its earlier place in the order does not count");
        for (route, body) in [("POST /v1/peers", b"{ }".as_slice()), ("POST /v1/locks", b"{}")] {
            let other = IdempotencyKey::new(&Owner::NOBODY, "a", route, body);
            assert_eq!(keys.find(Some(other)), Err(Refusal::KeyReused));
        }
        keys.remember(key("c"), PeerId(4));
        assert_eq!(keys.find(Some(key("a"))), Ok(None));
        assert_eq!(keys.find(Some(key("b"))), Ok(Some(PeerId(3))));
        assert_eq!(keys.places, 2);
    }

    #[test]
    fn keys_belong_to_whoever_used_them_and_nobody_flushes_those_of_others() {
        let [ann, bob] = ["ann", "bob"].map(Owner::new);
        let mut keys = IdempotencyKeys::new(4);
        keys.remember(key(&ann, "a"), PeerId(1));
        assert_eq!(keys.find(Some(key(&bob, "a"))), Ok(None));
        for (peer, text) in (10..).zip(["a", "b", "c", "d", "e", "f"]) {
            keys.remember(key(&bob, text), PeerId(peer));
        }
        assert_eq!(keys.find(Some(key(&ann, "a"))), Ok(Some(PeerId(1))));
        assert_eq!(keys.find(Some(key(&bob, "c"))), Ok(None));
        assert_eq!(keys.find(Some(key(&bob, "f"))), Ok(Some(PeerId(15))));
        assert_eq!((keys.places, keys.shares.len()), (4, 2));
    }
}
