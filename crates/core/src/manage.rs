//! Declaring, resizing and removing semaphores.

use crate::{
    error::{InUse, UnknownSemaphore},
    event::{EndCause, Event},
    names::Name,
    semaphore::{Semaphore, Spec},
    state::Core,
    time::Time,
};

impl Core {
    /// Creates a semaphore, or changes what it is. Growing wakes waiters; after shrinking, holders finish;
    /// a waiter whose count is now above `max` keeps its place and is passed over until it fits.
    pub fn set_semaphore(&mut self, now: Time, name: &str, spec: Spec) {
        let now = self.advance(now);
        let spec = Spec { max: spec.max.max(0), ..spec };
        let slot = if let Some(&slot) = self.semaphore_slots.get(name) {
            let before = std::mem::replace(&mut self.semaphores[slot].spec, spec);
            if before == spec {
                return;
            }
            self.emit_set(slot);
            self.review_joint(slot, before.max.min(spec.max), before.max.max(spec.max));
            if spec.max < before.max {
                self.report_overcommit(slot);
            }
            slot
        } else {
            let name = Name::from(name);
            let slot = self.semaphores.insert(Semaphore::new(name.clone(), spec, self.seed));
            self.semaphore_slots.insert(name, slot);
            self.emit_set(slot);
            slot
        };
        self.touched.push(slot);
        self.finish(now);
    }

    /// Removes a semaphore. While it is in use this is refused, unless `force` releases every lock on it
    /// and withdraws every request for it.
    pub fn remove_semaphore(
        &mut self,
        now: Time,
        name: &str,
        force: bool,
    ) -> Result<Result<(), InUse>, UnknownSemaphore> {
        let now = self.advance(now);
        let slot = self.semaphore_slot(name)?;
        let semaphore = &self.semaphores[slot];
        if semaphore.is_in_use() && !force {
            return Ok(Err(InUse { holders: semaphore.holders.len(), waiters: semaphore.queue.len() }));
        }
        let holders = semaphore.holders.values();
        let users: Vec<usize> =
            holders.chain(semaphore.queue.iter_from(0).map(|w| &w.peer)).copied().collect();
        for peer in users {
            self.release_slot(now, peer, slot, EndCause::Operator);
        }
        let semaphore = self.semaphores.remove(slot);
        self.semaphore_slots.remove(&semaphore.name);
        if let Some((&at, _)) = semaphore.cooling.first_key_value() {
            self.returns.remove(&(at, slot));
        }
        self.events.push(Event::SemaphoreRemoved { semaphore: semaphore.name });
        self.finish(now);
        Ok(Ok(()))
    }

    fn emit_set(&mut self, slot: usize) {
        let Semaphore { name, spec, .. } = &self.semaphores[slot];
        self.events.push(Event::SemaphoreSet { semaphore: name.clone(), spec: *spec });
    }
}
