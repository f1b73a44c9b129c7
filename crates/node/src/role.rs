//! What a node is in its deployment: it follows the log, or it leads and adds to it.
//!
//! A single server, with or without a data directory, is the same machine with an election that it always wins. There
//! is no way back from leading: what a leader decided after its last confirmed record never happened, so a deposed
//! one is [taken apart](Node::demote), and begins anew as a follower.

use throttle_core::{Core, Origin, Spec, Time, planted};
use throttle_journal::{Epoch, LogError, State, Wall};

use crate::{
    node::{Bounds, Node},
    waits::Ticket,
};

/// A node that follows: it knows what the log says, and decides nothing.
pub struct Follower {
    state: State,
}

impl Follower {
    /// A follower that knows nothing yet, and remembers so many keys of requests.
    pub fn new(core: Core, idempotency_keys: usize) -> Self {
        Self { state: State::new(core, idempotency_keys) }
    }

    /// Takes in the records of a batch of the log, or of a piece of its snapshot.
    ///
    /// # Errors
    ///
    /// If they cannot be read, or do not fit what came before them.
    pub fn apply(&mut self, body: &[u8]) -> Result<(), LogError> {
        self.state.play(body)
    }

    /// What it knows.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The time of leases at which the log ends: the leader's time must not be before it.
    pub fn now(&self) -> Time {
        if planted!(ClockRunsBack) { Time::default() } else { self.state.core.now() }
    }

    /// How far the wall clock was from there.
    pub fn wall(&self) -> Wall {
        self.state.wall
    }

    /// Begins to lead at `now`. Every lease begins anew in full; tokens go on; queues keep their order; requests
    /// under a known key find their peer. With an `epoch`, what happens is handed over for the log.
    pub fn promote(self, now: Time, epoch: Option<Epoch>, bounds: Bounds) -> Node {
        let State { mut core, declared, keys, holds_until, wall, .. } = self.state;
        let holds_until = holds_until.filter(|&until| until > now && !planted!(HoldingForgottenByRestart));
        if holds_until.is_some() {
            core.hold_grants();
        }
        core.end_replay(now);
        // Only the members of patterns are in the log.
        let is_pattern =
            |spec: &Spec| spec.origin == Origin::Pattern && !planted!(PatternsForgottenByRestart);
        for (pattern, spec) in declared.iter().filter(|(_, spec)| is_pattern(spec)) {
            core.set_pattern(now, pattern, *spec);
        }
        let mut node = Node::new(core, keys, now, epoch, bounds, wall);
        node.holds_until = holds_until;
        node
    }
}

impl Node {
    /// Ends the time in which this node leads. Returns the requests that wait: they are to be woken, and refused.
    pub fn demote(mut self) -> Vec<Ticket> {
        self.waits.drain().map(|(ticket, _)| ticket).collect()
    }
}
