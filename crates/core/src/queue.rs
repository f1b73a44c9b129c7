//! The waiters of one semaphore, in the order in which they are granted.
//!
//! An order-statistic treap: a binary search tree on the rank that is also a heap on a keyed hash of it, so its
//! depth is logarithmic whatever the order of arrival (Seidel and Aragon, *Randomized Search Trees*, 1996).
//! Each node keeps figures of its subtree; they answer in O(log n) who is first among those that fit
//! a `max`, how many stand ahead, and since when the oldest waits.

use std::{cmp::Ordering, hash::BuildHasher};

use foldhash::quality::FixedState;

use crate::{arena::Arena, slot::PeerSlot, time::Time};

/// A place in a queue: smaller is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank {
    /// Arrival in microseconds, minus the priority times the ageing step. Fixed on entry.
    pub key: i64,
    /// Sets requests of one key apart by their order of arrival.
    pub sequence: u64,
}

/// One request in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiter {
    pub(crate) rank: Rank,
    /// Where the peer is.
    pub(crate) peer: PeerSlot,
    pub(crate) count: i64,
    /// The smallest `max` at which this waiter takes part. It is the count, unless the same request is
    /// larger than another semaphore allows now: then it is passed over here too, whatever `max` is.
    pub(crate) needs: u64,
    pub(crate) since: Time,
}

/// What `needs` is while a waiter is passed over because of another semaphore.
pub(crate) const PASSED_OVER: u64 = u64::MAX;

const NIL: usize = usize::MAX;

struct Node {
    waiter: Waiter,
    heap: u64,
    left: usize,
    right: usize,
    // Of the subtree that starts here:
    len: usize,
    sum: i128,
    least_needs: u64,
    oldest: Time,
}

pub(crate) struct Queue {
    /// Keeps clients from choosing an order of ranks that would turn the tree into a list.
    hash: FixedState,
    nodes: Arena<Node>,
    root: usize,
}

