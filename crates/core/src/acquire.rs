//! Asking for locks.

use std::time::Duration;

use crate::{
    deadlock::Candidate,
    error::{AcquireError, LimitReached, Resource, UnknownPeer, UnknownSemaphore},
    event::{EndCause, Event},
    names::Token,
    owner::Claim,
    peer::Part,
    planted,
    queue::Waiter,
    semaphore::{Deadlock, Spec},
    slot::{PeerSlot, SemaphoreSlot},
    state::Core,
    time::Time,
};

/// A request for one or more locks.
#[derive(Clone, Copy, Debug)]
pub struct Acquire<'a> {
    /// The peer that asks.
    pub peer: Claim<'a>,
    /// Each semaphore and the count asked for, all or nothing.
    pub locks: &'a [(&'a str, i64)],
    /// Higher is served first; 0 is usual.
    pub priority: i32,
    /// Moves the end of the peer's lease too.
    pub expires_in: Option<Duration>,
}

/// The state of the locks that a request named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All are acquired. Carries the fencing token of the first one, if it has one.
    Acquired(Option<Token>),
    /// At least one is pending.
    Pending,
}

impl Core {
    /// Asks for locks. What the peer has already is not asked for again: the same count is a question
    /// about the state of that lock, a smaller one shrinks it at once. The rest is one request that is
    /// granted in a single step, now or later.
    ///
    /// The checks run in this order: semaphore, count above `max` (withdraws the request if it was
    /// waiting), peer (its lease moves), count below 1, repeat, hierarchy, pending. A refused request
    /// changes nothing but what is said here.
    pub fn acquire(&mut self, now: Time, request: &Acquire<'_>) -> Result<Status, AcquireError> {
        let now = self.begin_with(now, request.peer.peer);
        let outcome = self.try_acquire(now, request);
        self.finish(now);
        outcome
    }

    fn try_acquire(&mut self, now: Time, request: &Acquire<'_>) -> Result<Status, AcquireError> {
        let parts = self.resolve(request.peer.by, request.locks, AcquireError::NamedTwice)?;
        self.check_leaving(request.peer, &parts)?;
        self.check_max(request.peer, &parts)?;
        let slot = self.find(request.peer)?;
        if request.expires_in.is_some() {
            self.renew(now, slot, request.expires_in);
        }
        if let Some(part) = parts.iter().find(|part| part.count < 1) {
            return Err(AcquireError::CountBelowOne {
                semaphore: self.name_of(part.semaphore),
                count: part.count,
            });
        }
        let new = self.without_repeats(slot, &parts)?;
        if !new.is_empty() {
            if !planted!(LevelsIgnored) {
                self.check_hierarchy(slot, &new)?;
            }
            if self.peers[slot].pending.is_some() {
                return Err(AcquireError::AlreadyPending);
            }
            self.check_room(Resource::Parts, new.len())?;
            self.check_room(Resource::Locks, self.peers[slot].locks.len() + new.len())?;
        }
        // What a shrunk lock frees may be for another, so the new part takes its place in line first.
        let at_once = !self.shrinks(slot, &parts) && self.fits_ahead_of_all(now, &new, request.priority);
        if !at_once && !new.is_empty() {
            self.check_pending_share(request.peer.by, slot)?;
            for part in &new {
                let on = &self.semaphores[part.semaphore];
                self.check_room(Resource::Waiters, on.queue.len() + 1)?;
                if new.len() > 1 {
                    self.check_room(Resource::JointParts, on.joint_parts + new.len())?;
                }
            }
            if self.detecting > 0 && !planted!(DeadlockMissed) {
                let rank = self.rank(now, request.priority);
                self.check_deadlock(&Candidate { peer: slot, rank, new: &new, named: &parts })?;
            }
        }
        let is_repeat = parts.iter().any(|part| self.peers[slot].asked(part.semaphore).is_some());
        let was_gone = is_repeat && self.ask_again(slot, &parts)?;
        self.shrink(now, slot, &parts);
        if at_once {
            for part in new {
                self.grant(now, slot, part, None);
            }
        } else if !new.is_empty() {
            self.wait(now, slot, new, request.priority);
        }
        self.grant_touched(now);
        if was_gone {
            self.start_absence(now, slot);
        }
        Ok(self.status(slot, request.locks, &parts))
    }

    /// A semaphore that is about to go takes no new requests.
    fn check_leaving(&self, peer: Claim<'_>, parts: &[Part]) -> Result<(), UnknownSemaphore> {
        let count_of = |part: &Part| self.count_of(self.find(peer).ok()?, part.semaphore);
        let is_new = |part: &Part| count_of(part).is_none();
        let leaving = parts.iter().find(|part| self.semaphores[part.semaphore].is_leaving && is_new(part));
        leaving.map_or(Ok(()), |part| Err(UnknownSemaphore(self.name_of(part.semaphore))))
    }

    fn check_max(&mut self, peer: Claim<'_>, parts: &[Part]) -> Result<(), AcquireError> {
        let beyond = parts.iter().find(|part| self.semaphores[part.semaphore].spec.is_beyond(part.count));
        let Some(part) = beyond else { return Ok(()) };
        let waits_for_it = |&slot: &PeerSlot| self.peers[slot].asked(part.semaphore) == Some(part);
        if let Some(slot) = self.find(peer).ok().filter(waits_for_it) {
            self.withdraw(slot, EndCause::ExceedsMax);
        }
        let semaphore = &self.semaphores[part.semaphore];
        Err(AcquireError::ExceedsMax {
            semaphore: semaphore.name.clone(),
            count: part.count,
            max: semaphore.spec.max,
        })
    }

