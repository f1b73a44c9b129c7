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
pub(crate) const PASSED_MAX: usize = 64;

impl Core {
    /// The first request on a semaphore that is not passed, from the `first` in line on, if that passes any, and asks
    /// for this semaphore alone.
    pub(crate) fn first_to_pass<'a>(
        &'a self,
        now: Time,
        semaphore: SemaphoreSlot,
        first: &'a Waiter,
    ) -> Option<&'a Waiter> {
        let mut line = self.line(semaphore, first).take(PASSED_MAX + 1);
        let next = line.find(|waiter| !self.is_passed(now, semaphore, waiter))?;
        (next.rank != first.rank && self.asks_for_one(next)).then_some(next)
    }

    /// Whether a request for this semaphore alone, whose place would be `rank`, passes all who stand before it, from
    /// the `first` in line on.
    pub(crate) fn passes_all(&self, now: Time, semaphore: SemaphoreSlot, first: &Waiter, rank: Rank) -> bool {
        let mut ahead = self.line(semaphore, first).take_while(|waiter| waiter.rank < rank);
        ahead.by_ref().take(PASSED_MAX).all(|waiter| self.is_passed(now, semaphore, waiter))
            && ahead.next().is_none()
    }

    /// Those who take part in a queue, from one on.
    fn line<'a>(&'a self, semaphore: SemaphoreSlot, first: &'a Waiter) -> impl Iterator<Item = &'a Waiter> {
        let on = &self.semaphores[semaphore];
        std::iter::successors(Some(first), |at| on.queue.first_behind(at.rank, on.spec.max))
    }

    /// Whether requests for this semaphore alone pass a waiter that cannot be granted now.
    pub(crate) fn is_passed(&self, now: Time, semaphore: SemaphoreSlot, waiter: &Waiter) -> bool {
        let on = &self.semaphores[semaphore];
        if on.spec.order == Order::Strict || planted!(NobodyPasses) {
            return false;
        }
        let Some(request) = &self.peers[waiter.peer].pending else { return false };
        let is_joint = if planted!(SinglesArePassed) { true } else { request.parts.len() > 1 };
        is_joint
            && request.presence.can_be_granted()
            && on.fits(waiter.count)
            && now.since(waiter.since) < self.settings.pass_within
    }

    fn asks_for_one(&self, waiter: &Waiter) -> bool {
        self.peers[waiter.peer].pending.as_ref().is_some_and(|request| request.parts.len() == 1)
    }
}
