//! No leak: once everybody has gone and every lease is over, nothing is held and nobody waits.

use super::{Invariant, Shown, Verdict};
use crate::ledger::Ledger;

pub(super) struct Leaks;

impl Invariant for Leaks {
    fn name(&self) -> &'static str {
        "leaks"
    }

    fn over(&mut self, ledger: &Ledger, shown: &Shown<'_>) -> Verdict {
        if shown.seen.peers > 0 {
            return Err(format!("{} peers live, and every lease is over", shown.seen.peers));
        }
        for semaphore in &shown.seen.semaphores {
            if (semaphore.acquired, semaphore.pending, semaphore.waiting) != (0, 0, 0) {
                return Err(format!("nobody is there, and yet: {semaphore:?}"));
            }
            if semaphore.cooling != 0 {
                return Err(format!("the rate is over, and yet: {semaphore:?}"));
            }
            // A member of a pattern is there as long as it is used, unless somebody set it.
            let is_member = semaphore.name.contains('/');
            let was_set = ledger.setup.faults.operators > 0;
            if is_member && !was_set {
                return Err(format!("{:?} is a member of a pattern, and nobody uses it", semaphore.name));
            }
        }
        Ok(())
    }
}
