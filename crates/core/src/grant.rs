//! Grants: the one place that gives out count.

use std::{cmp::Reverse, time::Duration};

use crate::{
    event::{EndCause, Event},
    names::Token,
    peer::{Held, Part},
    planted,
    slot::{PeerSlot, SemaphoreSlot},
    state::{Core, First},
    time::Time,
};

impl Core {
    /// Grants what can be granted in the queues touched by this command, in order, until the next waiter
    /// of each does not fit.
    ///
    /// A grant over several semaphores makes another waiter first in each of them, so they are looked at
    /// again. Higher levels come first, since who leads there decides who is held up below
    /// (see [`Core::set_marks`]); so a request is granted only when its lowest level has its turn.
    pub(crate) fn grant_touched(&mut self, now: Time) {
        while let Some(semaphore) = self.next_touched() {
            let next = self.next_grant(now, semaphore);
            if let Some((peer, None)) = next {
                self.touch(semaphore);
                if self.is_over(peer) {
                    self.remove_peer(now, peer, EndCause::Expired);
                } else {
                    self.grant_pending(now, peer);
                }
            } else if self.semaphores.contains(semaphore) {
                self.appoint_leader(semaphore);
                if let Some((_, Some(below))) = next {
                    self.touch(below);
                }
                if self.semaphores[semaphore].may_vanish() {
                    self.drop_semaphore(semaphore);
                }
            }
        }
    }

    /// The semaphore to look at next. Of several on one level it is that whose first waiter came first: so nobody is
    /// overtaken by one who came later just because that one's semaphore is looked at before.
    fn next_touched(&mut self) -> Option<SemaphoreSlot> {
        while let Some(mut touched) = self.touched.pop() {
            let is_alone = self.touched.peek().is_none_or(|next| next.level < touched.level);
            if is_alone {
                return Some(touched.slot);
            }
            let on = self.semaphores.get(touched.slot);
            let first = on.and_then(|on| on.queue.first(on.spec.max));
            let first = first.map_or(First::Nobody, |first| First::Waiter(Reverse(first.rank)));
            if std::mem::replace(&mut touched.first, first) == first {
                return Some(touched.slot);
            }
            self.touched.push(touched);
        }
        None
    }

    /// From now on nothing is granted, until [`Core::resume_grants`]: requests stand in line, and only restores
    /// take locks. For the time in which peers that the server forgot may come back.
    pub fn hold_grants(&mut self) {
        self.is_holding = true;
    }

    /// Whether nothing is granted for now.
    pub fn is_holding_grants(&self) -> bool {
        self.is_holding
    }

    /// Ends a time in which nothing was granted: those who waited get what there is. Looks at every semaphore.
    pub fn resume_grants(&mut self, now: Time) {
        let now = self.begin(now);
        if std::mem::take(&mut self.is_holding) {
            self.touch_all();
        }
        self.finish(now);
    }

    /// The peer whose request is next in line on this semaphore, if it can be granted now; and the lower
    /// semaphore, if any, that has to be looked at before.
    fn next_grant(&self, now: Time, semaphore: SemaphoreSlot) -> Option<(PeerSlot, Option<SemaphoreSlot>)> {
        // It was removed by the same command that touched it: nobody is left to look at.
        let on = self.semaphores.get(semaphore).filter(|_| !self.is_holding)?;
        let first = on.queue.first(on.spec.max)?;
        let request = self.peers[first.peer].pending.as_ref()?;
        let mut parts = request.parts.iter();
        let is_ready = |part: &Part| self.is_ready(request.rank, *part);
        let are_ready = if planted!(PartIsEnough) { parts.any(is_ready) } else { parts.all(is_ready) };
        let ready = request.presence.can_be_granted() && are_ready;
        let level = |part: &Part| self.semaphores[part.semaphore].spec.level;
        let lowest = request.parts.iter().min_by_key(|part| level(part))?;
        let below = (level(lowest) < on.spec.level).then_some(lowest.semaphore);
        if ready {
            return Some((first.peer, below));
        }
        let next = self.first_to_pass(now, semaphore, first).filter(|next| on.fits(next.count))?;
        let request = self.peers[next.peer].pending.as_ref()?;
        request.presence.can_be_granted().then_some((next.peer, None))
    }

    /// Whether a waiting request is first on one of its semaphores and fits there.
    pub(crate) fn is_ready(&self, rank: crate::queue::Rank, part: Part) -> bool {
        let on = &self.semaphores[part.semaphore];
        on.fits(part.count) && on.queue.first(on.spec.max).is_some_and(|first| first.rank == rank)
    }

    /// Turns the whole pending request of a peer into locks. Its lease begins anew in full.
    fn grant_pending(&mut self, now: Time, slot: PeerSlot) {
        let Some(request) = self.take_request(slot) else { return };
        let waited = now.since(request.since);
        for &part in &request.parts {
            self.grant(now, slot, part, Some(waited));
        }
        if !planted!(GrantKeepsOldLease) {
            self.renew(now, slot, None);
        }
    }

    /// Gives `part` to a peer, with a new fencing token.
    pub(crate) fn grant(&mut self, now: Time, slot: PeerSlot, part: Part, waited: Option<Duration>) {
        self.announce(part.semaphore);
        let serial = self.next_token;
        self.next_token += u64::from(!planted!(TokenReused));
        let token = Token(serial);
        self.hold(
            slot,
            Held { semaphore: part.semaphore, count: part.count, serial, token: Some(token), since: now },
        );
        self.events.push(Event::Granted {
            peer: self.peers[slot].id,
            semaphore: self.name_of(part.semaphore),
            count: part.count,
            token,
            at: now,
            waited,
        });
    }

    /// Enters an acquired lock into every table.
    pub(crate) fn hold(&mut self, slot: PeerSlot, held: Held) {
        let semaphore = &mut self.semaphores[held.semaphore];
        semaphore.acquired += i128::from(held.count);
        semaphore.holders.insert(held.serial, slot);
        let may_lose_leader = semaphore.leader.is_some();
        self.serials.insert(held.serial, ());
        let locks = &mut self.peers[slot].locks;
        locks.insert(locks.partition_point(|other| other.serial < held.serial), held);
        if may_lose_leader {
            self.touch(held.semaphore);
        }
    }
}
