//! What a journal says, as a whole.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use throttle_core::{Core, Event, Name, PeerId, Spec, Time, planted};

use super::{
    batch::{decode, encode},
    record::Record,
    wall::Wall,
};
use crate::log::LogError;

/// The state machine as it was, and what the server knew beside it.
pub struct State {
    /// The state machine. [`Core::end_replay`] is for the caller to call.
    pub core: Core,
    /// What the configuration file declared when it was last read; nothing before it ever was.
    pub declared: BTreeMap<Name, Spec>,
    /// The key of the request that made a peer, and what tells that request from others, for peers that live.
    pub keys: HashMap<PeerId, (Arc<str>, u64)>,
    /// Until when nothing was to be granted anew, so that peers can come back first.
    pub holds_until: Option<Time>,
    /// How far the wall clock was from the times in here.
    pub wall: Wall,
}

impl State {
    /// A state on which a journal is to be played, beginning with an empty state machine.
    pub fn new(core: Core) -> Self {
        Self {
            core,
            declared: BTreeMap::new(),
            keys: HashMap::new(),
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
                if let Event::PeerEnded { peer, .. } = &event {
                    self.keys.remove(peer);
                }
                self.core.replay(&event).map_err(LogError::Damaged)
            }
            Err(Record::Declared { semaphores }) => {
                self.declared = semaphores.into_iter().map(|(name, spec)| (name, spec.into())).collect();
                Ok(())
            }
            Err(Record::KeyUsed { peer, key, fingerprint }) => {
                self.keys.insert(PeerId(peer), (key, fingerprint));
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
        let is_kept =
            |peer: PeerId| self.core.peer(peer.by_server()).is_ok() && !planted!(KeysForgottenBySnapshot);
        let keys = self.keys.iter().filter(|(peer, _)| is_kept(**peer));
        let mut keys: Vec<_> = keys.map(|(peer, (key, fingerprint))| (peer.0, key, *fingerprint)).collect();
        keys.sort_unstable();
        let mut keys = keys.into_iter();
        let keys = std::iter::from_fn(move || {
            let mut piece = Vec::new();
            for (peer, key, fingerprint) in keys.by_ref().take(size) {
                encode(&mut piece, &Record::KeyUsed { peer, key: key.clone(), fingerprint });
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
