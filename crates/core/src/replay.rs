//! The state as a list of events: written, and read again.

use crate::{
    event::Event,
    names::{Name, PeerId},
    owner::Owner,
    peer::{Held, Part, Peer, Request},
    planted,
    presence::Presence,
    queue::Rank,
    semaphore::Spec,
    slot::{PeerSlot, SemaphoreSlot},
    state::Core,
    time::Time,
};

/// No counter comes that far by counting: a journal that says so is damaged.
const COUNT_MAX: u64 = u64::MAX / 2;

impl Core {
    /// Feeds back one event of an earlier run; events come in the order in which they were emitted. Nothing is
    /// due, and no command may be sent, before [`Core::end_replay`].
    ///
    /// An event that does not fit the state is an error that says so, and leaves the state unusable.
    pub fn replay(&mut self, event: &Event) -> Result<(), String> {
        let outcome = self.replay_one(event);
        // What a replay would tell or grant was told and granted when the event was new.
        self.events.clear();
        self.touched.clear();
        outcome
            .ok_or_else(|| format!("an event does not fit the state that those before it built: {event:?}"))
    }

    /// Takes note, in a replay, that the time had come to `now`. The events of a snapshot do not tell: what happened
    /// last may have left nothing behind.
    pub fn replay_time(&mut self, now: Time) {
        self.saw(now);
        self.touched.clear();
    }

    /// Ends a replay: every lease begins anew in full, and what follows from the state as a whole is put in
    /// order. Gives out nothing that the journal does not tell of, unless something is due at `now`, or a waiter that
    /// was absent holds up another again that held up a third.
    ///
    /// `now` is taken as the largest time in the events if that is larger: a clock may have been set back.
    pub fn end_replay(&mut self, now: Time) {
        self.now = self.now.max(now);
        let peers: Vec<PeerSlot> = self.peers.slots().collect();
        for &slot in &peers {
            let from = if planted!(LeasesGoOnAtRestart) { self.peers[slot].created_at } else { self.now };
            self.arm(from, slot);
            // No connection outlives a restart.
            self.start_absence(self.now, slot);
        }
        // Built at once, which is much faster than one by one.
        self.leases = peers.into_iter().map(|slot| (self.peers[slot].indexed_at, slot)).collect();
        self.touch_all();
        self.finish(self.now);
    }

    fn replay_one(&mut self, event: &Event) -> Option<()> {
        match event {
            Event::SemaphoreSet { semaphore, spec, pattern, at } => {
                unless(spec.max < 0)?;
                self.saw(*at);
                self.replay_set(*at, semaphore, *spec, pattern.clone());
            }
            Event::SemaphoreOwned { semaphore, owner } => {
                let slot = self.semaphore_slot(semaphore).ok()?;
                unless(self.semaphores[slot].pattern.is_none())?;
                self.set_maker(slot, owner.clone());
            }
            Event::SemaphoreRetired { semaphore } => {
                let slot = self.semaphore_slot(semaphore).ok()?;
                self.retire(slot);
            }
            Event::SemaphoreRemoved { semaphore } => {
                let slot = self.semaphore_slot(semaphore).ok()?;
                unless(self.semaphores[slot].is_in_use())?;
                self.drop_semaphore(slot);
            }
            Event::PeerCreated { peer, at, expires_in, labels } => {
                unless(self.peer_slots.contains(peer.0))?;
                self.saw(*at);
                self.place_peer(*at, *peer, *expires_in, labels.clone());
            }
            Event::PeerOwned { peer, owner } => {
                let slot = self.slot_of(*peer).ok()?;
                self.set_owner(slot, owner.clone());
            }
            Event::LeaseChanged { peer, expires_in } => {
                let slot = self.slot_of(*peer).ok()?;
                self.peers[slot].expires_in = *expires_in;
            }
            Event::Queued { peer, semaphore, count, priority, since, rank } => {
                unless(*count < 1)?;
                let (slot, semaphore) = self.slots(*peer, semaphore)?;
                let rank = replayed(*rank, *since);
                self.replay_wait(slot, Part { semaphore, count: *count }, *priority, *since, rank)?;
            }
            Event::Connected { peer } => {
                let slot = self.slot_of(*peer).ok()?;
                self.peers[slot].pending.as_mut()?.presence = Presence::Connected;
            }
            Event::Granted { peer, semaphore, count, token, at, .. } => {
                let (slot, semaphore) = self.slots(*peer, semaphore)?;
                self.drop_part(slot, semaphore);
                let (serial, token) = (token.0, Some(*token));
                self.replay_hold(slot, Held { semaphore, count: *count, serial, token, since: *at })?;
            }
            Event::Restored { peer, semaphore, count, token, serial, at } => {
                let (slot, semaphore) = self.slots(*peer, semaphore)?;
                let held = Held { semaphore, count: *count, serial: *serial, token: *token, since: *at };
                self.replay_hold(slot, held)?;
            }
            Event::Shrunk { peer, semaphore, count, at } => {
                let (slot, semaphore) = self.slots(*peer, semaphore)?;
                self.saw(*at);
                self.replay_shrink(*at, slot, semaphore, *count)?;
            }
            Event::Released { peer, semaphore, at, cause, .. } => {
                let (slot, semaphore) = self.slots(*peer, semaphore)?;
                self.peers[slot].held(semaphore)?;
                self.saw(*at);
                self.release_slot(*at, slot, semaphore, *cause);
            }
            Event::Withdrawn { peer, semaphore, .. } => {
                let (slot, semaphore) = self.slots(*peer, semaphore)?;
                self.drop_part(slot, semaphore);
            }
            Event::PeerEnded { peer, cause, .. } => {
                let slot = self.slot_of(*peer).ok()?;
                let Peer { locks, pending, .. } = &self.peers[slot];
                unless(!locks.is_empty() || pending.is_some())?;
                self.remove_peer(self.now, slot, *cause);
            }
            Event::Cooling { semaphore, count, until } => {
                let slot = self.semaphore_slot(semaphore).ok()?;
                unless(*count < 1)?;
                if !planted!(RateForgottenBySnapshot) {
                    self.cool(slot, i128::from(*count), *until);
                }
            }
            Event::Paused { semaphore, max_before } => {
                let slot = self.semaphore_slot(semaphore).ok()?;
                unless(*max_before < 1 || self.semaphores[slot].spec.max > 0)?;
                self.semaphores[slot].max_before_pause = Some(*max_before);
            }
            Event::Counters { token, sequence } => {
                unless(*token > COUNT_MAX || *sequence > COUNT_MAX)?;
                if !planted!(TokensForgottenBySnapshot) {
                    self.next_token = self.next_token.max(*token);
                }
                self.next_sequence = self.next_sequence.max(*sequence);
            }
            Event::Overcommitted { .. } => {}
        }
        Some(())
    }

