//! By what a log is played.

use throttle_core::{Core, Settings};

use crate::format::State;

/// The rules by which a log is played.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Those of the core.
    pub core: Settings,
    /// How many keys of requests that may be repeated are remembered.
    pub idempotency_keys: usize,
}

impl Rules {
    /// The state on which a log is to be played. The counters are in its records.
    pub(crate) fn state(&self, hash_seed: u64) -> State {
        State::new(Core::new(self.core.clone(), 0, hash_seed), self.idempotency_keys)
    }
}
