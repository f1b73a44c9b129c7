//! Whether a request would wait for ever.
//!
//! The search plays on what could still happen: every peer that waits for nothing releases all it holds, which
//! lets waiters have their locks, who then wait for nothing. A request that this does not reach is deadlocked
//! (the reduction of a resource graph after Holt, *Some Deadlock Properties of Computer Systems*, 1972). Only
//! the peers on which the request depends take part: holders of what it asks for and waiters ahead of
//! it, and whom they depend on in turn.
//!
//! A pause is no deadlock, as an operator ends it: to a waiter, a semaphore is at least as large as its count.
//!
//! A request is examined when it is made. One that waits is examined anew when its client asks again, if what it
//! waits for was changed in the meantime, for a change may let waiters wait for each other; every such circle has
//! one that holds something, or asks for several semaphores, and waits for what was changed.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet, VecDeque},
};

use crate::{
    error::{AcquireError, LimitReached, Link, Resource},
    peer::{Part, Request, count_named},
    planted,
    presence::Presence,
    queue::Rank,
    semaphore::Deadlock,
    slot::{PeerSlot, SemaphoreSlot},
    state::Core,
};

/// Locks of a peer that count as one step of a search.
const LOCKS_PER_STEP: usize = 16;

/// A request that would wait.
pub(crate) struct Candidate<'a> {
    pub(crate) peer: PeerSlot,
    pub(crate) rank: Rank,
    /// What it would wait for.
    pub(crate) new: &'a [Part],
    /// All that it names: what it holds may shrink.
    pub(crate) named: &'a [Part],
}

/// One of the semaphores on which the candidate depends.
struct Area {
    /// What those hold who did not finish yet.
    acquired: i128,
    /// Those who wait here and did not finish, in order.
    waiting: BTreeMap<Rank, PeerSlot>,
    /// How many of its queue were looked at.
    seen: usize,
}

/// Who is taken to hold up those behind it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HoldUp {
    /// Every waiter: what can go on nevertheless goes on in whatever order the others do.
    All,
    /// Whoever does so when all others have come as far as they can; see [`Core::set_marks`].
    Leading,
}

/// What is in the way of a part of a request.
enum Obstacle {
    Holders,
    Waiter(PeerSlot),
}

struct Search<'a> {
    core: &'a Core,
    candidate: &'a Candidate<'a>,
    areas: BTreeMap<SemaphoreSlot, Area>,
    /// Whom the candidate depends on, itself included; `true` once it finished.
    peers: BTreeMap<PeerSlot, bool>,
    steps: Cell<usize>,
}

impl Core {
    /// Refuses a request that could not be granted even if every peer that waits for nothing released all it
    /// holds, and then those whom that serves, and so on.
    pub(crate) fn check_deadlock(&self, candidate: &Candidate<'_>) -> Result<(), AcquireError> {
        let is_last = |part: &Part| {
            let queue = &self.semaphores[part.semaphore].queue;
            queue.ahead_of(candidate.rank).0 == queue.len()
        };
        // Nobody could wait for a peer that holds nothing and stands behind all others.
        if self.peers[candidate.peer].locks.is_empty() && candidate.new.iter().all(is_last) {
            return Ok(());
        }
        let mut search = Search {
            core: self,
            candidate,
            areas: BTreeMap::new(),
            peers: BTreeMap::from([(candidate.peer, false)]),
            steps: Cell::new(0),
        };
        search.gather()?;
        if search.play()? {
            return Ok(());
        }
        Err(AcquireError::Deadlock { chain: search.chain()? })
    }

    /// Whether what a waiter waits for was changed since it was examined, so that it may wait for ever now.
    pub(crate) fn must_be_examined(&self, slot: PeerSlot, request: &Request) -> bool {
        let could_close_a_circle = request.parts.len() > 1 || !self.peers[slot].locks.is_empty();
        let is_changed = |part: &Part| self.semaphores[part.semaphore].changed_at > request.examined_at;
        could_close_a_circle && !planted!(ChangeNotExamined) && request.parts.iter().any(is_changed)
    }
}

impl<'a> Search<'a> {
    fn step(&self, count: usize) -> Result<(), LimitReached> {
        self.steps.set(self.steps.get() + count);
        self.core.check_room(Resource::Walk, self.steps.get())
    }

