//! A hash table of numbers that grows a part at a time.
//!
//! One table would hash all its entries anew when it grows: with a million of them that takes tens of milliseconds, in
//! which everybody waits. Of many small ones, one grows at a time.

use std::collections::HashMap;

use foldhash::fast::FixedState;

/// How many tables there are, as a power of two.
const PARTS_LOG2: u32 = 4;

pub(crate) struct Index<V> {
    parts: Box<[HashMap<u64, V, FixedState>]>,
}

impl<V: Copy> Index<V> {
    /// `seed` is a random number that keeps clients from choosing numbers that collide.
    pub(crate) fn new(seed: u64) -> Self {
        let part = |_| HashMap::with_hasher(FixedState::with_seed(seed));
        Self { parts: (0..1 << PARTS_LOG2).map(part).collect() }
    }

    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(HashMap::len).sum()
    }

    pub(crate) fn get(&self, number: u64) -> Option<V> {
        self.parts.get(part_of(number))?.get(&number).copied()
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        self.parts.get(part_of(number)).is_some_and(|part| part.contains_key(&number))
    }

    pub(crate) fn insert(&mut self, number: u64, value: V) {
        if let Some(part) = self.parts.get_mut(part_of(number)) {
            part.insert(number, value);
        }
    }

    pub(crate) fn remove(&mut self, number: u64) {
        if let Some(part) = self.parts.get_mut(part_of(number)) {
            part.remove(&number);
        }
    }
}

/// Spreads numbers that follow each other, and random ones (Knuth, *The Art of Computer Programming*, 6.4).
fn part_of(number: u64) -> usize {
    const GOLDEN_RATIO: u64 = 0x9E37_79B9_7F4A_7C15;
    usize::try_from(number.wrapping_mul(GOLDEN_RATIO) >> (u64::BITS - PARTS_LOG2)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_and_spread() {
        let mut index = Index::new(7);
        for number in 0..64_000 {
            index.insert(number, number + 1);
        }
        index.insert(u64::MAX, 0);
        assert_eq!(
            (index.len(), index.get(5), index.get(u64::MAX), index.get(64_000)),
            (64_001, Some(6), Some(0), None)
        );
        assert!(index.parts.iter().all(|part| (3_600..4_400).contains(&part.len())));
        index.remove(5);
        assert!(!index.contains(5) && index.contains(6));
        assert_eq!(index.len(), 64_000);
    }
}