    /// No later command is taken for one from before this event. What was due back by then was given back.
    fn saw(&mut self, at: Time) {
        self.now = self.now.max(at);
        while let Some(&(due, _)) = self.returns.first().filter(|&&(due, _)| due <= self.now) {
            self.give_back_cooled(due);
        }
    }

    fn slots(&self, peer: PeerId, semaphore: &str) -> Option<(PeerSlot, SemaphoreSlot)> {
        Some((self.slot_of(peer).ok()?, self.semaphore_slot(semaphore).ok()?))
    }

    /// Whether the peer holds or asks for something on a semaphore.
    fn has(&self, slot: PeerSlot, semaphore: SemaphoreSlot) -> bool {
        let peer = &self.peers[slot];
        peer.held(semaphore).is_some() || peer.asked(semaphore).is_some()
    }

    /// Adds a part to what a peer waits for.
    fn replay_wait(
        &mut self,
        slot: PeerSlot,
        part: Part,
        priority: i32,
        since: Time,
        rank: Rank,
    ) -> Option<()> {
        unless(rank.sequence > COUNT_MAX)?;
        let queue = &self.semaphores[part.semaphore].queue;
        unless(self.has(slot, part.semaphore) || queue.get(rank).is_some())?;
        // All parts of a request stand in line under one rank.
        unless(self.peers[slot].pending.as_ref().is_some_and(|request| request.rank != rank))?;
        self.saw(since);
        let request = match self.peers[slot].pending.take() {
            None => {
                let (examined_at, presence) = (rank.sequence, Presence::Polling);
                Request { rank, priority, since, examined_at, presence, parts: vec![part] }
            }
            Some(mut request) => {
                self.leave_queues(slot, &request);
                request.parts.push(part);
                *request
            }
        };
        self.enter_queues(slot, request);
        self.next_sequence = self.next_sequence.max(rank.sequence + 1);
        Some(())
    }

    fn replay_hold(&mut self, slot: PeerSlot, held: Held) -> Option<()> {
        unless(held.count < 1 || held.serial > COUNT_MAX)?;
        unless(self.has(slot, held.semaphore) || self.serials.contains(held.serial))?;
        self.saw(held.since);
        self.next_token = self.next_token.max(held.serial + 1);
        self.hold(slot, held);
        Some(())
    }

    fn replay_set(&mut self, at: Time, name: &Name, spec: Spec, pattern: Option<Name>) {
        let slot = if let Some(&slot) = self.semaphore_slots.get(name) {
            self.change_spec(at, slot, spec);
            slot
        } else {
            self.insert_semaphore(name.clone(), spec)
        };
        self.set_pattern_of(slot, pattern);
        self.semaphores[slot].is_leaving = false;
    }