    /// The parts that the peer does not have yet. A larger count than it has is refused: to wait for more
    /// while holding some would be a way into a deadlock.
    fn without_repeats(&self, slot: PeerSlot, parts: &[Part]) -> Result<Vec<Part>, AcquireError> {
        let mut new = Vec::new();
        for part in parts {
            match self.count_of(slot, part.semaphore) {
                None => new.push(*part),
                Some(count) if part.count > count && !planted!(LargerTakenForRepeat) => {
                    let Spec { level, .. } = self.semaphores[part.semaphore].spec;
                    let semaphore = self.name_of(part.semaphore);
                    return Err(AcquireError::Hierarchy { semaphore, level, held: level });
                }
                Some(_) => {}
            }
        }
        Ok(new)
    }

    /// The count that the peer has on a semaphore, acquired or pending.
    fn count_of(&self, slot: PeerSlot, semaphore: SemaphoreSlot) -> Option<i64> {
        let peer = &self.peers[slot];
        let held = peer.held(semaphore).map(|held| held.count);
        held.or_else(|| peer.asked(semaphore).map(|part| part.count))
    }

    fn check_hierarchy(&self, slot: PeerSlot, new: &[Part]) -> Result<(), AcquireError> {
        // The lowest level held, of all locks and of those whose deadlocks levels must prevent.
        let (mut lowest, mut lowest_ordered) = (None, None);
        for held in &self.peers[slot].locks {
            let Spec { level, deadlock, .. } = self.semaphores[held.semaphore].spec;
            let lower = |lowest: Option<i32>| Some(lowest.map_or(level, |lowest| lowest.min(level)));
            lowest = lower(lowest);
            if deadlock == Deadlock::Hierarchy {
                lowest_ordered = lower(lowest_ordered);
            }
        }
        for part in new {
            let Spec { level, deadlock, .. } = self.semaphores[part.semaphore].spec;
            let lowest = if deadlock == Deadlock::Detect { lowest_ordered } else { lowest };
            let is_wrong = |held: &i32| if planted!(LevelsTooStrict) { true } else { level >= *held };
            if let Some(held) = lowest.filter(is_wrong) {
                let semaphore = self.name_of(part.semaphore);
                return Err(AcquireError::Hierarchy { semaphore, level, held });
            }
        }
        Ok(())
    }

    /// Whether a request that arrives now would be first in every queue and fit everywhere.
    fn fits_ahead_of_all(&self, now: Time, parts: &[Part], priority: i32) -> bool {
        if self.is_holding {
            return parts.is_empty();
        }
        let rank = self.rank(now, priority);
        parts.iter().all(|part| {
            let on = &self.semaphores[part.semaphore];
            let is_let_through = |first: &Waiter| {
                first.rank > rank || parts.len() == 1 && self.passes_all(now, part.semaphore, first, rank)
            };
            on.fits(part.count) && on.queue.first(on.spec.max).is_none_or(is_let_through)
        })
    }

    fn shrinks(&self, slot: PeerSlot, parts: &[Part]) -> bool {
        parts.iter().any(|part| self.count_of(slot, part.semaphore).is_some_and(|count| part.count < count))
    }

    /// Shrinks every lock of the peer that `parts` names with a smaller count.
    fn shrink(&mut self, now: Time, slot: PeerSlot, parts: &[Part]) {
        for part in parts {
            let Some(count) = self.count_of(slot, part.semaphore).filter(|&count| part.count < count) else {
                continue;
            };
            let less = if planted!(ShrinkGivesBackAll) { count } else { count - part.count };
            self.set_count(now, slot, part.semaphore, part.count, less);
        }
    }

    /// Sets what the peer has on a semaphore, which is `less` more now, to `count`.
    pub(crate) fn set_count(
        &mut self,
        now: Time,
        slot: PeerSlot,
        semaphore: SemaphoreSlot,
        count: i64,
        less: i64,
    ) {
        let peer = &mut self.peers[slot];
        let id = peer.id;
        if let Some(held) = peer.locks.iter_mut().find(|held| held.semaphore == semaphore) {
            held.count = count;
            let given_at = held.since;
            self.free(now, semaphore, less, given_at);
        } else {
            self.shrink_pending(slot, semaphore, count);
        }
        self.events.push(Event::Shrunk { peer: id, semaphore: self.name_of(semaphore), count, at: now });
    }

    fn status(&self, slot: PeerSlot, locks: &[(&str, i64)], parts: &[Part]) -> Status {
        let peer = &self.peers[slot];
        if parts.iter().any(|part| peer.held(part.semaphore).is_none()) {
            return Status::Pending;
        }
        let first = locks.first().and_then(|(name, _)| self.semaphore_slots.get(*name));
        Status::Acquired(first.and_then(|&semaphore| peer.held(semaphore)?.token))
    }
}

impl From<UnknownPeer> for AcquireError {
    fn from(UnknownPeer: UnknownPeer) -> Self {
        Self::UnknownPeer
    }
}

impl From<UnknownSemaphore> for AcquireError {
    fn from(UnknownSemaphore(name): UnknownSemaphore) -> Self {
        Self::UnknownSemaphore(name)
    }
}

impl From<LimitReached> for AcquireError {
    fn from(limit: LimitReached) -> Self {
        Self::Limit(limit)
    }
}
