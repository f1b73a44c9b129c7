//! Idempotency keys: which peer each request with a key made, and how that peer ended.
//!
//! A node that leads and a log that is played have the same memory of them, so a repeat is answered after a restart as
//! before it. A key belongs to whoever used it. When there are too many, the oldest of whoever has the most makes room,
//! so nobody can have those of others forgotten. The key of a peer that lives stays otherwise; that of one that ended
//! is kept for [`KEPT_AFTER_END`].

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use throttle_core::{EndCause, Owner, PeerId, Time};

use crate::format::WallTime;

/// For how long a repeat is told that its peer ended, at least if there is room.
pub const KEPT_AFTER_END: Duration = Duration::from_hours(24);
/// How many of those that ended long ago are forgotten with each that ends.
const FORGOTTEN_AT_ONCE: usize = 2;

/// How the peer of a key ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedEnd {
    /// Why.
    pub cause: EndCause,
    /// What the operator who released it gave as the reason.
    pub reason: Option<Arc<str>>,
    /// When, in the time of leases.
    pub at: Time,
    /// The same by the wall clock of that moment.
    pub told_at: WallTime,
}

/// A request with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyed {
    /// Who used the key.
    pub owner: Owner,
    /// The key.
    pub text: Arc<str>,
    /// Tells the same request from another one.
    pub fingerprint: u64,
    /// The peer that it made.
    pub peer: PeerId,
    /// How that ended, if it did.
    pub end: Option<KeyedEnd>,
}

/// The keys of the last requests.
pub struct Keys {
    limit: usize,
    next: u64,
    /// In order of arrival.
    by_number: BTreeMap<u64, Keyed>,
    by_owner: HashMap<Owner, KeysOfOne, foldhash::fast::RandomState>,
    by_peer: HashMap<PeerId, u64, foldhash::fast::RandomState>,
    /// Everybody by how many he has.
    shares: BTreeSet<(usize, Owner)>,
    /// Those whose peer ended, in that order.
    ended: BTreeSet<(Time, u64)>,
}

#[derive(Default)]
struct KeysOfOne {
    by_text: HashMap<Arc<str>, u64, foldhash::fast::RandomState>,
    order: BTreeSet<u64>,
}

