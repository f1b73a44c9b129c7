//! Standing in line: how a request enters and leaves the queues of all its semaphores.

use crate::{
    event::{EndCause, Event},
    peer::{Part, Request},
    queue::{PASSED_OVER, Rank, Waiter},
    state::Core,
    time::Time,
};

impl Core {
    /// The rank of a request that arrives now: its arrival, moved ahead by its priority. As it never
    /// changes, waiting long enough outranks any priority, and nobody starves.
    pub(crate) fn rank(&self, now: Time, priority: i32) -> Rank {
        let arrival = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        let step = i64::try_from(self.settings.ageing_step.as_micros()).unwrap_or(i64::MAX);
        let ahead = step.saturating_mul(i64::from(priority));
        Rank { key: arrival.saturating_sub(ahead), sequence: self.next_sequence }
    }

    /// Makes `parts` the pending request of a peer.
    pub(crate) fn wait(&mut self, now: Time, slot: usize, parts: Vec<Part>, priority: i32) {
        let rank = self.rank(now, priority);
        self.next_sequence += 1;
        for part in &parts {
            self.events.push(Event::Queued {
                peer: self.peers[slot].id,
                semaphore: self.name_of(part.semaphore),
                count: part.count,
                priority,
                since: now,
                rank,
            });
        }
        self.enter_queues(slot, Request { rank, priority, since: now, parts });
    }

    /// Puts a request into the queue of each of its semaphores, and makes it the peer's.
    pub(crate) fn enter_queues(&mut self, slot: usize, request: Request) {
        let passed_over = self.is_passed_over(&request);
        for part in &request.parts {
            let on = &mut self.semaphores[part.semaphore];
            on.queue.insert(Waiter {
                rank: request.rank,
                peer: slot,
                count: part.count,
                needs: if passed_over { PASSED_OVER } else { part.count.cast_unsigned() },
                since: request.since,
            });
            if request.parts.len() > 1 {
                on.joint.insert((part.count, slot));
            }
            self.touched.push(part.semaphore);
        }
        self.peers[slot].pending = Some(Box::new(request));
    }

    /// Takes a request, already gone from its peer, out of every queue.
    pub(crate) fn leave_queues(&mut self, slot: usize, request: &Request) {
        for part in &request.parts {
            let on = &mut self.semaphores[part.semaphore];
            on.queue.remove(request.rank);
            on.joint.remove(&(part.count, slot));
            self.touched.push(part.semaphore);
        }
    }

    /// Takes the pending request of a peer, if it has one, out of every queue without a grant.
    pub(crate) fn withdraw(&mut self, slot: usize, cause: EndCause) {
        let Some(request) = self.peers[slot].pending.take() else { return };
        self.leave_queues(slot, &request);
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
    pub(crate) fn shrink_pending(&mut self, slot: usize, semaphore: usize, count: i64) {
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
    pub(crate) fn review_joint(&mut self, semaphore: usize, low: i64, high: i64) {
        let changed: Vec<usize> = self.semaphores[semaphore]
            .joint
            .range((low, usize::MAX)..=(high, usize::MAX))
            .map(|&(_, slot)| slot)
            .collect();
        for slot in changed {
            let Some(request) = self.peers[slot].pending.take() else { continue };
            self.leave_queues(slot, &request);
            self.enter_queues(slot, *request);
        }
    }

    /// Whether a request over several semaphores asks one of them for more than its `max`, so that it
    /// cannot be granted now and must not hold up the queues of the others.
    fn is_passed_over(&self, request: &Request) -> bool {
        request.parts.len() > 1
            && request.parts.iter().any(|part| part.count > self.semaphores[part.semaphore].spec.max)
    }
}