    /// Gives what a peer has on a semaphore a smaller count.
    fn replay_shrink(
        &mut self,
        at: Time,
        slot: PeerSlot,
        semaphore: SemaphoreSlot,
        count: i64,
    ) -> Option<()> {
        let held = self.peers[slot].held(semaphore).map(|held| held.count);
        let before = held.or_else(|| Some(self.peers[slot].asked(semaphore)?.count))?;
        unless(count < 1 || count > before)?;
        self.set_count(at, slot, semaphore, count, held.map_or(0, |held| held - count));
        Some(())
    }

    /// Takes one part out of the pending request of a peer.
    fn drop_part(&mut self, slot: PeerSlot, semaphore: SemaphoreSlot) {
        let Some(mut request) = self.peers[slot].pending.take() else { return };
        self.leave_queues(slot, &request);
        request.parts.retain(|part| part.semaphore != semaphore);
        if !request.parts.is_empty() {
            self.enter_queues(slot, *request);
        }
    }

    /// A short list of events that builds this state. Two equal states have equal lists.
    pub fn snapshot(&self) -> Vec<Event> {
        let mut events = self.snapshot_of_semaphores();
        for peer in self.peers_in_order() {
            self.snapshot_peer(peer, &mut events);
        }
        events
    }

    /// [`Core::snapshot`] in pieces, of which each but the last has at least `size` events.
    pub fn snapshot_in_pieces(&self, size: usize) -> impl Iterator<Item = Vec<Event>> {
        let mut piece = self.snapshot_of_semaphores();
        let mut peers = self.peers_in_order().into_iter();
        std::iter::from_fn(move || {
            let mut piece = std::mem::take(&mut piece);
            while piece.len() < size
                && let Some(peer) = peers.next()
            {
                self.snapshot_peer(peer, &mut piece);
            }
            (!piece.is_empty()).then_some(piece)
        })
    }

    fn snapshot_of_semaphores(&self) -> Vec<Event> {
        let mut events = vec![Event::Counters { token: self.next_token, sequence: self.next_sequence }];
        for (name, &slot) in &self.semaphore_slots {
            let semaphore = &self.semaphores[slot];
            events.push(Event::SemaphoreSet {
                semaphore: name.clone(),
                spec: semaphore.spec,
                pattern: semaphore.pattern.clone(),
                at: Time::default(),
            });
            if semaphore.maker != Owner::NOBODY && !planted!(MakersForgottenBySnapshot) {
                events
                    .push(Event::SemaphoreOwned { semaphore: name.clone(), owner: semaphore.maker.clone() });
            }
            let paused = semaphore.max_before_pause;
            events.extend(paused.map(|max_before| Event::Paused { semaphore: name.clone(), max_before }));
            if semaphore.is_leaving {
                events.push(Event::SemaphoreRetired { semaphore: name.clone() });
            }
            events.extend(semaphore.cooling.iter().map(|(&until, &count)| Event::Cooling {
                semaphore: name.clone(),
                count: i64::try_from(count).unwrap_or(i64::MAX),
                until,
            }));
        }
        events
    }

    /// The slots of all peers, in the order of their ids.
    fn peers_in_order(&self) -> Vec<PeerSlot> {
        let mut slots: Vec<PeerSlot> = self.peers.slots().collect();
        slots.sort_unstable_by_key(|&slot| self.peers[slot].id);
        slots
    }

    fn snapshot_peer(&self, slot: PeerSlot, events: &mut Vec<Event>) {
        let peer = &self.peers[slot];
        events.push(Event::PeerCreated {
            peer: peer.id,
            at: peer.created_at,
            expires_in: peer.expires_in,
            labels: peer.labels.clone(),
        });
        if peer.owner != Owner::NOBODY && !planted!(OwnersForgottenBySnapshot) {
            events.push(Event::PeerOwned { peer: peer.id, owner: peer.owner.clone() });
        }
        events.extend(peer.locks.iter().map(|held| Event::Restored {
            peer: peer.id,
            semaphore: self.name_of(held.semaphore),
            count: held.count,
            token: held.token,
            serial: held.serial,
            at: held.since,
        }));
        let Some(request) = peer.pending.as_ref().filter(|_| !planted!(WaitersForgottenBySnapshot)) else {
            return;
        };
        events.extend(request.parts.iter().map(|part| Event::Queued {
            peer: peer.id,
            semaphore: self.name_of(part.semaphore),
            count: part.count,
            priority: request.priority,
            since: request.since,
            rank: request.rank,
        }));
        if request.presence != Presence::Polling {
            events.push(Event::Connected { peer: peer.id });
        }
    }
}

/// `None` if something is that must not be.
fn unless(wrong: bool) -> Option<()> {
    (!wrong).then_some(())
}

/// The rank with which a request comes back to its queue.
fn replayed(rank: Rank, since: Time) -> Rank {
    let arrival = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
    let key = if planted!(QueueReversedByReplay) { -rank.key } else { rank.key };
    let key = if planted!(PriorityForgottenByReplay) { arrival } else { key };
    Rank { key, ..rank }
}
