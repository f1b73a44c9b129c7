//! Whether a request would wait for ever.
//!
//! The search plays on what could still happen: every peer that waits for nothing releases all it holds, which
//! lets waiters have their locks, who then wait for nothing. A request that this does not reach is deadlocked
//! (the reduction of a resource graph after Holt, *Some Deadlock Properties of Computer Systems*, 1972). Only
//! the peers on which the request depends take part: holders of what it asks for and waiters ahead of
//! it, and whom they depend on in turn.
//!
//! A pause is no deadlock, as an operator ends it: to a waiter, a semaphore is at least as large as its count.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    error::{AcquireError, LimitReached, Link, Resource},
    peer::Part,
    presence::Presence,
    queue::Rank,
    slot::{PeerSlot, SemaphoreSlot},
    state::Core,
};

/// A request that is not in any queue yet.
pub(crate) struct Candidate<'a> {
    pub(crate) peer: PeerSlot,
    pub(crate) rank: Rank,
    /// What it would wait for.
    pub(crate) new: &'a [Part],
    /// All that it names: what it holds may shrink.
    pub(crate) named: &'a [Part],
}

/// One of the semaphores on which the candidate depends.
#[derive(Default)]
struct Area {
    /// What those hold who did not finish yet.
    acquired: i128,
    holders: BTreeSet<PeerSlot>,
    /// Those who wait here and did not finish, in order.
    waiting: BTreeMap<Rank, Waiting>,
    /// How many of its queue were looked at.
    seen: usize,
}

#[derive(Clone, Copy)]
struct Waiting {
    peer: PeerSlot,
    /// Whether it holds up those behind it.
    is_in_the_way: bool,
}

struct Search<'a> {
    core: &'a Core,
    candidate: &'a Candidate<'a>,
    areas: BTreeMap<SemaphoreSlot, Area>,
    /// Whom the candidate depends on, itself included; `true` once it finished.
    peers: BTreeMap<PeerSlot, bool>,
    steps: usize,
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
            steps: 0,
        };
        search.gather()?;
        search.play()?;
        if search.peers.get(&candidate.peer) == Some(&true) {
            return Ok(());
        }
        Err(AcquireError::Deadlock { chain: search.chain() })
    }
}

