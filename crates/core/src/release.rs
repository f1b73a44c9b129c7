//! How locks and requests end.

use crate::{
    error::{ReleaseError, UnknownPeer, UnknownSemaphore},
    event::{EndCause, Event},
    owner::Claim,
    peer::Held,
    planted,
    slot::{PeerSlot, SemaphoreSlot},
    state::Core,
    time::Time,
};

impl Core {
    /// Releases what the peer has on one semaphore: the acquired lock, or the whole pending request that
    /// asks for it. Succeeds if there is nothing to release.
    pub fn release_lock(&mut self, now: Time, claim: Claim<'_>, semaphore: &str) -> Result<(), ReleaseError> {
        let now = self.begin_with(now, claim.peer);
        let slot = self.find(claim)?;
        match self.semaphore_slot(semaphore) {
            Ok(semaphore) => self.release_slot(now, slot, semaphore, EndCause::Released),
            // Nobody holds a member of a pattern that is not there.
            Err(unknown) if self.pattern_of(semaphore).is_none() => return Err(unknown.into()),
            Err(_) => {}
        }
        self.finish(now);
        Ok(())
    }

    pub(crate) fn release_slot(
        &mut self,
        now: Time,
        slot: PeerSlot,
        semaphore: SemaphoreSlot,
        cause: EndCause,
    ) {
        let peer = &mut self.peers[slot];
        if let Some(at) = peer.locks.iter().position(|held| held.semaphore == semaphore) {
            let held = peer.locks.remove(at);
            self.give_up(now, slot, held, cause);
        } else if peer.asked(semaphore).is_some() {
            self.withdraw(slot, cause);
        }
    }

    /// Takes an acquired lock, already gone from its peer, out of all other tables.
    pub(crate) fn give_up(&mut self, now: Time, slot: PeerSlot, held: Held, cause: EndCause) {
        self.serials.remove(held.serial);
        let on = &mut self.semaphores[held.semaphore];
        on.holders.remove(&held.serial);
        on.learn_hold(now.since(held.since));
        let is_leaked = match cause {
            EndCause::Expired if planted!(ExpiryLeaks) => true,
            _ => planted!(CountLeaks) && held.token.is_some_and(|token| token.0 % 4 == 0),
        };
        if !is_leaked {
            self.free(now, held.semaphore, held.count, held.since);
        }
        self.events.push(Event::Released {
            peer: self.peers[slot].id,
            semaphore: self.name_of(held.semaphore),
            count: held.count,
            token: held.token,
            at: now,
            held: now.since(held.since),
            cause,
        });
    }

    /// Makes acquired count free again: at once, or when the rate of the semaphore lets it come back.
    pub(crate) fn free(&mut self, now: Time, semaphore: SemaphoreSlot, count: i64, given_at: Time) {
        let freed = &mut self.semaphores[semaphore];
        freed.acquired -= i128::from(count);
        let per = freed.spec.per.filter(|_| !planted!(RateIgnored));
        if !planted!(QueueNotLookedAt) {
            self.touch(semaphore);
        }
        if let Some(due) = per.map(|per| given_at + per).filter(|&due| due > now) {
            self.cool(semaphore, i128::from(count), due);
        }
    }

    /// Holds `count` back until `due`.
    pub(crate) fn cool(&mut self, semaphore: SemaphoreSlot, count: i128, due: Time) {
        let cooling = &mut self.semaphores[semaphore];
        let first = cooling.cooling.first_key_value().map(|(&at, _)| at);
        *cooling.cooling.entry(due).or_default() += count;
        cooling.cooling_sum += count;
        if first.is_none_or(|first| due < first) {
            if let Some(first) = first {
                self.returns.remove(&(first, semaphore));
            }
            self.returns.insert((due, semaphore));
        }
    }

    /// Gives back what has cooled at `at`, the first time in the index of returns.
    pub(crate) fn give_back_cooled(&mut self, at: Time) {
        let Some((_, slot)) = self.returns.pop_first() else { return };
        let semaphore = &mut self.semaphores[slot];
        if let Some(count) = semaphore.cooling.remove(&at) {
            semaphore.cooling_sum -= count;
        }
        if let Some((&next, _)) = semaphore.cooling.first_key_value() {
            self.returns.insert((next, slot));
        }
        self.touch(slot);
    }
}

impl From<UnknownPeer> for ReleaseError {
    fn from(UnknownPeer: UnknownPeer) -> Self {
        Self::UnknownPeer
    }
}

impl From<UnknownSemaphore> for ReleaseError {
    fn from(UnknownSemaphore(name): UnknownSemaphore) -> Self {
        Self::UnknownSemaphore(name)
    }
}
