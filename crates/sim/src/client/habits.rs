//! Habits: what a client asks for, when it renews, how it goes on; and what it does that it had better not do.

use std::sync::Arc;

use super::{Act, Client, Dialect, Phase, Purpose};
use crate::{
    message::{Call, Locks, Write},
    setup::pick,
    time::{Micros, Moment, SECOND},
};

impl Client {
    /// It stands still for a while, or dies and begins anew as somebody else. Tells whether it does.
    pub(super) fn misbehave(&mut self, at: Moment, acts: &mut Vec<Act>) -> bool {
        match self.random.u32(0..200) {
            0..4 => {
                self.frozen_until = at + self.random.u64(0..=2 * self.lease);
                true
            }
            4..6 => {
                acts.extend(
                    self.main.take().into_iter().chain(self.renewal.take()).map(|sent| Act::Close(sent.id)),
                );
                let pause = self.random.u64(0..=self.lease);
                self.forget(at + pause);
                true
            }
            _ => false,
        }
    }

    /// When the lease is to be renewed that began now: on time, late, or at the very moment of its end.
    pub(super) fn plan_renewal(&mut self, at: Moment) {
        let lease = self.lease;
        let late = [lease, lease + 1, lease + lease / 20, lease + lease / 20 + 1, lease - 1, 2 * lease];
        let is_late = self.setup.faults.careless && !self.is_finishing && self.random.u32(0..12) == 0;
        let after = match is_late {
            true => *pick(&mut self.random, &late),
            false if self.is_punctual => lease,
            false => self.random.u64(lease / 5..=lease / 2),
        };
        self.renew_at = at + after;
    }

    pub(super) fn priority(&mut self) -> i32 {
        if self.random.u8(0..4) == 0 { self.random.i32(-2..=2) } else { 0 }
    }

    /// What to ask for in a session: the last first, from the highest level down, or in any order.
    pub(super) fn plan_locks(&mut self) -> Vec<Locks> {
        let names = self.setup.names.clone();
        let mut chosen: Vec<Arc<str>> = Vec::new();
        let is_tangled = self.setup.is_tangled;
        for _ in 0..self.random.usize(if is_tangled { 2..=3 } else { 1..=3 }) {
            let name = pick(&mut self.random, &names).clone();
            if !chosen.contains(&name) {
                chosen.push(name);
            }
        }
        let level = |name: &Arc<str>| self.setup.spec_of(name).map_or(0, |spec| spec.level);
        if !is_tangled && self.random.u8(0..4) > 0 {
            chosen.sort_by_key(level);
        }
        let mut locks = Vec::new();
        for name in chosen {
            let max = self.setup.spec_of(&name).map_or(1, |spec| spec.max);
            let count = if self.random.u8(0..20) == 0 { max + 1 } else { self.random.i64(1..=max.max(1)) };
            locks.push((name, count));
        }
        if self.dialect == Dialect::V1 && !is_tangled && self.random.bool() {
            return vec![locks];
        }
        locks.into_iter().map(|lock| vec![lock]).collect()
    }

    /// The next thing of a session.
    pub(super) fn next(&mut self, at: Moment, ids: &mut u64, acts: &mut Vec<Act>) {
        let Some(peer) = self.peer else { return self.forget(at + SECOND) };
        let is_finishing = self.is_finishing;
        if let Some(locks) = self.wanted.pop_if(|_| !is_finishing) {
            let expires_in = self.random.bool().then_some(self.lease);
            let longest = if self.setup.is_tangled { SECOND } else { 10 * SECOND };
            let wait = if self.random.bool() { 0 } else { self.random.u64(0..=longest) };
            let call =
                Call::Acquire { peer, locks, priority: self.priority(), expires_in, wait, if_pending: None };
            return self.ask(at, Purpose::Acquire, call, ids, acts);
        }
        self.wanted.clear();
        let large = self
            .held
            .iter()
            .find(|(_, (count, _))| *count > 1)
            .map(|(name, (count, _))| (name.clone(), *count));
        match (self.random.u8(0..10), large) {
            (0, Some((name, count))) => {
                let locks = vec![(name, self.random.i64(1..count))];
                let call =
                    Call::Acquire { peer, locks, priority: 0, expires_in: None, wait: 0, if_pending: None };
                self.ask(at, Purpose::Shrink, call, ids, acts);
            }
            (1, _) if self.dialect == Dialect::V1 => {
                let own = self.a_lock().filter(|_| self.random.bool());
                let Some((_, semaphore, token)) = own.or_else(|| self.former.clone()) else {
                    return self.ask(at, Purpose::Check, Call::Look { peer }, ids, acts);
                };
                self.ask(at, Purpose::Check, Call::CheckToken { semaphore, token }, ids, acts);
            }
            (1, _) => {
                let semaphore = pick(&mut self.random, &self.setup.names).clone();
                self.ask(at, Purpose::Check, Call::Remainder { semaphore }, ids, acts);
            }
            (6, _) if self.dialect == Dialect::V02 => {
                let call = self.reclaim(peer);
                self.ask(at, Purpose::Reclaim, call, ids, acts);
            }
            (7, _) if !self.held.is_empty() => {
                // More than it has: that is a way into a deadlock.
                let (name, count) = self
                    .held
                    .iter()
                    .next()
                    .map(|(name, (count, _))| (name.clone(), *count))
                    .unwrap_or_default();
                let locks = vec![(name, count + 1)];
                let call =
                    Call::Acquire { peer, locks, priority: 0, expires_in: None, wait: 0, if_pending: None };
                self.ask(at, Purpose::Check, call, ids, acts);
            }
            (2, _) => self.ask(at, Purpose::Check, Call::Look { peer }, ids, acts),
            (3 | 4, _) if !self.held.is_empty() => {
                let semaphores: Vec<_> = self.held.keys().cloned().collect();
                self.former = self.a_lock().or(self.former.take());
                self.ask(at, Purpose::Release, Call::Release { peer, semaphores }, ids, acts);
            }
            _ => {
                // Who ends a peer renews it no more.
                self.renew_at = Moment::MAX;
                self.ask(at, Purpose::EndPeer, Call::EndPeer { peer, reason: None }, ids, acts);
            }
        }
    }