impl Search<'_> {
    fn step(&mut self) -> Result<(), LimitReached> {
        self.steps += 1;
        self.core.check_room(Resource::Walk, self.steps)
    }

    /// What a peer waits for.
    fn request(&self, peer: PeerSlot) -> Option<(Rank, &[Part])> {
        if peer == self.candidate.peer {
            return Some((self.candidate.rank, self.candidate.new));
        }
        // Whoever is absent holds up nobody, and is looked at as a candidate when it comes back.
        let request = self.core.peers[peer].pending.as_deref();
        let request = request.filter(|request| request.presence != Presence::Absent)?;
        Some((request.rank, &request.parts))
    }

    /// What a peer holds, as it would be with the candidate's request.
    fn held(&self, peer: PeerSlot) -> impl Iterator<Item = Part> {
        let named = if peer == self.candidate.peer { self.candidate.named } else { &[] };
        self.core.peers[peer].locks.iter().map(|held| {
            let named = named.iter().find(|part| part.semaphore == held.semaphore);
            let count = named.map_or(held.count, |part| part.count.min(held.count));
            Part { semaphore: held.semaphore, count }
        })
    }

    /// Finds every peer and semaphore on which the candidate depends.
    fn gather(&mut self) -> Result<(), LimitReached> {
        let mut open = VecDeque::from([self.candidate.peer]);
        while let Some(peer) = open.pop_front() {
            let Some((rank, parts)) = self.request(peer) else { continue };
            let parts = parts.to_vec();
            let is_too_large = |part: &Part| part.count > self.core.semaphores[part.semaphore].spec.max;
            let is_in_the_way = !parts.iter().any(is_too_large);
            for part in parts {
                self.step()?;
                let found = self.open_area(part.semaphore, rank);
                for other in found {
                    self.step()?;
                    if self.peers.insert(other, false).is_none() {
                        open.push_back(other);
                    }
                }
                let waiting = Waiting { peer, is_in_the_way };
                self.areas.entry(part.semaphore).or_default().waiting.insert(rank, waiting);
            }
        }
        Ok(())
    }

    /// The peers in the way of a waiter of this rank that were not found before.
    fn open_area(&mut self, semaphore: SemaphoreSlot, rank: Rank) -> Vec<PeerSlot> {
        let on = &self.core.semaphores[semaphore];
        let area = self.areas.entry(semaphore).or_default();
        let mut found = Vec::new();
        if area.holders.is_empty() {
            area.holders.extend(on.holders.values());
            found.extend(on.holders.values());
            let held = on.holders.values().flat_map(|&peer| self.held(peer));
            let acquired = held.filter(|held| held.semaphore == semaphore).map(|held| i128::from(held.count));
            let acquired = acquired.sum();
            self.areas.entry(semaphore).or_default().acquired = acquired;
        }
        let area = self.areas.entry(semaphore).or_default();
        let ahead = on.queue.iter_from(area.seen).take_while(|waiter| waiter.rank < rank);
        let before = found.len();
        found.extend(ahead.map(|waiter| waiter.peer));
        area.seen += found.len() - before;
        found
    }

    /// Marks all peers that can finish.
    fn play(&mut self) -> Result<(), LimitReached> {
        let all: Vec<PeerSlot> = self.peers.keys().copied().collect();
        let mut open: VecDeque<PeerSlot> = all.into_iter().filter(|&peer| self.is_free(peer)).collect();
        while let Some(peer) = open.pop_front() {
            if self.peers.insert(peer, true) == Some(true) {
                continue;
            }
            for semaphore in self.finish(peer) {
                let Some(area) = self.areas.get(&semaphore) else { continue };
                let mut candidates = Vec::new();
                for waiting in area.waiting.values() {
                    candidates.push(waiting.peer);
                    if waiting.is_in_the_way {
                        break;
                    }
                }
                for other in candidates {
                    self.step()?;
                    if self.is_free(other) {
                        open.push_back(other);
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a peer waits for nothing, or could be granted what it waits for.
    fn is_free(&self, peer: PeerSlot) -> bool {
        let Some((rank, parts)) = self.request(peer) else { return true };
        parts.iter().all(|part| self.obstacle(rank, part).is_none())
    }

    /// The peers in the way of a part of a request, and whether it is by holding.
    fn obstacle(&self, rank: Rank, part: &Part) -> Option<(PeerSlot, bool)> {
        let area = self.areas.get(&part.semaphore)?;
        let max = self.core.semaphores[part.semaphore].spec.max.max(part.count);
        if area.acquired + i128::from(part.count) > i128::from(max) {
            let did_not_finish = |peer: &&PeerSlot| self.peers.get(peer) == Some(&false);
            return area.holders.iter().find(did_not_finish).map(|&peer| (peer, true));
        }
        let ahead = area.waiting.range(..rank).map(|(_, waiting)| waiting);
        ahead.filter(|waiting| waiting.is_in_the_way).map(|waiting| (waiting.peer, false)).next()
    }

    /// A peer releases all it holds and waits for nothing any more. Returns the semaphores that this concerns.
    fn finish(&mut self, peer: PeerSlot) -> Vec<SemaphoreSlot> {
        let held: Vec<Part> = self.held(peer).collect();
        let (rank, parts) =
            self.request(peer).map_or((None, Vec::new()), |(r, parts)| (Some(r), parts.to_vec()));
        for part in &held {
            if let Some(area) =
                self.areas.get_mut(&part.semaphore).filter(|area| area.holders.contains(&peer))
            {
                area.acquired -= i128::from(part.count);
            }
        }
        for part in &parts {
            if let (Some(area), Some(rank)) = (self.areas.get_mut(&part.semaphore), rank) {
                area.waiting.remove(&rank);
            }
        }
        held.iter().chain(&parts).map(|part| part.semaphore).collect()
    }

    /// The chain of waiting peers, from the candidate on until somebody is named again.
    fn chain(&self) -> Vec<Link> {
        let mut chain = Vec::new();
        let mut seen = BTreeSet::new();
        let mut peer = self.candidate.peer;
        while seen.insert(peer) {
            let Some((rank, parts)) = self.request(peer) else { break };
            let found = parts.iter().find_map(|part| Some((part.semaphore, self.obstacle(rank, part)?)));
            let Some((semaphore, (blocker, is_holder))) = found else { break };
            chain.push(Link {
                peer: self.core.peers[peer].id,
                semaphore: self.core.name_of(semaphore),
                blocker: self.core.peers[blocker].id,
                is_holder,
            });
            peer = blocker;
        }
        chain
    }
}
