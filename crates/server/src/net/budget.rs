//! The budget of bytes for all requests and answers on their way.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// What each request or answer has without being counted, in bytes: nearly all have no more.
const FREE: usize = 2048;

/// What all together may have beyond that, in bytes.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    /// So many bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0) })
    }

    /// Whether there is room for so many bytes more.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.used.load(Relaxed).saturating_add(bytes) <= self.limit
    }
}

/// What one connection has of the budget. It belongs to one task: its own atomics order nothing.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    bytes: AtomicUsize,
}

impl Share {
    pub(super) fn of(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), bytes: AtomicUsize::new(0) }
    }

    /// So many bytes are on their way now. Tells whether there is room for them; else nothing changes.
    pub(super) fn set(&self, bytes: usize) -> bool {
        let (used, limit) = (&self.budget.used, self.budget.limit);
        let before = self.bytes.load(Relaxed).saturating_sub(FREE);
        let now = bytes.saturating_sub(FREE);
        if now > before {
            let more = now - before;
            if used.fetch_add(more, Relaxed).saturating_add(more) > limit {
                used.fetch_sub(more, Relaxed);
                return false;
            }
        } else if now < before {
            used.fetch_sub(before - now, Relaxed);
        }
        self.bytes.store(bytes, Relaxed);
        true
    }

    /// More bytes are on their way. Tells whether there is room for them.
    pub(super) fn add(&self, bytes: usize) -> bool {
        self.set(self.bytes.load(Relaxed).saturating_add(bytes))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_free_part_counts_until_it_is_gone() {
        let budget = Budget::new(1000);
        let (one, other) = (Share::of(&budget), Share::of(&budget));
        assert!(one.add(FREE), "this much is free");
        assert_eq!(budget.used.load(Relaxed), 0);
        assert!(one.add(600));
        assert!(other.add(FREE + 400), "all is used now");
        assert!(!other.add(1));
        drop(other);
        assert!(one.add(400));
        assert!(!one.add(1));
        assert!(one.set(0));
        assert_eq!(budget.used.load(Relaxed), 0);
        assert!(one.add(FREE + 1000));
    }
}