    pub(super) fn work(&mut self) -> Micros {
        self.random.u64(0..=2 * self.lease)
    }

    /// One of its locks whose token it knows.
    pub(super) fn a_lock(&self) -> Option<(u64, Arc<str>, u64)> {
        let peer = self.peer?;
        self.held.iter().find_map(|(name, (_, token))| Some((peer, name.clone(), (*token)?)))
    }

    /// It works with what a lock protects, and may go on with that when it has lost its lock: then it is a zombie.
    pub(super) fn write(&mut self, acts: &mut Vec<Act>) {
        let lock = match self.random.u8(0..16) {
            0..4 => self.a_lock(),
            4 => self.former.clone(),
            _ => None,
        };
        acts.extend(lock.map(|(peer, semaphore, token)| Act::Write(Write { peer, semaphore, token })));
    }

    /// From now on it asks for another length of its lease. It does so only while nothing is under way: nobody could
    /// tell which of two lengths counts.
    pub(super) fn change_lease(&mut self) {
        let is_quiet =
            self.main.is_none() && self.renewal.is_none() && matches!(self.phase, Phase::Holding(_));
        if is_quiet && !self.is_finishing && self.random.u8(0..8) == 0 {
            let (least, most) = (self.setup.lease_max / 10, self.setup.lease_max);
            self.lease = if self.random.bool() { most } else { self.random.u64(least..=2 * least) };
        }
    }

    /// Repeats what it holds, or something else, which is refused.
    fn reclaim(&mut self, peer: u64) -> Call {
        let lock = |(name, (count, token)): (&Arc<str>, &(i64, Option<u64>))| (name.clone(), *count, *token);
        let mut locks: Vec<_> = self.held.iter().map(lock).collect();
        if self.random.bool() {
            for (_, count, _) in locks.iter_mut().filter(|(_, count, _)| *count > 1).take(1) {
                *count -= 1;
            }
        }
        Call::Restore { peer, expires_in: self.lease, locks }
    }

    /// A request for a peer that comes once more, as a proxy has it, or another one under the same key, by mistake.
    pub(super) fn plan_echo(&mut self, at: Moment, call: &Call) -> Option<(Moment, Call)> {
        let mut call = call.clone();
        let Call::NewPeer { key: Some(_), expires_in } = &mut call else { return None };
        if self.random.u8(0..4) == 0 {
            *expires_in += 1;
        }
        Some((at + self.random.u64(0..=5 * SECOND), call))
    }

    /// The same once more, so late that its peer may be gone, and the server another one.
    pub(super) fn plan_late_echo(&mut self, at: Moment, call: &Call) -> Option<(Moment, Call)> {
        (self.random.u8(0..3) > 0).then(|| (at + self.random.u64(SECOND..=20 * SECOND), call.clone()))
    }

    /// It asked whether all is acquired. If so, it has a look at what it has; if not, it asks again in some way.
    pub(super) fn polled(&mut self, at: Moment, is_acquired: bool) {
        let Some(peer) = self.peer else { return self.forget(at + SECOND) };
        let pause = self.random.u64(0..=SECOND);
        if is_acquired {
            self.wanted.pop();
            self.phase = Phase::Pausing(Purpose::Check, Call::Look { peer }, at + pause / 8);
        } else if self.random.bool() {
            self.phase = Phase::Pausing(Purpose::Poll, Call::IsAcquired { peer }, at + pause);
        } else {
            // It still wants what it waits for.
            self.phase = Phase::Holding(at + pause);
        }
    }
}
