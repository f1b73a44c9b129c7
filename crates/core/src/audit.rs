//! Checks that every figure that is kept equals what a scan would find. For tests; it is slow.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use crate::{
    names::Name,
    owner::Owner,
    passing::PASSED_MAX,
    pattern::Patterns,
    peer::{Part, Request},
    presence::Presence,
    queue::{PASSED_OVER, Waiter},
    semaphore::{Deadlock, Spec},
    slot::SemaphoreSlot,
    state::Core,
    usage::Usages,
};

impl Core {
    /// Compares the indices and figures with a full scan, and names the first one that is wrong.
    pub fn audit(&self) -> Result<(), String> {
        self.audit_peers()?;
        self.audit_usage()?;
        self.audit_semaphores()?;
        self.audit_progress()
    }

    fn audit_peers(&self) -> Result<(), String> {
        let ids = self.peers.iter().filter(|(slot, peer)| self.peer_slots.get(peer.id.0) == Some(*slot));
        check(ids.count() == self.peers.len() && self.peer_slots.len() == self.peers.len(), "index of ids")?;
        check(self.leases.len() == self.peers.len(), "size of the index of leases")?;
        for (slot, peer) in self.peers.iter() {
            check(self.leases.contains(&(peer.indexed_at, slot)), "place in the index of leases")?;
            check(peer.indexed_at <= peer.ends_at, "a lease is found too late")?;
            check(self.is_behind || peer.ends_at > self.now, "a peer outlived its lease")?;
        }
        let absences = self.peers.iter().filter_map(|(slot, peer)| match peer.pending.as_ref()?.presence {
            Presence::Disconnected { absent_at } => Some((absent_at, slot)),
            _ => None,
        });
        check(absences.collect::<BTreeSet<_>>() == self.absences, "index of absences")?;
        let is_late = self.absences.first().is_some_and(|&(at, _)| at <= self.now);
        check(self.is_behind || !is_late, "a waiter is absent too late")?;
        let serials = self.peers.iter().flat_map(|(_, peer)| &peer.locks);
        check(serials.clone().all(|held| self.serials.contains(held.serial)), "serials")?;
        check(serials.count() == self.serials.len(), "number of serials")
    }

    fn audit_usage(&self) -> Result<(), String> {
        let mut usages = Usages::default();
        for (_, peer) in self.peers.iter() {
            usages.change(&peer.owner, |usage| {
                usage.peers += 1;
                usage.pending += usize::from(peer.pending.is_some());
            });
        }
        for (_, semaphore) in self.semaphores.iter() {
            check(semaphore.pattern.is_some() || semaphore.maker == Owner::NOBODY, "maker of no member")?;
            usages.change(&semaphore.maker, |usage| usage.members += 1);
        }
        check(usages.0 == self.usages.0, "what owners use")
    }

