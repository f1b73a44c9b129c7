//! What the server says, as far as it is more than figures.

pub(super) use throttle_api::{Peer, Pending, Semaphore, SemaphoreDetail as Detail, Waiter};

/// What a peer waits for, ordered by name.
pub(super) fn by_name(pending: &Pending) -> impl Iterator<Item = (&str, i64)> {
    let mut locks: Vec<_> = pending.locks.iter().map(|(name, count)| (&**name, *count)).collect();
    locks.sort_unstable();
    locks.into_iter()
}

/// What the figures of a semaphore come to.
pub(in crate::command::operator) trait Figures {
    /// How much of it is used, 1.0 for all.
    fn share(&self) -> f64;

    /// By how much more is held than there is. A pause alone makes nobody hold too much.
    fn over(&self) -> i64;

    /// Whether nobody gets any of it.
    fn is_paused(&self) -> bool;
}

impl Figures for Semaphore {
    fn share(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "it is drawn, and compared to be sorted")]
        let [acquired, max] = [self.acquired as f64, self.max as f64];
        if self.max > 0 {
            acquired / max
        } else if self.acquired > 0 {
            f64::INFINITY
        } else {
            0.0
        }
    }

    fn over(&self) -> i64 {
        if self.is_paused() { 0 } else { self.acquired.saturating_sub(self.max).max(0) }
    }

    fn is_paused(&self) -> bool {
        self.max == 0
    }
}
