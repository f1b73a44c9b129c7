//! Declaring, resizing and removing semaphores.

use std::time::Duration;

use crate::{
    error::{InUse, RemoveError, UnknownSemaphore},
    event::{EndCause, Event},
    planted,
    semaphore::{Deadlock, Origin, Semaphore, Spec},
    slot::{PeerSlot, SemaphoreSlot},
    state::Core,
    time::Time,
};

impl Core {
    /// Creates a semaphore, or changes what it is. Growing wakes waiters; after shrinking, holders finish;
    /// a waiter whose count is now above `max` keeps its place and is passed over until it fits. A member of a
    /// pattern that is set on its own is a member no more.
    pub fn set_semaphore(&mut self, now: Time, name: &str, spec: Spec) {
        let now = self.begin(now);
        let spec = Spec { max: spec.max.max(0), ..spec };
        if let Some(&slot) = self.semaphore_slots.get(name) {
            if spec.origin != Origin::Pattern {
                self.set_pattern_of(slot, None);
            }
            let semaphore = &mut self.semaphores[slot];
            let was_leaving = std::mem::take(&mut semaphore.is_leaving);
            if was_leaving && semaphore.spec == spec {
                self.emit_set(slot);
            }
            self.change_spec(now, slot, spec);
        } else {
            let slot = self.insert_semaphore(name.into(), spec);
            self.emit_set(slot);
        }
        self.finish(now);
    }

    /// Removes a semaphore. While it is in use this is refused, unless `force` releases every lock on it
    /// and withdraws every request for it.
    pub fn remove_semaphore(&mut self, now: Time, name: &str, force: bool) -> Result<(), RemoveError> {
        let now = self.begin(now);
        let slot = self.semaphore_slot(name)?;
        let semaphore = &self.semaphores[slot];
        if semaphore.is_in_use() && !force {
            let in_use = InUse { holders: semaphore.holders.len(), waiters: semaphore.queue.len() };
            return Err(RemoveError::InUse(in_use));
        }
        let holders = semaphore.holders.values();
        let users: Vec<PeerSlot> =
            holders.chain(semaphore.queue.iter_from(0).map(|w| &w.peer)).copied().collect();
        for peer in users {
            self.release_slot(now, peer, slot, EndCause::Removed);
        }
        self.drop_semaphore(slot);
        self.finish(now);
        Ok(())
    }

    /// Does a [step](crate::Settings::step) of what [`Core::remove_semaphore`] does by force, where that would hold up
    /// others for long: from now on it takes no new requests, and is gone once it is idle. Returns how many holders and
    /// waiters are left.
    pub fn evict(&mut self, now: Time, name: &str) -> Result<usize, UnknownSemaphore> {
        let now = self.begin(now);
        let slot = self.semaphore_slot(name)?;
        self.retire(slot);
        let Semaphore { holders, queue, .. } = &self.semaphores[slot];
        let users = holders.len() + queue.len();
        // Waiters first, so that none of them is granted what a holder gives up.
        let first = queue.iter_from(0).map(|waiter| &waiter.peer).chain(holders.values());
        let first: Vec<PeerSlot> = first.take(self.settings.step).copied().collect();
        let left = users - first.len();
        for peer in first {
            self.release_slot(now, peer, slot, EndCause::Removed);
        }
        self.finish(now);
        Ok(left)
    }

    /// Removes a semaphore as soon as it is not used: from now on it takes no new requests.
    pub fn retire_semaphore(&mut self, now: Time, name: &str) -> Result<(), UnknownSemaphore> {
        let now = self.begin(now);
        let slot = self.semaphore_slot(name)?;
        self.retire(slot);
        self.finish(now);
        Ok(())
    }

    pub(crate) fn retire(&mut self, slot: SemaphoreSlot) {
        let semaphore = &mut self.semaphores[slot];
        if !std::mem::replace(&mut semaphore.is_leaving, true) && semaphore.is_announced {
            self.events.push(Event::SemaphoreRetired { semaphore: semaphore.name.clone() });
        }
        self.touch(slot);
    }

    /// Makes a semaphore what `spec` says, and looks again at everybody whom that concerns.
    pub(crate) fn change_spec(&mut self, now: Time, slot: SemaphoreSlot, spec: Spec) {
        let before = std::mem::replace(&mut self.semaphores[slot].spec, spec);
        if before == spec {
            return;
        }
        if spec.max > 0 {
            self.semaphores[slot].max_before_pause = None;
        } else if before.max > 0 {
            self.semaphores[slot].max_before_pause = Some(before.max);
        }
        self.detecting += usize::from(spec.deadlock == Deadlock::Detect);
        self.detecting -= usize::from(before.deadlock == Deadlock::Detect);
        self.next_sequence += 1;
        self.semaphores[slot].changed_at = self.next_sequence;
        self.emit_set(slot);
        if before.per != spec.per {
            self.shift_cooling(now, slot, before.per, spec.per);
        }
        if (before.level, before.deadlock) == (spec.level, spec.deadlock) {
            self.review_joint(slot, before.max.min(spec.max), before.max.max(spec.max));
        } else {
            self.review_joint(slot, i64::MIN, i64::MAX);
        }
        // A pause is the will of an operator, not too much of anything.
        if spec.max < before.max && spec.max > 0 {
            self.report_overcommit(slot);
        }
        if !planted!(ResizeWakesNobody) {
            self.touch(slot);
        }
    }

    /// Moves the times when released count is due back to where another rate has them.
    fn shift_cooling(
        &mut self,
        now: Time,
        slot: SemaphoreSlot,
        before: Option<Duration>,
        after: Option<Duration>,
    ) {
        let semaphore = &mut self.semaphores[slot];
        let cooling = std::mem::take(&mut semaphore.cooling);
        semaphore.cooling_sum = 0;
        if let Some((&first, _)) = cooling.first_key_value() {
            self.returns.remove(&(first, slot));
        }
        let (Some(before), Some(after)) = (before, after) else { return };
        for (due, count) in cooling {
            let given_at = Time::default() + due.since(Time::default()).saturating_sub(before);
            let due = given_at + after;
            if due > now {
                self.cool(slot, count, due);
            }
        }
    }

    pub(crate) fn emit_set(&mut self, slot: SemaphoreSlot) {
        let at = self.now;
        let Semaphore { name, spec, pattern, is_announced, .. } = &self.semaphores[slot];
        if *is_announced {
            self.events.push(Event::SemaphoreSet {
                semaphore: name.clone(),
                spec: *spec,
                pattern: pattern.clone(),
                at,
            });
        }
    }
}

impl From<UnknownSemaphore> for RemoveError {
    fn from(UnknownSemaphore(name): UnknownSemaphore) -> Self {
        Self::UnknownSemaphore(name)
    }
}
