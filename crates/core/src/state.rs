//! The tables of the core, and what every handler of a command shares.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    time::Duration,
};

use crate::{
    error::{LimitReached, Resource, UnknownPeer, UnknownSemaphore},
    event::Event,
    index::Index,
    names::{Name, PeerId},
    owner::{By, Claim},
    pattern::Patterns,
    peer::{Part, Peer},
    planted,
    queue::Rank,
    semaphore::Semaphore,
    slot::{PeerSlot, SemaphoreSlot, Table},
    time::Time,
    usage::Usages,
};

/// What may be chosen about the rules.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The longest margin: a peer is removed a twentieth of its lease after the promised end, at most this.
    pub margin_max: Duration,
    /// How long a request has to wait to outrank a later one whose priority is higher by one.
    pub ageing_step: Duration,
    /// How long after its connection is gone a waiter is passed over.
    pub absent_after: Duration,
    /// For how long a request that waits for another semaphore too may be passed: once it has waited for longer, nobody
    /// passes it any more.
    pub pass_within: Duration,
    /// Whether a peer that is not known may bring locks back.
    pub restore: RestorePolicy,
    /// How much is done in one go of what is due: peers that end count, and each of their locks.
    pub step: usize,
    /// How large the tables may grow.
    pub limits: Limits,
}

/// Whether a peer that is not known may bring locks back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestorePolicy {
    /// Always, even beyond `max`: for a server that may have forgotten it.
    #[default]
    Allow,
    /// If they fit beside what is acquired; waiters do not count.
    IfFree,
    /// Never.
    Deny,
}

/// How large the tables may grow.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Live peers.
    pub peers: usize,
    /// Requests in the queue of one semaphore.
    pub waiters_per_semaphore: usize,
    /// Locks of one peer, acquired and pending.
    pub locks_per_peer: usize,
    /// Semaphores that one request asks for: what one waiter costs grows with them.
    pub locks_per_request: usize,
    /// What requests over several semaphores in one queue ask for, all together: a change of its semaphore looks at
    /// each of them.
    pub locks_per_queue: usize,
    /// Semaphores, members of patterns among them.
    pub semaphores: usize,
    /// Members of one pattern.
    pub members_per_pattern: usize,
    /// Peers that are looked at to find out whether a request would close a deadlock.
    pub deadlock_walk: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            margin_max: Duration::from_secs(30),
            ageing_step: Duration::from_hours(1),
            absent_after: Duration::from_secs(10),
            pass_within: Duration::from_mins(1),
            restore: RestorePolicy::default(),
            step: 1000,
            limits: Limits {
                peers: 10_000_000,
                waiters_per_semaphore: 1_000_000,
                locks_per_peer: 1024,
                locks_per_request: 32,
                locks_per_queue: 20_000,
                semaphores: 1_000_000,
                members_per_pattern: 100_000,
                deadlock_walk: 10_000,
            },
        }
    }
}

/// The state machine. See the [crate's documentation](crate) for how to use it.
pub struct Core {
    pub(crate) settings: Settings,
    /// The largest `now` seen.
    pub(crate) now: Time,
    pub(crate) peers: Table<PeerSlot, Peer>,
    pub(crate) peer_slots: Index<PeerSlot>,
    pub(crate) semaphores: Table<SemaphoreSlot, Semaphore>,
    pub(crate) semaphore_slots: BTreeMap<Name, SemaphoreSlot>,
    pub(crate) patterns: Patterns,
    /// Whether nothing is granted for now.
    pub(crate) is_holding: bool,
    /// Whether something that is due is not done yet.
    pub(crate) is_behind: bool,
    /// How many semaphores and patterns have their deadlocks detected.
    pub(crate) detecting: usize,
    /// Every peer, by a time that is not after its end.
    pub(crate) leases: BTreeSet<(Time, PeerSlot)>,
    /// Every semaphore with cooling count, by the time when the first of it is due.
    pub(crate) returns: BTreeSet<(Time, SemaphoreSlot)>,
    /// Every peer whose waiting client is gone, by the time when it is passed over.
    pub(crate) absences: BTreeSet<(Time, PeerSlot)>,
    /// What each owner uses.
    pub(crate) usages: Usages,
    /// The serials of all acquired locks, fencing tokens among them.
    pub(crate) serials: Index<()>,
    /// Makes the shape of tables unpredictable for clients; of no influence on any reply.
    pub(crate) seed: u64,
    pub(crate) next_token: u64,
    pub(crate) next_sequence: u64,
    /// Semaphores to look at before this command is over.
    pub(crate) touched: BinaryHeap<Touched>,
    pub(crate) events: Vec<Event>,
}

/// A semaphore to look at. The greatest is next: that of the highest level; of several that whose first waiter came
/// first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Touched {
    pub(crate) level: i32,
    /// Its first waiter; it may have become another since.
    pub(crate) first: First,
    pub(crate) name: Reverse<Name>,
    pub(crate) slot: SemaphoreSlot,
}