    /// What a peer waits for.
    fn request(&self, peer: PeerSlot) -> Option<(Rank, &'a [Part])> {
        if peer == self.candidate.peer {
            return Some((self.candidate.rank, self.candidate.new));
        }
        // Whoever is absent holds up nobody, and is looked at as a candidate when it comes back.
        let request = self.core.peers[peer].pending.as_deref();
        let is_waiting =
            |request: &&Request| request.presence != Presence::Absent && !self.core.is_over(peer);
        let request = request.filter(is_waiting)?;
        Some((request.rank, &request.parts))
    }

    /// By how much the candidate's request shrinks what it holds on a semaphore.
    fn shrinks_by(&self, semaphore: SemaphoreSlot) -> i64 {
        let held = self.core.peers[self.candidate.peer].held(semaphore);
        held.map_or(0, |held| held.count - count_named(self.candidate.named, semaphore, held.count))
    }

    /// Finds every peer and semaphore on which the candidate depends.
    fn gather(&mut self) -> Result<(), LimitReached> {
        let mut open = VecDeque::from([self.candidate.peer]);
        while let Some(peer) = open.pop_front() {
            let Some((rank, parts)) = self.request(peer) else { continue };
            for part in parts {
                self.step(1)?;
                for other in self.open_area(part.semaphore, rank, peer)? {
                    if self.peers.insert(other, false).is_none() {
                        open.push_back(other);
                    }
                }
            }
        }
        Ok(())
    }

    /// Notes a waiter of a semaphore. Returns the peers in its way that were not found before.
    fn open_area(
        &mut self,
        semaphore: SemaphoreSlot,
        rank: Rank,
        peer: PeerSlot,
    ) -> Result<Vec<PeerSlot>, LimitReached> {
        let on = &self.core.semaphores[semaphore];
        let mut found = Vec::new();
        let mut area = if let Some(area) = self.areas.remove(&semaphore) {
            area
        } else {
            self.step(on.holders.len())?;
            found.extend(on.holders.values());
            let acquired = on.acquired - i128::from(self.shrinks_by(semaphore));
            Area { acquired, waiting: BTreeMap::new(), seen: 0 }
        };
        for ahead in on.queue.iter_from(area.seen).take_while(|waiter| waiter.rank < rank) {
            self.step(1)?;
            area.seen += 1;
            found.push(ahead.peer);
        }
        area.waiting.insert(rank, peer);
        self.areas.insert(semaphore, area);
        Ok(found)
    }

    /// Lets all peers finish that can. Tells whether the candidate does.
    fn play(&mut self) -> Result<bool, LimitReached> {
        if self.is_free(self.candidate.peer, HoldUp::Leading)? {
            return Ok(true);
        }
        let mut open = self.free(HoldUp::All)?;
        loop {
            while let Some(peer) = open.pop_front() {
                if peer == self.candidate.peer {
                    return Ok(true);
                }
                if self.peers.insert(peer, true) == Some(false) {
                    self.finish(peer, &mut open)?;
                }
            }
            // The others can do no more, so now it is known who leads.
            open = self.free(HoldUp::Leading)?;
            if open.is_empty() {
                return Ok(false);
            }
        }
    }

    /// The peers that did not finish and could.
    fn free(&self, hold_up: HoldUp) -> Result<VecDeque<PeerSlot>, LimitReached> {
        let mut free = VecDeque::new();
        for (&peer, _) in self.peers.iter().filter(|(_, has_finished)| !**has_finished) {
            if self.is_free(peer, hold_up)? {
                free.push_back(peer);
            }
        }
        Ok(free)
    }

