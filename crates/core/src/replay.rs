//! The state as a list of events: written, and read again.

use std::collections::BTreeMap;

use crate::{
    event::Event,
    names::{Name, PeerId},
    peer::{Held, Part, Request},
    semaphore::Spec,
    state::Core,
    time::Time,
};

impl Core {
    /// Feeds back one event of an earlier run; events come in the order in which they were emitted.
    ///
    /// Leases are armed anew: a peer's full lease, and its margin, begin at `now`. An event that does not
    /// fit the state is an error that says so, and leaves the state unusable.
    pub fn replay(&mut self, now: Time, event: &Event) -> Result<(), String> {
        self.now = self.now.max(now);
        let outcome = self.replay_one(self.now, event);
        // What a replay would tell or grant was told and granted when the event was new.
        self.events.clear();
        self.touched.clear();
        outcome
            .ok_or_else(|| format!("an event does not fit the state that those before it built: {event:?}"))
    }

    fn replay_one(&mut self, now: Time, event: &Event) -> Option<()> {
        match event {
            Event::SemaphoreSet { semaphore, spec, pattern, at } => {
                self.replay_set(*at, semaphore, *spec, pattern.clone());
            }
            Event::SemaphoreRemoved { semaphore } => {
                let slot = self.semaphore_slot(semaphore).ok()?;
                self.drop_semaphore(slot);
            }
            Event::PeerCreated { peer, at, expires_in, labels } => {
                let slot = self.insert_peer(now, *peer, *expires_in, labels.clone());
                self.peers[slot].created_at = *at;
            }
            Event::LeaseChanged { peer, expires_in } => {
                let slot = self.slot_of(*peer).ok()?;
                self.renew(now, slot, Some(*expires_in));
            }
            Event::Queued { peer, semaphore, count, priority, since, rank } => {
                let (slot, semaphore) = self.slots(*peer, semaphore)?;
                let mut request = self.peers[slot].pending.take().map_or_else(
                    || Request { rank: *rank, priority: *priority, since: *since, parts: Vec::new() },
                    |request| *request,
                );
                self.leave_queues(slot, &request);
                request.parts.push(Part { semaphore, count: *count });
                self.enter_queues(slot, request);
                self.next_sequence = self.next_sequence.max(rank.sequence + 1);
            }
            Event::Granted { peer, semaphore, count, token, at, .. } => {
                let (slot, semaphore) = self.slots(*peer, semaphore)?;
                self.drop_part(slot, semaphore);
                let (serial, token) = (token.0, Some(*token));
                self.hold(slot, Held { semaphore, count: *count, serial, token, since: *at });
                self.next_token = self.next_token.max(serial + 1);
            }
            Event::Restored { peer, semaphore, count, token, serial, at } => {
                let (slot, semaphore) = self.slots(*peer, semaphore)?;
                let held = Held { semaphore, count: *count, serial: *serial, token: *token, since: *at };
                self.hold(slot, held);
                self.next_token = self.next_token.max(serial + 1);
            }
            Event::Shrunk { peer, semaphore, count, at } => {
                let (slot, semaphore) = self.slots(*peer, semaphore)?;
                let held = self.peers[slot].held(semaphore).map_or(*count, |held| held.count);
                self.set_count(*at, slot, semaphore, *count, held - count);
            }
            Event::Released { peer, semaphore, at, cause, .. } => {
                let (slot, semaphore) = self.slots(*peer, semaphore)?;
                self.peers[slot].held(semaphore)?;
                self.release_slot(*at, slot, semaphore, *cause);
            }
            Event::Withdrawn { peer, semaphore, .. } => {
                let (slot, semaphore) = self.slots(*peer, semaphore)?;
                self.drop_part(slot, semaphore);
            }
            Event::PeerEnded { peer, cause } => {
                let slot = self.slot_of(*peer).ok()?;
                self.remove_peer(now, slot, *cause);
            }
            Event::Cooling { semaphore, count, until } => {
                let slot = self.semaphore_slot(semaphore).ok()?;
                self.cool(slot, i128::from(*count), *until);
            }
            Event::Counters { token, sequence } => {
                self.next_token = self.next_token.max(*token);
                self.next_sequence = self.next_sequence.max(*sequence);
            }
            Event::Overcommitted { .. } => {}
        }
        Some(())
    }

