//! How peers and grants ended that ended not long ago: so that a client whose peer or token is gone can be told why.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    sync::Arc,
};

use throttle_core::{EndCause, planted};
use throttle_journal::WallTime;

/// How a peer or a grant ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Why.
    pub cause: EndCause,
    /// What the operator who released it gave as the reason.
    pub reason: Option<Arc<str>>,
    /// When, by the wall clock of that moment.
    pub at: WallTime,
}

/// A memory of the last endings; the oldest make room for new ones.
pub(crate) struct Endings<K> {
    limit: usize,
    next: u64,
    by_key: HashMap<K, (u64, Ending), foldhash::fast::RandomState>,
    /// In order of their ends. A peer that was restored and ended again is in here twice; its number tells
    /// which entry counts.
    order: VecDeque<(u64, K)>,
}

impl<K: Copy + Eq + Hash> Endings<K> {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, next: 0, by_key: HashMap::default(), order: VecDeque::new() }
    }

    pub(crate) fn remember(&mut self, key: K, mut ending: Ending) {
        if planted!(EndingConfused) && ending.cause == EndCause::Expired {
            ending.cause = EndCause::Released;
        }
        if self.limit == 0 || planted!(EndingForgotten) {
            return;
        }
        if self.order.len() >= self.limit
            && let Some((number, oldest)) = self.order.pop_front()
            && self.by_key.get(&oldest).is_some_and(|(last, _)| *last == number)
        {
            self.by_key.remove(&oldest);
        }
        self.by_key.insert(key, (self.next, ending));
        self.order.push_back((self.next, key));
        self.next += 1;
    }

    pub(crate) fn of(&self, key: K) -> Option<&Ending> {
        self.by_key.get(&key).map(|(_, ending)| ending)
    }
}

#[cfg(test)]
mod tests {
    use throttle_core::PeerId;

    use super::*;

    fn ending(micros: u64) -> Ending {
        Ending { cause: EndCause::Released, reason: None, at: WallTime::from_micros(micros) }
    }

    #[test]
    fn the_oldest_are_forgotten_first() {
        let mut ended = Endings::new(2);
        // The first peer ends twice: its later end outlives its earlier place in the order.
        for (peer, micros) in [(1, 1), (1, 2), (2, 3)] {
            ended.remember(PeerId(peer), ending(micros));
        }
        assert_eq!(ended.of(PeerId(1)), Some(&ending(2)));
        assert_eq!(ended.of(PeerId(2)), Some(&ending(3)));
        ended.remember(PeerId(3), ending(4));
        assert_eq!(ended.of(PeerId(1)), None);
        assert_eq!(ended.by_key.len(), 2);
        assert_eq!(ended.order.len(), 2);
    }
}
