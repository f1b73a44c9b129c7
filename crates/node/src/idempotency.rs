//! Idempotency keys: a request that is repeated finds the peer that it made when it came first.
//!
//! What is remembered of them is the same here as in the log ([`Keys`]).

use throttle_core::{EndCause, Event, Owner, PeerId, Time, planted};
use throttle_journal::{KeyedEnd, Keys, Record};
use xxhash_rust::xxh3::Xxh3;

use crate::{
    endings::{Ending, Endings},
    refusal::Refusal,
};

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
        let owner = of(self.owner).name().map(Into::into);
        Record::KeyTaken { peer: peer.0, owner, key: self.text.into(), fingerprint: self.fingerprint }
    }
}

/// The peer that this request made when it came first.
pub(crate) fn find(keys: &Keys, key: Option<IdempotencyKey<'_>>) -> Result<Option<PeerId>, Refusal> {
    let Some(key) = key else { return Ok(None) };
    match keys.get(of(key.owner), key.text) {
        Some(keyed) if keyed.fingerprint != key.fingerprint && !planted!(FingerprintIgnored) => {
            Err(Refusal::KeyReused)
        }
        keyed => Ok(keyed.map(|keyed| keyed.peer)),
    }
}

pub(crate) fn remember(keys: &mut Keys, key: IdempotencyKey<'_>, peer: PeerId) {
    keys.insert(of(key.owner).clone(), key.text.into(), key.fingerprint, peer);
}

/// Makes a repeat a new request.
pub(crate) fn forget(keys: &mut Keys, key: Option<IdempotencyKey<'_>>) {
    if let Some(key) = key {
        keys.forget(of(key.owner), key.text);
    }
}

/// Takes note of how a peer ended that has a key, so that a repeat is told. Returns what is to be written down of that,
/// before the event itself.
pub(crate) fn note(
    keys: &mut Keys,
    event: &Event,
    at: Time,
    ending: impl Fn(EndCause) -> Ending,
) -> Option<Record> {
    if let Event::PeerCreated { peer, .. } = event {
        // It may have been brought back.
        keys.begin(*peer);
    } else if let Event::PeerEnded { peer, cause, .. } = event
        && keys.has(*peer)
    {
        let Ending { cause, reason, at: told_at } = ending(*cause);
        let end = KeyedEnd { cause, reason, at, told_at };
        let record = Record::of_end(*peer, &end);
        keys.end(*peer, end);
        return (!planted!(KeptKeyNotLogged)).then_some(record);
    }
    None
}

/// How the peers ended whose keys are known.
pub(crate) fn tell_endings(keys: &Keys, endings: &mut Endings) {
    for (keyed, end) in keys.ended() {
        let KeyedEnd { cause, reason, told_at, .. } = end;
        let ending = Ending { cause: *cause, reason: reason.clone(), at: *told_at };
        endings.remember(keyed.peer, keyed.owner.clone(), ending);
    }
}

/// To whom a key belongs.
fn of(owner: &Owner) -> &Owner {
    if planted!(KeysOfAll) { &Owner::NOBODY } else { owner }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_for_one_request_of_whoever_used_it() {
        let [ann, bob] = ["ann", "bob"].map(Owner::new);
        let key = |owner, route, body: &'static [u8]| IdempotencyKey::new(owner, "a", route, body);
        let mut keys = Keys::new(2);
        remember(&mut keys, key(&ann, "POST /v1/peers", b"{}"), PeerId(1));
        assert_eq!(find(&keys, Some(key(&ann, "POST /v1/peers", b"{}"))), Ok(Some(PeerId(1))));
        assert_eq!(find(&keys, Some(key(&bob, "POST /v1/peers", b"{}"))), Ok(None));
        assert_eq!(find(&keys, None), Ok(None));
        for (route, body) in [("POST /v1/peers", b"{ }".as_slice()), ("POST /v1/locks", b"{}")] {
            assert_eq!(find(&keys, Some(key(&ann, route, body))), Err(Refusal::KeyReused));
        }
        forget(&mut keys, Some(key(&ann, "POST /v1/peers", b"{}")));
        assert_eq!(find(&keys, Some(key(&ann, "POST /v1/peers", b"{}"))), Ok(None));
    }
}