    fn slots(&self, peer: PeerId, semaphore: &str) -> Option<(usize, usize)> {
        Some((self.slot_of(peer).ok()?, self.semaphore_slot(semaphore).ok()?))
    }

    fn replay_set(&mut self, at: Time, name: &Name, spec: Spec, pattern: Option<Name>) {
        let slot = if let Some(&slot) = self.semaphore_slots.get(name) {
            self.change_spec(at, slot, spec);
            slot
        } else {
            self.insert_semaphore(name.clone(), spec)
        };
        self.semaphores[slot].pattern = pattern;
    }

    /// Ends a replay: puts in order what follows from the state as a whole. Gives out nothing that the journal
    /// does not tell of, unless something is due at `now`.
    pub fn end_replay(&mut self, now: Time) {
        self.now = self.now.max(now);
        let all: Vec<usize> = self.semaphores.iter().map(|(slot, _)| slot).collect();
        for slot in all {
            self.touch(slot);
        }
        self.finish(self.now);
    }

    /// Takes one part out of the pending request of a peer.
    fn drop_part(&mut self, slot: usize, semaphore: usize) {
        let Some(mut request) = self.peers[slot].pending.take() else { return };
        self.leave_queues(slot, &request);
        request.parts.retain(|part| part.semaphore != semaphore);
        if !request.parts.is_empty() {
            self.enter_queues(slot, *request);
        }
    }

    /// A short list of events that builds this state. Two equal states have equal lists.
    pub fn snapshot(&self) -> Vec<Event> {
        let mut events = vec![Event::Counters { token: self.next_token, sequence: self.next_sequence }];
        for (name, &slot) in &self.semaphore_slots {
            let semaphore = &self.semaphores[slot];
            events.push(Event::SemaphoreSet {
                semaphore: name.clone(),
                spec: semaphore.spec,
                pattern: semaphore.pattern.clone(),
                at: Time::default(),
            });
            events.extend(semaphore.cooling.iter().map(|(&until, &count)| Event::Cooling {
                semaphore: name.clone(),
                count: i64::try_from(count).unwrap_or(i64::MAX),
                until,
            }));
        }
        let by_id: BTreeMap<PeerId, usize> = self.peer_slots_in_order();
        for &slot in by_id.values() {
            self.snapshot_peer(slot, &mut events);
        }
        events
    }

    fn peer_slots_in_order(&self) -> BTreeMap<PeerId, usize> {
        self.peers.iter().map(|(slot, peer)| (peer.id, slot)).collect()
    }

    fn snapshot_peer(&self, slot: usize, events: &mut Vec<Event>) {
        let peer = &self.peers[slot];
        events.push(Event::PeerCreated {
            peer: peer.id,
            at: peer.created_at,
            expires_in: peer.expires_in,
            labels: peer.labels.clone(),
        });
        let mut locks = peer.locks.clone();
        locks.sort_unstable_by_key(|held| held.serial);
        events.extend(locks.iter().map(|held| Event::Restored {
            peer: peer.id,
            semaphore: self.name_of(held.semaphore),
            count: held.count,
            token: held.token,
            serial: held.serial,
            at: held.since,
        }));
        let Some(request) = &peer.pending else { return };
        let mut parts: Vec<(Name, i64)> =
            request.parts.iter().map(|part| (self.name_of(part.semaphore), part.count)).collect();
        parts.sort_unstable();
        events.extend(parts.into_iter().map(|(semaphore, count)| Event::Queued {
            peer: peer.id,
            semaphore,
            count,
            priority: request.priority,
            since: request.since,
            rank: request.rank,
        }));
    }
}
