//! Standing in line: how a request enters and leaves the queues of all its semaphores.

use crate::{
    event::{EndCause, Event},
    peer::{Part, Request},
    planted,
    presence::Presence,
    queue::{PASSED_OVER, Rank, Waiter},
    semaphore::Deadlock,
    slot::{PeerSlot, SemaphoreSlot},
    state::Core,
    time::Time,
};

impl Core {
    /// The rank of a request that arrives now: its arrival, moved ahead by its priority. As it never
    /// changes, waiting long enough outranks any priority, and nobody starves.
    pub(crate) fn rank(&self, now: Time, priority: i32) -> Rank {
        let arrival = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        let step = i64::try_from(self.settings.ageing_step.as_micros()).unwrap_or(i64::MAX);
        let priority = if planted!(PriorityIgnored) { 0 } else { priority };
        let ahead = step.saturating_mul(i64::from(priority));
        let key = arrival.saturating_sub(ahead);
        Rank { key: if planted!(QueueReversed) { -key } else { key }, sequence: self.next_sequence }
    }

    /// Makes `parts` the pending request of a peer.
    pub(crate) fn wait(&mut self, now: Time, slot: PeerSlot, parts: Vec<Part>, priority: i32) {
        let rank = self.rank(now, priority);
        self.next_sequence += 1;
        for part in &parts {
            self.announce(part.semaphore);
            self.events.push(Event::Queued {
                peer: self.peers[slot].id,
                semaphore: self.name_of(part.semaphore),
                count: part.count,
                priority,
                since: now,
                rank,
            });
        }
        let (examined_at, presence) = (rank.sequence, Presence::Polling);
        self.enter_queues(slot, Request { rank, priority, since: now, examined_at, presence, parts });
    }

    /// Puts a request into the queue of each of its semaphores, and makes it the peer's.
    pub(crate) fn enter_queues(&mut self, slot: PeerSlot, request: Request) {
        let top = request.parts.iter().map(|part| self.semaphores[part.semaphore].spec.level).max();
        let is_passed_over = self.is_passed_over(&request);
        for &part in &request.parts {
            let on = &mut self.semaphores[part.semaphore];
            // Below its highest level it holds up nobody until it is found to lead there.
            let is_below = Some(on.spec.level) != top && on.spec.deadlock == Deadlock::Hierarchy;
            on.queue.insert(Waiter {
                rank: request.rank,
                peer: slot,
                count: part.count,
                needs: match is_passed_over || is_below {
                    true => PASSED_OVER,
                    false if planted!(LargeHoldsUpOthers) => 0,
                    false => part.count.cast_unsigned(),
                },
                since: request.since,
            });
            if request.parts.len() > 1 && on.joint.insert((part.count, slot)) {
                on.joint_parts += request.parts.len();
            }
            self.touch(part.semaphore);
        }
        let peer = &mut self.peers[slot];
        self.usages.change(&peer.owner, |usage| usage.pending += 1);
        peer.pending = Some(Box::new(request));
    }

    /// Takes a request, already gone from its peer, out of every queue.
    pub(crate) fn leave_queues(&mut self, slot: PeerSlot, request: &Request) {
        self.usages.change(&self.peers[slot].owner, |usage| usage.pending -= 1);
        for part in &request.parts {
            let on = &mut self.semaphores[part.semaphore];
            on.queue.remove(request.rank);
            if on.joint.remove(&(part.count, slot)) {
                on.joint_parts -= request.parts.len();
            }
            on.leader.take_if(|(_, rank)| *rank == request.rank);
            if !planted!(LeavingWakesNobody) {
                self.touch(part.semaphore);
            }
        }
    }

    /// Takes the pending request of a peer, if it has one, out of every table.
    pub(crate) fn take_request(&mut self, slot: PeerSlot) -> Option<Box<Request>> {
        let request = self.peers[slot].pending.take()?;
        self.leave_queues(slot, &request);
        if let Presence::Disconnected { absent_at } = request.presence {
            self.absences.remove(&(absent_at, slot));
        }
        Some(request)
    }