    fn audit_semaphores(&self) -> Result<(), String> {
        let mut acquired: BTreeMap<SemaphoreSlot, i128> = BTreeMap::new();
        let mut pending: BTreeMap<SemaphoreSlot, (usize, i128, usize, usize)> = BTreeMap::new();
        for (slot, peer) in self.peers.iter() {
            for held in &peer.locks {
                *acquired.entry(held.semaphore).or_default() += i128::from(held.count);
                let holder = self.semaphores[held.semaphore].holders.get(&held.serial);
                check(holder == Some(&slot), "index of holders")?;
            }
            let parts = peer.pending.as_ref().map_or(&[][..], |request| &request.parts);
            for part in parts {
                let (len, sum, joint, joint_parts) = pending.entry(part.semaphore).or_default();
                *len += 1;
                *sum += i128::from(part.count);
                if parts.len() > 1 {
                    *joint += 1;
                    *joint_parts += parts.len();
                }
            }
        }
        for (slot, semaphore) in self.semaphores.iter() {
            check(semaphore.acquired == acquired.get(&slot).copied().unwrap_or(0), "acquired count")?;
            let (len, sum, joint, joint_parts) = pending.get(&slot).copied().unwrap_or_default();
            check((semaphore.queue.len(), semaphore.queue.sum()) == (len, sum), "pending count")?;
            let cooling: i128 = semaphore.cooling.values().sum();
            check(semaphore.cooling_sum == cooling, "cooling count")?;
            check(semaphore.joint.len() == joint, "index of requests over several")?;
            check(semaphore.joint_parts == joint_parts, "what requests over several ask for")?;
            let due = semaphore.cooling.first_key_value().map(|(&at, _)| (at, slot));
            check(due.is_none_or(|due| self.returns.contains(&due)), "index of returns")?;
        }
        let cooling = self.semaphores.iter().filter(|(_, semaphore)| !semaphore.cooling.is_empty()).count();
        check(self.returns.len() == cooling, "size of the index of returns")?;
        let specs = self.semaphores.iter().map(|(_, semaphore)| semaphore.spec);
        let specs = specs.chain(self.patterns().map(|(_, spec)| spec));
        let detecting = specs.filter(|spec| spec.deadlock == Deadlock::Detect).count();
        check(self.detecting == detecting, "number of those that detect deadlocks")?;
        let mut members: BTreeMap<Name, usize> = BTreeMap::new();
        for (_, semaphore) in self.semaphores.iter() {
            if let Some(pattern) = &semaphore.pattern {
                *members.entry(pattern.clone()).or_default() += 1;
            }
        }
        check(self.patterns.member_counts == members, "numbers of members")?;
        self.patterns.audit()
    }

    /// Checks that no waiter could be granted: there is no lost wake-up.
    fn audit_progress(&self) -> Result<(), String> {
        if self.is_holding {
            return Ok(());
        }
        for (_, peer) in self.peers.iter() {
            let Some(request) = &peer.pending else { continue };
            let is_passed_over = self.is_passed_over(request);
            let mut ready = !is_passed_over && request.presence.can_be_granted();
            for part in &request.parts {
                let passed_over = is_passed_over || !self.leads_above(request, part);
                let on = &self.semaphores[part.semaphore];
                let ahead: Vec<_> =
                    on.queue.iter_from(0).take_while(|waiter| waiter.rank != request.rank).collect();
                let own = on.queue.iter_from(ahead.len()).next();
                let needs = if passed_over { PASSED_OVER } else { part.count.cast_unsigned() };
                check(own.is_some_and(|waiter| waiter.needs == needs), "a waiter's needs")?;
                let in_line: Vec<_> =
                    ahead.iter().filter(|waiter| waiter.needs <= on.spec.max.cast_unsigned()).collect();
                let passes = request.parts.len() == 1 && in_line.len() <= PASSED_MAX;
                let is_passed = |waiter: &Waiter| passes && self.is_passed(self.now, part.semaphore, waiter);
                ready &= on.fits(part.count) && in_line.into_iter().all(|waiter| is_passed(waiter));
            }
            check(!ready, "a request waits that could be granted")?;
        }
        check(self.touched.is_empty(), "a touched queue was not looked at")
    }

    /// Whether a request is first and fits on every level above that of one of its parts.
    fn leads_above(&self, request: &Request, part: &Part) -> bool {
        let Spec { level, deadlock, .. } = self.semaphores[part.semaphore].spec;
        let above = |other: &&Part| self.semaphores[other.semaphore].spec.level > level;
        deadlock == Deadlock::Detect
            || request.parts.iter().filter(above).all(|part| self.is_ready(request.rank, *part))
    }
}

impl Patterns {
    fn audit(&self) -> Result<(), String> {
        let mut lengths: BTreeMap<Reverse<usize>, usize> = BTreeMap::new();
        for (name, _) in self.iter() {
            *lengths.entry(Reverse(name.find('*').unwrap_or(0))).or_default() += 1;
        }
        check(lengths == self.prefix_lengths, "lengths of prefixes")
    }
}

fn check(is_right: bool, what: &str) -> Result<(), String> {
    if is_right { Ok(()) } else { Err(format!("wrong: {what}")) }
}