impl Queue {
    pub(crate) fn new(seed: u64) -> Self {
        Self { hash: FixedState::with_seed(seed), nodes: Arena::new(), root: NIL }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The sum of all counts.
    pub(crate) fn sum(&self) -> i128 {
        self.sum_of(self.root)
    }

    /// Since when the one that waits longest waits.
    pub(crate) fn oldest(&self) -> Option<Time> {
        self.nodes.get(self.root).map(|node| node.oldest)
    }

    pub(crate) fn insert(&mut self, waiter: Waiter) {
        let heap = self.hash.hash_one(waiter.rank.sequence);
        let node = self.nodes.insert(Node {
            waiter,
            heap,
            left: NIL,
            right: NIL,
            len: 1,
            sum: i128::from(waiter.count),
            least_needs: waiter.needs,
            oldest: waiter.since,
        });
        let (before, after) = self.split(self.root, waiter.rank);
        let front = self.join(before, node);
        self.root = self.join(front, after);
    }

    pub(crate) fn remove(&mut self, rank: Rank) -> Option<Waiter> {
        let (root, removed) = self.remove_below(self.root, rank);
        self.root = root;
        removed
    }

    /// Moves the `max` from which a waiter takes part. Tells whether that is a change.
    pub(crate) fn set_needs(&mut self, rank: Rank, needs: u64) -> bool {
        let is_change = self.get(rank).is_some_and(|waiter| waiter.needs != needs);
        if let Some(waiter) = is_change.then(|| self.remove(rank)).flatten() {
            self.insert(Waiter { needs, ..waiter });
        }
        is_change
    }

    pub(crate) fn get(&self, rank: Rank) -> Option<&Waiter> {
        let mut at = self.root;
        loop {
            let node = self.nodes.get(at)?;
            match rank.cmp(&node.waiter.rank) {
                Ordering::Equal => return Some(&node.waiter),
                Ordering::Less => at = node.left,
                Ordering::Greater => at = node.right,
            }
        }
    }

    /// The first waiter behind `rank` that takes part at this `max`.
    pub(crate) fn first_behind(&self, rank: Rank, max: i64) -> Option<&Waiter> {
        let max = max.cast_unsigned();
        // The nodes on the way down that come after `rank`, the nearest last, each before its right subtree.
        let (mut at, mut after) = (self.root, Vec::new());
        while let Some(node) = self.nodes.get(at) {
            if node.waiter.rank > rank {
                after.push(at);
                at = node.left;
            } else {
                at = node.right;
            }
        }
        while let Some(node) = after.pop().and_then(|at| self.nodes.get(at)) {
            if node.waiter.needs <= max {
                return Some(&node.waiter);
            }
            if let Some(first) = self.first_below(node.right, max) {
                return Some(first);
            }
        }
        None
    }

    /// The first waiter that takes part at this `max`.
    pub(crate) fn first(&self, max: i64) -> Option<&Waiter> {
        self.first_below(self.root, max.cast_unsigned())
    }

    fn first_below(&self, root: usize, max: u64) -> Option<&Waiter> {
        let mut at = root;
        loop {
            let node = self.nodes.get(at).filter(|node| node.least_needs <= max)?;
            if self.nodes.get(node.left).is_some_and(|left| left.least_needs <= max) {
                at = node.left;
            } else if node.waiter.needs <= max {
                return Some(&node.waiter);
            } else {
                at = node.right;
            }
        }
    }

    /// How many waiters stand before `rank`, and the sum of their counts.
    pub(crate) fn ahead_of(&self, rank: Rank) -> (usize, i128) {
        let (mut len, mut sum, mut at) = (0, 0, self.root);
        while let Some(node) = self.nodes.get(at) {
            if node.waiter.rank < rank {
                len += self.len_of(node.left) + 1;
                sum += self.sum_of(node.left) + i128::from(node.waiter.count);
                at = node.right;
            } else {
                at = node.left;
            }
        }
        (len, sum)
    }

    /// All waiters from the one at `position` on (counted from 0), in order.
    pub(crate) fn iter_from(&self, position: usize) -> impl Iterator<Item = &Waiter> {
        // The path of nodes still to visit, each before its right subtree.
        let mut path = Vec::new();
        let (mut at, mut skip) = (self.root, position);
        while let Some(node) = self.nodes.get(at) {
            let left = self.len_of(node.left);
            if skip <= left {
                path.push(at);
                at = node.left;
            } else {
                skip -= left + 1;
                at = node.right;
            }
        }
        std::iter::from_fn(move || {
            let node = self.nodes.get(path.pop()?)?;
            let mut at = node.right;
            while let Some(next) = self.nodes.get(at) {
                path.push(at);
                at = next.left;
            }
            Some(&node.waiter)
        })
    }

    fn len_of(&self, at: usize) -> usize {
        self.nodes.get(at).map_or(0, |node| node.len)
    }

    fn sum_of(&self, at: usize) -> i128 {
        self.nodes.get(at).map_or(0, |node| node.sum)
    }

    /// Recomputes the figures of the subtree at `at` from its children.
    fn refresh(&mut self, at: usize) {
        let Node { waiter, left, right, .. } = self.nodes[at];
        let mut len = 1;
        let mut sum = i128::from(waiter.count);
        let mut least_needs = waiter.needs;
        let mut oldest = waiter.since;
        for child in [left, right] {
            if let Some(child) = self.nodes.get(child) {
                len += child.len;
                sum += child.sum;
                least_needs = least_needs.min(child.least_needs);
                oldest = oldest.min(child.oldest);
            }
        }
        let node = &mut self.nodes[at];
        (node.len, node.sum, node.least_needs, node.oldest) = (len, sum, least_needs, oldest);
    }

    /// Splits the subtree into those before `rank` and the rest.
    fn split(&mut self, at: usize, rank: Rank) -> (usize, usize) {
        let Some(node) = self.nodes.get(at) else { return (NIL, NIL) };
        if node.waiter.rank < rank {
            let (middle, after) = self.split(node.right, rank);
            self.nodes[at].right = middle;
            self.refresh(at);
            (at, after)
        } else {
            let (before, middle) = self.split(node.left, rank);
            self.nodes[at].left = middle;
            self.refresh(at);
            (before, at)
        }
    }

    /// Joins two subtrees, all of the first before all of the second.
    fn join(&mut self, before: usize, after: usize) -> usize {
        let (Some(left), Some(right)) = (self.nodes.get(before), self.nodes.get(after)) else {
            return if before == NIL { after } else { before };
        };
        if left.heap > right.heap {
            let joined = self.join(left.right, after);
            self.nodes[before].right = joined;
            self.refresh(before);
            before
        } else {
            let joined = self.join(before, right.left);
            self.nodes[after].left = joined;
            self.refresh(after);
            after
        }
    }

    fn remove_below(&mut self, at: usize, rank: Rank) -> (usize, Option<Waiter>) {
        let Some(node) = self.nodes.get(at) else { return (NIL, None) };
        let (left, right) = (node.left, node.right);
        let removed = match rank.cmp(&node.waiter.rank) {
            Ordering::Equal => {
                let joined = self.join(left, right);
                return (joined, Some(self.nodes.remove(at).waiter));
            }
            Ordering::Less => {
                let (child, removed) = self.remove_below(left, rank);
                self.nodes[at].left = child;
                removed
            }
            Ordering::Greater => {
                let (child, removed) = self.remove_below(right, rank);
                self.nodes[at].right = child;
                removed
            }
        };
        self.refresh(at);
        (at, removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiter(key: i64, sequence: u64, count: i64) -> Waiter {
        let rank = Rank { key, sequence };
        Waiter {
            rank,
            peer: 0.into(),
            count,
            needs: count.cast_unsigned(),
            since: Time::from_micros(sequence),
        }
    }

    /// However they arrive, the tree stays as shallow as a random one: about 3 log n at most.
    #[test]
    fn it_stays_shallow() {
        fn depth(queue: &Queue, at: usize) -> usize {
            let node = queue.nodes.get(at);
            node.map_or(0, |node| 1 + depth(queue, node.left).max(depth(queue, node.right)))
        }
        for key in [|_| 0, |n: u64| n.cast_signed(), |n: u64| -n.cast_signed()] {
            let mut queue = Queue::new(11);
            (0..4_096).for_each(|n| queue.insert(waiter(key(n), n, 1)));
            assert!(depth(&queue, queue.root) < 40, "{}", depth(&queue, queue.root));
        }
    }

    /// Compares every answer of the tree with that of a sorted list, over a pseudo-random run.
    #[test]
    fn answers_like_a_sorted_list() {
        let mut queue = Queue::new(11);
        let mut list: Vec<Waiter> = Vec::new();
        let hash = FixedState::with_seed(1);
        for sequence in 0..3_000_u64 {
            let random = hash.hash_one(sequence);
            if random % 5 < 3 {
                let mut new = waiter(
                    ((random >> 8) % 50).cast_signed(),
                    sequence,
                    1 + ((random >> 20) % 9).cast_signed(),
                );
                if random.is_multiple_of(7) {
                    new.needs = PASSED_OVER;
                }
                queue.insert(new);
                list.insert(list.partition_point(|w| w.rank < new.rank), new);
            } else if !list.is_empty() {
                let at = (random >> 8) as usize % list.len();
                assert_eq!(queue.remove(list[at].rank), Some(list.remove(at)));
            }
            assert_eq!(queue.len(), list.len());
            assert_eq!(queue.sum(), list.iter().map(|w| i128::from(w.count)).sum::<i128>());
            assert_eq!(queue.oldest(), list.iter().map(|w| w.since).min());
            for max in [0, 1, 4, 9] {
                assert_eq!(queue.first(max), list.iter().find(|w| w.needs <= max.cast_unsigned()));
            }
            if let Some(w) = list.get((random >> 24) as usize % list.len().max(1)) {
                for max in [1, 4, 9] {
                    let takes_part = |other: &&Waiter| other.rank > w.rank && other.needs <= max;
                    assert_eq!(queue.first_behind(w.rank, max.cast_signed()), list.iter().find(takes_part));
                }
            }
            let from = (random >> 16) as usize % (list.len() + 1);
            assert!(queue.iter_from(from).eq(&list[from..]));
            if let Some(w) = list.get(from) {
                let ahead = list[..from].iter().map(|w| i128::from(w.count)).sum();
                assert_eq!(queue.ahead_of(w.rank), (from, ahead));
            }
        }
        assert_eq!(queue.remove(Rank { key: 99, sequence: 0 }), None);
    }
}
