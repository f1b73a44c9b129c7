//! One semaphore: its figures, its holders, its queue.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    names::Name,
    owner::Owner,
    planted,
    queue::{Queue, Rank},
    slot::PeerSlot,
    time::Time,
};

/// What a semaphore is declared to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The full count; 0 pauses the semaphore.
    pub max: i64,
    /// Its place in the lock hierarchy.
    pub level: i32,
    /// The rate: a grant's count comes back no sooner than this after it was given.
    pub per: Option<Duration>,
    /// What keeps those who wait for it from waiting for each other.
    pub deadlock: Deadlock,
    /// Whether a request may pass one that waits for another semaphore.
    pub order: Order,
    /// Where the declaration came from.
    pub origin: Origin,
}

impl Spec {
    /// A semaphore of level 0 from the file.
    pub const fn with_max(max: i64) -> Self {
        Self {
            max,
            level: 0,
            per: None,
            deadlock: Deadlock::Hierarchy,
            order: Order::Strict,
            origin: Origin::File,
        }
    }

    /// Whether a request of this count can never be granted while `max` is what it is.
    pub fn is_beyond(&self, count: i64) -> bool {
        self.max != 0 && count > self.max && !planted!(MaxNotChecked)
    }
}

/// What keeps peers from waiting for each other without end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deadlock {
    /// Levels: a peer asks only for levels below all that it holds.
    #[default]
    Hierarchy,
    /// Among semaphores of this kind levels do not matter; a request that would close a cycle is refused.
    Detect,
}

/// In which order requests are granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// First come, first served: a request over several semaphores holds up those behind it in each of them.
    #[default]
    Strict,
    /// A request for this semaphore alone passes those over several that would fit here, and so wait for another one;
    /// for a time: see [`pass_within`](crate::Settings::pass_within).
    Pass,
}

/// Where a semaphore was declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The configuration file or the command line.
    File,
    /// A request while the server ran.
    Runtime,
    /// The first use of a name that matches a pattern.
    Pattern,
}

/// The state of one semaphore.
pub(crate) struct Semaphore {
    pub(crate) name: Name,
    pub(crate) spec: Spec,
    /// The sum of all acquired counts. Wider than a count: restored peers may overcommit without end.
    pub(crate) acquired: i128,
    /// The peers that hold a lock here, by the serial of the lock: in order of grant.
    pub(crate) holders: BTreeMap<u64, PeerSlot>,
    pub(crate) queue: Queue,
    /// The peers in the queue whose request asks for other semaphores too, by their count here.
    pub(crate) joint: BTreeSet<(i64, PeerSlot)>,
    /// For how many semaphores those ask, all together.
    pub(crate) joint_parts: usize,
    /// Released count that the rate holds back, by the time when it is due.
    pub(crate) cooling: BTreeMap<Time, i128>,
    pub(crate) cooling_sum: i128,
    /// The request over several semaphores, if any, that is first here and fits here.
    pub(crate) leader: Option<(PeerSlot, Rank)>,
    /// The pattern that it was made from.
    pub(crate) pattern: Option<Name>,
    /// For whom the member of a pattern counts: it came to be by one of his requests.
    pub(crate) maker: Owner,
    /// Whether anybody was told of it. A member of a pattern is made before it is known to be of use.
    pub(crate) is_announced: bool,
    /// Takes no new requests and goes once it is idle.
    pub(crate) is_leaving: bool,
    /// When it became what it is, in the order of `next_sequence`: requests with a lower one came before.
    pub(crate) changed_at: u64,
    /// While it is paused: its full count before that, if that is known. Nothing is decided by it.
    pub(crate) max_before_pause: Option<i64>,
    /// A running mean of how long locks were held here, in microseconds.
    pub(crate) mean_hold_us: Option<u64>,
}

impl Semaphore {
    pub(crate) fn new(name: Name, spec: Spec, seed: u64) -> Self {
        Self {
            name,
            spec,
            acquired: 0,
            holders: BTreeMap::new(),
            queue: Queue::new(seed),
            joint: BTreeSet::new(),
            joint_parts: 0,
            cooling: BTreeMap::new(),
            cooling_sum: 0,
            leader: None,
            pattern: None,
            maker: Owner::NOBODY,
            is_announced: true,
            is_leaving: false,
            changed_at: 0,
            max_before_pause: None,
            mean_hold_us: None,
        }
    }

    /// Whether `count` fits beside what is acquired.
    pub(crate) fn fits(&self, count: i64) -> bool {
        let more = i128::from(planted!(GrantBeyondMax));
        self.acquired + self.cooling_sum + i128::from(count) <= i128::from(self.spec.max) + more
    }

    pub(crate) fn is_in_use(&self) -> bool {
        !self.holders.is_empty() || self.queue.len() > 0
    }

    /// Whether nothing would be lost if it vanished now, as members of a pattern do.
    pub(crate) fn may_vanish(&self) -> bool {
        let is_member = self.pattern.is_some() && !planted!(MemberStays);
        (is_member || self.is_leaving) && !self.is_in_use() && self.cooling.is_empty()
    }

    /// Takes a lock of this length into the mean: an eighth of the new one, as for round trips in RFC 6298.
    pub(crate) fn learn_hold(&mut self, held: Duration) {
        let held = u64::try_from(held.as_micros()).unwrap_or(u64::MAX);
        self.mean_hold_us = Some(self.mean_hold_us.map_or(held, |mean| mean - mean / 8 + held / 8));
    }
}
