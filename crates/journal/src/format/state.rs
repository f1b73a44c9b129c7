//! What a journal says, as a whole.

use std::collections::BTreeMap;

use throttle_core::{Core, Event, Name, Owner, PeerId, Spec, Time, planted};

use super::{
    batch::{decode, encode},
    record::Record,
    wall::{Wall, WallTime},
};
use crate::{
    keys::{KeyedEnd, Keys},
    log::LogError,
};

/// The state machine as it was, and what the server knew beside it.
pub struct State {
    /// The state machine. [`Core::end_replay`] is for the caller to call.
    pub core: Core,
    /// What the configuration file declared when it was last read; nothing before it ever was.
    pub declared: BTreeMap<Name, Spec>,
    /// The keys of the last requests that made peers.
    pub keys: Keys,
    /// Until when nothing was to be granted anew, so that peers can come back first.
    pub holds_until: Option<Time>,
    /// How far the wall clock was from the times in here.
    pub wall: Wall,
}

impl State {
    /// A state on which a journal is to be played, beginning with an empty state machine. It remembers so many keys of
    /// requests.
    pub fn new(core: Core, idempotency_keys: usize) -> Self {
        Self {
            core,
            declared: BTreeMap::new(),
            keys: Keys::new(idempotency_keys),
            holds_until: None,
            wall: Wall::default(),
        }
    }

    /// Plays the records of a batch, or of a piece of a snapshot.
    ///
    /// # Errors
    ///
    /// If they cannot be read or do not fit what came before them.
    pub fn play(&mut self, body: &[u8]) -> Result<(), LogError> {
        decode(body, |record| self.apply(record))
    }

    fn apply(&mut self, record: Record) -> Result<(), LogError> {
        match record.into_event() {
            Ok(event) => {
                if let Event::PeerCreated { peer, .. } = &event {
                    self.keys.begin(*peer);
                } else if let Event::PeerOwned { peer, owner } = &event {
                    self.keys.set_owner(*peer, owner);
                } else if let Event::PeerEnded { peer, .. } = &event {
                    self.keys.forget_peer_unless_ended(*peer);
                }
                self.core.replay(&event).map_err(LogError::Damaged)
            }
            Err(Record::Declared { semaphores }) => {
                self.declared = semaphores.into_iter().map(|(name, spec)| (name, spec.into())).collect();
                Ok(())
            }
            Err(Record::KeyUsed { peer, key, fingerprint }) => {
                self.keys.insert(Owner::NOBODY, key, fingerprint, PeerId(peer));
                Ok(())
            }
            Err(Record::KeyTaken { peer, owner, key, fingerprint }) => {
                let owner = owner.map_or(Owner::NOBODY, Owner::new);
                self.keys.insert(owner, key, fingerprint, PeerId(peer));
                Ok(())
            }
            Err(Record::KeyKept { peer, cause, reason, at, told_at }) => {
                let (at, told_at) = (Time::from_micros(at), WallTime::from_micros(told_at));
                self.keys.end(PeerId(peer), KeyedEnd { cause: cause.into(), reason, at, told_at });
                Ok(())
            }
            Err(Record::Holding { until }) => {
                self.holds_until = until.map(Time::from_micros);
                Ok(())
            }
            Err(Record::Wall { ahead_us }) => {
                self.wall = Wall::ahead_by_micros(ahead_us);
                Ok(())
            }
            Err(Record::Time { at }) => {
                self.core.replay_time(Time::from_micros(at));
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }

    /// The whole in pieces of about `size` records each, which [`State::play`] builds again.
    pub fn pieces(&self, size: usize) -> impl Iterator<Item = Vec<u8>> {
        let mut first = Vec::new();
        if !planted!(TimeForgottenBySnapshot) {
            encode(&mut first, &Record::Time { at: self.core.now().as_micros() });
        }
        let semaphores = self.declared.iter().map(|(name, spec)| (name.clone(), (*spec).into())).collect();
        encode(&mut first, &Record::Declared { semaphores });
        if let Some(until) = self.holds_until {
            encode(&mut first, &Record::Holding { until: Some(until.as_micros()) });
        }
        if self.wall != Wall::default() {
            encode(&mut first, &Record::Wall { ahead_us: self.wall.ahead_micros() });
        }
        let keys = self.keys.iter().map(|keyed| Record::KeyTaken {
            peer: keyed.peer.0,
            owner: keyed.owner.name().map(Into::into),
            key: keyed.text.clone(),
            fingerprint: keyed.fingerprint,
        });
        let ended = self.keys.ended().map(|(keyed, end)| Record::of_end(keyed.peer, end));
        let ended = ended.filter(|_| !planted!(KeptKeysForgottenBySnapshot));
        let mut keys = keys.chain(ended).filter(|_| !planted!(KeysForgottenBySnapshot));
        let keys = std::iter::from_fn(move || {
            let mut piece = Vec::new();
            for record in keys.by_ref().take(size) {
                encode(&mut piece, &record);
            }
            (!piece.is_empty()).then_some(piece)
        });
        let events = self.core.snapshot_in_pieces(size).map(|events| {
            let mut piece = Vec::new();
            for record in events.iter().filter_map(Record::of) {
                encode(&mut piece, &record);
            }
            piece
        });
        std::iter::once(first).chain(keys).chain(events)
    }
}