/// Who is first on a semaphore: the greatest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum First {
    /// A waiter of this rank.
    Waiter(Reverse<Rank>),
    /// Nobody.
    Nobody,
    /// Nobody has looked, as it does not matter where a semaphore is alone on its level.
    Unknown,
}

impl Core {
    /// An empty state machine.
    ///
    /// `first_token` is the first fencing token: it must be above every token that this deployment ever
    /// gave. `hash_seed` is a random number that keeps clients from choosing ids that collide in a table, or an order
    /// of waiting that degrades a tree; it has no influence on any reply.
    pub fn new(settings: Settings, first_token: u64, hash_seed: u64) -> Self {
        Self {
            settings,
            now: Time::default(),
            peers: Table::new(),
            peer_slots: Index::new(hash_seed),
            semaphores: Table::new(),
            semaphore_slots: BTreeMap::new(),
            patterns: Patterns::default(),
            is_holding: false,
            is_behind: false,
            detecting: 0,
            leases: BTreeSet::new(),
            returns: BTreeSet::new(),
            absences: BTreeSet::new(),
            usages: Usages::default(),
            serials: Index::new(hash_seed),
            seed: hash_seed,
            next_token: first_token,
            next_sequence: 0,
            touched: BinaryHeap::new(),
            events: Vec::new(),
        }
    }

    /// The events of the commands since [`Core::drain_events`] was called last, in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Takes the events of the commands since the last call, in order.
    pub fn drain_events(&mut self) -> std::vec::Drain<'_, Event> {
        self.events.drain(..)
    }

    /// Whether the last command left events to take.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The largest `now` seen; no later command is taken for an earlier one.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The peer that somebody names, if he may act on it.
    pub(crate) fn find(&self, claim: Claim<'_>) -> Result<PeerSlot, UnknownPeer> {
        let slot = self.slot_of(claim.peer)?;
        if let By::Anybody = claim.by {
            return Ok(slot);
        }
        if self.may_act(claim.by, &self.peers[slot]) || planted!(OwnersIgnored) {
            Ok(slot)
        } else {
            Err(UnknownPeer)
        }
    }

    pub(crate) fn slot_of(&self, peer: PeerId) -> Result<PeerSlot, UnknownPeer> {
        self.peer_slots.get(peer.0).ok_or(UnknownPeer)
    }

    pub(crate) fn semaphore_slot(&self, name: &str) -> Result<SemaphoreSlot, UnknownSemaphore> {
        self.semaphore_slots.get(name).copied().ok_or_else(|| UnknownSemaphore(name.into()))
    }

    /// Turns a request by name into slots. The first use of a name that matches a pattern makes its semaphore.
    pub(crate) fn resolve<E>(
        &mut self,
        by: By<'_>,
        locks: &[(&str, i64)],
        named_twice: impl FnOnce(Name) -> E,
    ) -> Result<Vec<Part>, E>
    where
        E: From<UnknownSemaphore> + From<LimitReached>,
    {
        let mut parts = Vec::with_capacity(locks.len());
        for &(name, count) in locks {
            parts.push(Part { semaphore: self.slot_or_member::<E>(by, name)?, count });
        }
        let mut slots: Vec<_> = parts.iter().map(|part| part.semaphore).collect();
        slots.sort_unstable();
        match slots.windows(2).find(|pair| matches!(pair, [a, b] if a == b)) {
            Some([twice, ..]) => Err(named_twice(self.name_of(*twice))),
            _ => Ok(parts),
        }
    }

    /// Marks the queue of a semaphore to be looked at before this command is over.
    pub(crate) fn touch(&mut self, semaphore: SemaphoreSlot) {
        let Semaphore { name, spec, .. } = &self.semaphores[semaphore];
        let (level, name) = (spec.level, Reverse(name.clone()));
        self.touched.push(Touched { level, first: First::Unknown, name, slot: semaphore });
    }

    pub(crate) fn touch_all(&mut self) {
        let all: Vec<SemaphoreSlot> = self.semaphores.slots().collect();
        for slot in all {
            self.touch(slot);
        }
    }

    pub(crate) fn name_of(&self, semaphore: SemaphoreSlot) -> Name {
        self.semaphores[semaphore].name.clone()
    }

    pub(crate) fn check_room(&self, resource: Resource, used: usize) -> Result<(), LimitReached> {
        let limits = &self.settings.limits;
        let limit = match resource {
            Resource::Peers => limits.peers,
            Resource::Waiters => limits.waiters_per_semaphore,
            Resource::Locks => limits.locks_per_peer,
            Resource::Parts => limits.locks_per_request,
            Resource::JointParts => limits.locks_per_queue,
            Resource::Semaphores => limits.semaphores,
            Resource::Members => limits.members_per_pattern,
            Resource::Walk => limits.deadlock_walk,
            // See `check_share`.
            Resource::Share(_) => usize::MAX,
        };
        if used <= limit || planted!(LimitsIgnored) { Ok(()) } else { Err(LimitReached { resource, limit }) }
    }
}