impl Keys {
    /// Room for so many keys.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            next: 0,
            by_number: BTreeMap::new(),
            by_owner: HashMap::default(),
            by_peer: HashMap::default(),
            shares: BTreeSet::new(),
            ended: BTreeSet::new(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// Changes how many there is room for.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        while self.len() > limit {
            self.make_room();
        }
    }

    /// What `owner` used a key for.
    pub fn get(&self, owner: &Owner, text: &str) -> Option<&Keyed> {
        let number = self.by_owner.get(owner)?.by_text.get(text)?;
        self.by_number.get(number)
    }

    /// Whether a request with a key made this peer.
    pub fn has(&self, peer: PeerId) -> bool {
        self.by_peer.contains_key(&peer)
    }

    /// All of them, in order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = &Keyed> {
        self.by_number.values()
    }

    /// Those whose peer ended, in that order.
    pub fn ended(&self) -> impl Iterator<Item = (&Keyed, &KeyedEnd)> {
        let keyed = self.ended.iter().filter_map(|(_, number)| self.by_number.get(number));
        keyed.filter_map(|keyed| Some((keyed, keyed.end.as_ref()?)))
    }

    /// Takes note of a request with a key, and of the peer that it made.
    pub fn insert(&mut self, owner: Owner, text: Arc<str>, fingerprint: u64, peer: PeerId) {
        self.forget(&owner, &text);
        self.forget_peer(peer);
        if self.limit == 0 {
            return;
        }
        if self.len() >= self.limit {
            self.make_room();
        }
        let number = self.next;
        self.next += 1;
        self.put(number, Keyed { owner, text, fingerprint, peer, end: None });
    }

    /// Makes a repeat a new request.
    pub fn forget(&mut self, owner: &Owner, text: &str) {
        let found = self.by_owner.get(owner).and_then(|keys| keys.by_text.get(text));
        if let Some(&number) = found {
            self.remove(number);
        }
    }

    /// The same, by the peer that the request made.
    pub fn forget_peer(&mut self, peer: PeerId) {
        if let Some(&number) = self.by_peer.get(&peer) {
            self.remove(number);
        }
    }

    /// The same, unless it is known how that peer ended.
    pub fn forget_peer_unless_ended(&mut self, peer: PeerId) {
        let number = self.by_peer.get(&peer);
        if number.and_then(|number| self.by_number.get(number)).is_some_and(|keyed| keyed.end.is_none()) {
            self.forget_peer(peer);
        }
    }

    /// The peer of a request belongs to somebody else than was known.
    pub fn set_owner(&mut self, peer: PeerId, owner: &Owner) {
        let Some(&number) = self.by_peer.get(&peer) else { return };
        if self.by_number.get(&number).is_some_and(|keyed| keyed.owner != *owner)
            && let Some(keyed) = self.remove(number)
        {
            self.forget(owner, &keyed.text);
            self.put(number, Keyed { owner: owner.clone(), ..keyed });
        }
    }

    /// A peer lives, maybe again.
    pub fn begin(&mut self, peer: PeerId) {
        let Some(&number) = self.by_peer.get(&peer) else { return };
        let Some(keyed) = self.by_number.get_mut(&number) else { return };
        if let Some(end) = keyed.end.take() {
            self.ended.remove(&(end.at, number));
        }
    }

    /// A peer ends, and the key by which it was made is kept, if there is one.
    pub fn end(&mut self, peer: PeerId, end: KeyedEnd) {
        let at = end.at;
        self.begin(peer);
        let Some(&number) = self.by_peer.get(&peer) else { return };
        let Some(keyed) = self.by_number.get_mut(&number) else { return };
        keyed.end = Some(end);
        self.ended.insert((at, number));
        for _ in 0..FORGOTTEN_AT_ONCE {
            if let Some(&(before, number)) = self.ended.first()
                && at.since(before) >= KEPT_AFTER_END
            {
                self.remove(number);
            }
        }
    }

    /// Forgets the oldest key of whoever has the most.
    fn make_room(&mut self) {
        let Some((_, owner)) = self.shares.last() else { return };
        if let Some(&oldest) = self.by_owner.get(owner).and_then(|keys| keys.order.first()) {
            self.remove(oldest);
        }
    }

    fn put(&mut self, number: u64, keyed: Keyed) {
        self.by_peer.insert(keyed.peer, number);
        if let Some(end) = &keyed.end {
            self.ended.insert((end.at, number));
        }
        let (owner, text) = (keyed.owner.clone(), keyed.text.clone());
        self.by_number.insert(number, keyed);
        self.change(owner, |keys| {
            keys.by_text.insert(text, number);
            keys.order.insert(number);
        });
    }

    fn remove(&mut self, number: u64) -> Option<Keyed> {
        let keyed = self.by_number.remove(&number)?;
        self.by_peer.remove(&keyed.peer);
        if let Some(end) = &keyed.end {
            self.ended.remove(&(end.at, number));
        }
        self.change(keyed.owner.clone(), |keys| {
            keys.by_text.remove(&keyed.text);
            keys.order.remove(&number);
        });
        Some(keyed)
    }

    /// Changes the keys of somebody, and how many they are.
    fn change(&mut self, owner: Owner, change: impl FnOnce(&mut KeysOfOne)) {
        let keys = self.by_owner.entry(owner.clone()).or_default();
        let before = keys.order.len();
        change(keys);
        let after = keys.order.len();
        if after == 0 {
            self.by_owner.remove(&owner);
        }
        self.shares.remove(&(before, owner.clone()));
        if after > 0 {
            self.shares.insert((after, owner));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(seconds: u64) -> KeyedEnd {
        KeyedEnd {
            cause: EndCause::Released,
            reason: None,
            at: Time::from_micros(seconds * 1_000_000),
            told_at: WallTime::from_micros(7),
        }
    }

    fn peer_of(keys: &Keys, owner: &Owner, text: &str) -> Option<PeerId> {
        keys.get(owner, text).map(|keyed| keyed.peer)
    }

    #[track_caller]
    fn is_in_order(keys: &Keys) {
        let count = keys.len();
        assert_eq!(keys.by_peer.len(), count);
        assert_eq!(keys.shares.iter().map(|(share, _)| share).sum::<usize>(), count);
        assert_eq!(keys.by_owner.values().map(|of| of.by_text.len()).sum::<usize>(), count);
        assert_eq!(keys.ended.len(), keys.iter().filter(|keyed| keyed.end.is_some()).count());
    }

    #[test]
    fn the_oldest_are_forgotten_first() {
        let nobody = Owner::NOBODY;
        let mut keys = Keys::new(2);
        keys.insert(nobody.clone(), "a".into(), 1, PeerId(1));
        keys.forget(&nobody, "a");
        assert_eq!(keys.get(&nobody, "a"), None);
        keys.insert(nobody.clone(), "a".into(), 1, PeerId(2));
        keys.insert(nobody.clone(), "b".into(), 1, PeerId(3));
        assert_eq!(peer_of(&keys, &nobody, "a"), Some(PeerId(2)));
        keys.insert(nobody.clone(), "c".into(), 1, PeerId(4));
        assert_eq!(keys.get(&nobody, "a"), None);
        assert_eq!(peer_of(&keys, &nobody, "b"), Some(PeerId(3)));
        keys.set_limit(1);
        assert_eq!((peer_of(&keys, &nobody, "b"), keys.len()), (None, 1));
        is_in_order(&keys);
    }

    #[test]
    fn nobody_flushes_those_of_others() {
        let [ann, bob] = ["ann", "bob"].map(Owner::new);
        let mut keys = Keys::new(4);
        keys.insert(ann.clone(), "a".into(), 1, PeerId(1));
        assert_eq!(keys.get(&bob, "a"), None);
        for (peer, text) in (10..).zip(["a", "b", "c", "d", "e", "f"]) {
            keys.insert(bob.clone(), text.into(), 1, PeerId(peer));
        }
        assert_eq!(peer_of(&keys, &ann, "a"), Some(PeerId(1)));
        assert_eq!(peer_of(&keys, &bob, "c"), None);
        assert_eq!(peer_of(&keys, &bob, "f"), Some(PeerId(15)));
        assert_eq!(keys.len(), 4);
        is_in_order(&keys);
    }

    #[test]
    fn one_that_ended_is_kept_for_a_day() {
        let nobody = Owner::NOBODY;
        let mut keys = Keys::new(10);
        for (peer, text) in (1..).zip(["a", "b", "c", "lives"]) {
            keys.insert(nobody.clone(), text.into(), 1, PeerId(peer));
        }
        for peer in 1..=2 {
            keys.end(PeerId(peer), end(peer));
        }
        keys.end(PeerId(9), end(9));
        assert!(!keys.has(PeerId(9)));
        let day = KEPT_AFTER_END.as_secs();
        keys.end(PeerId(3), end(day));
        assert_eq!(keys.ended().map(|(keyed, _)| keyed.peer.0).collect::<Vec<_>>(), [1, 2, 3]);
        // It was brought back, and ended again.
        keys.end(PeerId(3), end(day + 1));
        assert_eq!(keys.get(&nobody, "a"), None);
        keys.end(PeerId(3), end(day * 9));
        assert_eq!(keys.ended().map(|(keyed, _)| keyed.peer.0).collect::<Vec<_>>(), [3]);
        assert_eq!(peer_of(&keys, &nobody, "lives"), Some(PeerId(4)));
        keys.begin(PeerId(3));
        assert_eq!(keys.ended().count(), 0);
        is_in_order(&keys);
    }

    #[test]
    fn the_end_of_a_peer_is_known_or_its_key_is_not() {
        let ann = Owner::new("ann");
        let mut keys = Keys::new(10);
        for (peer, text) in (1..).zip(["a", "b"]) {
            keys.insert(Owner::NOBODY, text.into(), 1, PeerId(peer));
        }
        keys.set_owner(PeerId(1), &ann);
        assert_eq!((keys.get(&Owner::NOBODY, "a"), peer_of(&keys, &ann, "a")), (None, Some(PeerId(1))));
        keys.end(PeerId(1), end(5));
        for peer in 1..=3 {
            keys.forget_peer_unless_ended(PeerId(peer));
        }
        assert_eq!(keys.iter().map(|keyed| keyed.peer.0).collect::<Vec<_>>(), [1]);
        is_in_order(&keys);
    }
}
