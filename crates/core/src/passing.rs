//! Passing: on a semaphore whose order is [`Order::Pass`], a request for it alone need not wait behind one that
//! waits for something else.
//!
//! Whoever stands before it, asks for several semaphores, and would fit here, waits for another one: else it would
//! have been granted. It is passed as long as it has not waited for longer than
//! [`pass_within`](crate::Settings::pass_within). After that it holds up all behind it, so what it needs here
//! gathers, and nobody starves. Requests over several semaphores pass nobody, and a request for this one alone is
//! passed by nobody.

use crate::{
    planted,
    queue::{Rank, Waiter},
    semaphore::Order,
    slot::SemaphoreSlot,
    state::Core,
    time::Time,
};

/// As many are passed at most by one request: what is looked at in one go has a bound.
const PASSED_MAX: usize = 64;

impl Core {
    /// The first request on a semaphore that is not passed, if that passes any, and asks for this semaphore alone.
    pub(crate) fn first_to_pass(&self, now: Time, semaphore: SemaphoreSlot) -> Option<&Waiter> {
        let on = &self.semaphores[semaphore];
        let first = on.queue.first(on.spec.max)?;
        let next = self.behind_passed(now, semaphore, first)?;
        (next.rank != first.rank && self.asks_for_one(next)).then_some(next)
    }

    /// Whether a request for this semaphore alone, whose place would be `rank`, passes all who stand before it.
    pub(crate) fn passes_all(&self, now: Time, semaphore: SemaphoreSlot, rank: Rank) -> bool {
        let on = &self.semaphores[semaphore];
        let Some(first) = on.queue.first(on.spec.max).filter(|first| first.rank < rank) else { return true };
        let mut at = first;
        for _ in 0..PASSED_MAX {
            if !self.is_passed(now, semaphore, at) {
                return false;
            }
            match on.queue.first_behind(at.rank, on.spec.max).filter(|next| next.rank < rank) {
                Some(next) => at = next,
                None => return true,
            }
        }
        false
    }

    /// The first from `first` on that is not passed, unless too many are.
    fn behind_passed<'a>(
        &'a self,
        now: Time,
        semaphore: SemaphoreSlot,
        first: &'a Waiter,
    ) -> Option<&'a Waiter> {
        let on = &self.semaphores[semaphore];
        let mut at = first;
        for _ in 0..PASSED_MAX {
            if !self.is_passed(now, semaphore, at) {
                return Some(at);
            }
            at = on.queue.first_behind(at.rank, on.spec.max)?;
        }
        None
    }

    /// Whether requests for this semaphore alone pass a waiter that cannot be granted now.
    pub(crate) fn is_passed(&self, now: Time, semaphore: SemaphoreSlot, waiter: &Waiter) -> bool {
        let on = &self.semaphores[semaphore];
        let Some(request) = &self.peers[waiter.peer].pending else { return false };
        let is_joint = if planted!(SinglesArePassed) { true } else { request.parts.len() > 1 };
        let is_young = || now.since(waiter.since) < self.settings.pass_within;
        if planted!(NobodyPasses) {
            return false;
        }
        on.spec.order == Order::Pass
            && is_joint
            && request.presence.can_be_granted()
            && on.fits(waiter.count)
            && is_young()
    }

    fn asks_for_one(&self, waiter: &Waiter) -> bool {
        self.peers[waiter.peer].pending.as_ref().is_some_and(|request| request.parts.len() == 1)
    }
}