    /// A peer releases all it holds and waits for nothing any more. Adds those to `open` who are free by that.
    fn finish(&mut self, peer: PeerSlot, open: &mut VecDeque<PeerSlot>) -> Result<(), LimitReached> {
        let locks = &self.core.peers[peer].locks;
        self.step(locks.len() / LOCKS_PER_STEP)?;
        let mut concerned = Vec::new();
        for held in locks {
            if let Some(area) = self.areas.get_mut(&held.semaphore) {
                area.acquired -= i128::from(held.count);
                concerned.push(held.semaphore);
            }
        }
        if let Some((rank, parts)) = self.request(peer) {
            for part in parts {
                if let Some(area) = self.areas.get_mut(&part.semaphore) {
                    area.waiting.remove(&rank);
                    concerned.push(part.semaphore);
                }
            }
        }
        for area in concerned.iter().filter_map(|semaphore| self.areas.get(semaphore)) {
            for &other in area.waiting.values() {
                if self.is_free(other, HoldUp::All)? {
                    open.push_back(other);
                }
                if !self.is_too_large(other) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether a peer waits for nothing, or could be granted what it waits for.
    fn is_free(&self, peer: PeerSlot, hold_up: HoldUp) -> Result<bool, LimitReached> {
        let Some((rank, parts)) = self.request(peer) else { return Ok(true) };
        for part in parts {
            if self.obstacle(rank, part, hold_up)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What is in the way of a part of a request.
    fn obstacle(&self, rank: Rank, part: &Part, hold_up: HoldUp) -> Result<Option<Obstacle>, LimitReached> {
        self.step(1)?;
        let Some(area) = self.areas.get(&part.semaphore) else { return Ok(None) };
        let max = self.core.semaphores[part.semaphore].spec.max.max(part.count);
        if area.acquired + i128::from(part.count) > i128::from(max) {
            return Ok(Some(Obstacle::Holders));
        }
        for (_, &ahead) in area.waiting.range(..rank) {
            self.step(1)?;
            if self.holds_up(ahead, part.semaphore, hold_up)? {
                return Ok(Some(Obstacle::Waiter(ahead)));
            }
        }
        Ok(None)
    }

    /// Whether a waiter holds up those behind it on a semaphore.
    fn holds_up(
        &self,
        peer: PeerSlot,
        semaphore: SemaphoreSlot,
        hold_up: HoldUp,
    ) -> Result<bool, LimitReached> {
        let Some((rank, parts)) = self.request(peer).filter(|_| !self.is_too_large(peer)) else {
            return Ok(false);
        };
        let spec = self.core.semaphores[semaphore].spec;
        if hold_up == HoldUp::All || spec.deadlock == Deadlock::Detect {
            return Ok(true);
        }
        for part in parts {
            let is_above = self.core.semaphores[part.semaphore].spec.level > spec.level;
            if is_above && self.obstacle(rank, part, hold_up)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a waiter asks for more than there is, so that it is passed over.
    fn is_too_large(&self, peer: PeerSlot) -> bool {
        let is_too_large = |part: &Part| part.count > self.core.semaphores[part.semaphore].spec.max;
        self.request(peer).is_some_and(|(_, parts)| parts.iter().any(is_too_large))
    }

    /// The chain of waiting peers, from the candidate on until somebody is named again.
    fn chain(&self) -> Result<Vec<Link>, LimitReached> {
        let mut chain = Vec::new();
        let mut seen = BTreeSet::new();
        let mut peer = self.candidate.peer;
        while seen.insert(peer)
            && let Some((semaphore, blocker, is_holder)) = self.blocker(peer)?
        {
            chain.push(Link {
                peer: self.core.peers[peer].id,
                semaphore: self.core.name_of(semaphore),
                blocker: self.core.peers[blocker].id,
                is_holder,
            });
            peer = blocker;
        }
        Ok(chain)
    }

    /// The first peer in the way of another that did not finish, and whether it holds what the other lacks.
    fn blocker(&self, peer: PeerSlot) -> Result<Option<(SemaphoreSlot, PeerSlot, bool)>, LimitReached> {
        let Some((rank, parts)) = self.request(peer) else { return Ok(None) };
        for part in parts {
            let blocker = match self.obstacle(rank, part, HoldUp::Leading)? {
                None => continue,
                Some(Obstacle::Waiter(ahead)) => Some((ahead, false)),
                Some(Obstacle::Holders) => {
                    let holders = &self.core.semaphores[part.semaphore].holders;
                    self.step(holders.len())?;
                    let did_not_finish = |peer: &&PeerSlot| self.peers.get(peer) == Some(&false);
                    holders.values().find(did_not_finish).map(|&holder| (holder, true))
                }
            };
            return Ok(blocker.map(|(blocker, is_holder)| (part.semaphore, blocker, is_holder)));
        }
        Ok(None)
    }
}
