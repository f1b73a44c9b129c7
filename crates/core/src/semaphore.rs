//! One semaphore: its figures, its holders, its queue.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{names::Name, queue::Queue, time::Time};

/// What a semaphore is declared to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The full count; 0 pauses the semaphore.
    pub max: i64,
    /// Its place in the lock hierarchy.
    pub level: i32,
    /// The rate: a grant's count comes back no sooner than this after it was given.
    pub per: Option<Duration>,
    /// Where the declaration came from.
    pub origin: Origin,
}

impl Spec {
    /// A semaphore of level 0 from the file.
    pub const fn with_max(max: i64) -> Self {
        Self { max, level: 0, per: None, origin: Origin::File }
    }
}

/// Who declared a semaphore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The configuration file or the command line.
    File,
    /// A request while the server ran.
    Runtime,
}

/// The state of one semaphore.
pub(crate) struct Semaphore {
    pub(crate) name: Name,
    pub(crate) spec: Spec,
    /// The sum of all acquired counts. Wider than a count: restored peers may overcommit without end.
    pub(crate) acquired: i128,
    /// The peers that hold a lock here, by the serial of the lock: in order of grant.
    pub(crate) holders: BTreeMap<u64, usize>,
    pub(crate) queue: Queue,
    /// The peers in the queue whose request asks for other semaphores too, by their count here.
    pub(crate) joint: BTreeSet<(i64, usize)>,
    /// Released count that the rate holds back, by the time when it is due.
    pub(crate) cooling: BTreeMap<Time, i128>,
    pub(crate) cooling_sum: i128,
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
            cooling: BTreeMap::new(),
            cooling_sum: 0,
        }
    }

    /// Whether `count` fits beside what is acquired.
    pub(crate) fn fits(&self, count: i64) -> bool {
        self.acquired + self.cooling_sum + i128::from(count) <= i128::from(self.spec.max)
    }

    /// Whether a request of this count can never be granted while `max` is what it is.
    pub(crate) fn is_beyond(&self, count: i64) -> bool {
        self.spec.max != 0 && count > self.spec.max
    }

    pub(crate) fn is_in_use(&self) -> bool {
        !self.holders.is_empty() || self.queue.len() > 0
    }
}