    /// Withdraws the pending request of a peer, if it has one: it leaves every queue without a grant.
    pub(crate) fn withdraw(&mut self, slot: PeerSlot, cause: EndCause) {
        let Some(request) = self.take_request(slot) else { return };
        for part in &request.parts {
            self.events.push(Event::Withdrawn {
                peer: self.peers[slot].id,
                semaphore: self.name_of(part.semaphore),
                count: part.count,
                cause,
            });
        }
    }

    /// Gives the part of a pending request on `semaphore` a smaller count; it keeps its place.
    pub(crate) fn shrink_pending(&mut self, slot: PeerSlot, semaphore: SemaphoreSlot, count: i64) {
        let Some(mut request) = self.peers[slot].pending.take() else { return };
        self.leave_queues(slot, &request);
        if let Some(part) = request.parts.iter_mut().find(|part| part.semaphore == semaphore) {
            part.count = count;
        }
        self.enter_queues(slot, *request);
    }

    /// After `max` of a semaphore changed between `low` and `high`: looks again at every request over
    /// several semaphores that this lets through or holds back.
    ///
    /// A request over one semaphore needs no such care, since its queue compares it with `max` itself.
    pub(crate) fn review_joint(&mut self, semaphore: SemaphoreSlot, low: i64, high: i64) {
        let changed: Vec<PeerSlot> = self.semaphores[semaphore]
            .joint
            .range((low, PeerSlot::MAX)..=(high, PeerSlot::MAX))
            .map(|&(_, slot)| slot)
            .collect();
        for slot in changed {
            let Some(request) = self.peers[slot].pending.take() else { continue };
            self.leave_queues(slot, &request);
            self.enter_queues(slot, *request);
        }
    }

    /// Finds out which request over several semaphores is first on this one and fits here, and lets it hold
    /// up others below, instead of the one that led before.
    pub(crate) fn appoint_leader(&mut self, semaphore: SemaphoreSlot) {
        let on = &self.semaphores[semaphore];
        let first = on.queue.first(on.spec.max).filter(|first| on.fits(first.count));
        let leader = first.filter(|first| on.joint.contains(&(first.count, first.peer)));
        let leader = leader.map(|leader| (leader.peer, leader.rank));
        let before = std::mem::replace(&mut self.semaphores[semaphore].leader, leader);
        if before == leader {
            return;
        }
        for (slot, rank) in before.into_iter().chain(leader) {
            self.set_marks(slot, rank);
        }
    }

    /// Decides in which of its queues a request over several semaphores holds up those behind it.
    ///
    /// It does so on its highest level, and further below only as long as it leads on all levels above: is first
    /// there and fits. Else a peer that holds what it lacks above could wait behind it below, and both would
    /// wait for ever. So whoever is in the way of a waiter waits itself on a lower level, or on the same
    /// level further ahead; there can be no cycle. Where deadlocks are detected it holds up others always.
    fn set_marks(&mut self, slot: PeerSlot, rank: Rank) {
        let pending = self.peers.get(slot).and_then(|peer| peer.pending.as_deref());
        let Some(request) = pending.filter(|request| request.rank == rank) else { return };
        let is_passed_over = self.is_passed_over(request);
        let mut marks: Vec<(Part, i32)> =
            request.parts.iter().map(|part| (*part, self.semaphores[part.semaphore].spec.level)).collect();
        marks.sort_unstable_by_key(|(_, level)| std::cmp::Reverse(*level));
        // Of the levels above the one that is looked at, and of that level.
        let (mut leads_above, mut leads, mut level) = (true, true, i32::MAX);
        for (part, own_level) in marks {
            if own_level != level {
                (leads_above, level) = (leads, own_level);
            }
            let on = &mut self.semaphores[part.semaphore];
            // As it was found last: when that changes, this is called again.
            let is_leading = on.leader.is_some_and(|(_, leader)| leader == rank);
            let is_free = !is_passed_over && (leads_above || on.spec.deadlock == Deadlock::Detect);
            let needs = if is_free { part.count.cast_unsigned() } else { PASSED_OVER };
            if on.queue.set_needs(rank, needs) {
                self.touch(part.semaphore);
            }
            leads &= is_leading;
        }
    }
}
