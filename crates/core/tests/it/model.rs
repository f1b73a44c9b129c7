//! The rules once more, in the most obvious way: plain lists, scanned from end to end.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use throttle_core::{
    AcquireError, Deadlock, Order, PeerId, ReleaseError, RestoreError, Settings, Spec, Time,
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelPeer {
    pub(crate) id: PeerId,
    pub(crate) expires_in: Duration,
    pub(crate) expires_at: Time,
    pub(crate) ends_at: Time,
    /// Semaphore to count and time of grant.
    pub(crate) locks: BTreeMap<String, (i64, Time)>,
    pub(crate) pending: Option<ModelRequest>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelRequest {
    rank: (i64, u64),
    since: Time,
    pub(crate) presence: ModelPresence,
    pub(crate) parts: BTreeMap<String, i64>,
}

/// Whether the client of a request is there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ModelPresence {
    Polling,
    Connected,
    Disconnected { absent_at: Time },
    Absent,
}

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) now: Time,
    ageing_step_micros: i64,
    margin_max: Duration,
    absent_after: Duration,
    pass_within: Duration,
    pub(crate) semaphores: BTreeMap<String, Spec>,
    pub(crate) peers: Vec<ModelPeer>,
    cooling: Vec<(String, i64, Time)>,
    sequence: u64,
    /// Every grant so far, per semaphore: when, to whom, and the count.
    pub(crate) grants: BTreeMap<String, Vec<(Time, PeerId, i64)>>,
}

impl Model {
    pub(crate) fn new(settings: &Settings) -> Self {
        let Settings { ageing_step, margin_max, absent_after, pass_within, .. } = *settings;
        let ageing_step_micros = i64::try_from(ageing_step.as_micros()).expect("small times");
        Self { ageing_step_micros, margin_max, absent_after, pass_within, ..Self::default() }
    }

    /// Goes forward instant by instant: whatever ends at one ends together, then count is given out.
    pub(crate) fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
        loop {
            let ends = self.peers.iter().map(|peer| peer.ends_at);
            let returns = self.cooling.iter().map(|&(_, _, at)| at);
            let absences = self.peers.iter().filter_map(|peer| match peer.pending.as_ref()?.presence {
                ModelPresence::Disconnected { absent_at } => Some(absent_at),
                _ => None,
            });
            let Some(at) = ends.chain(returns).chain(absences).min().filter(|&at| at <= self.now) else {
                return;
            };
            self.cooling.retain(|&(_, _, due)| due > at);
            for peer in self.peers.clone().iter().filter(|peer| peer.ends_at <= at) {
                self.remove(peer.id);
            }
            for request in self.peers.iter_mut().filter_map(|peer| peer.pending.as_mut()) {
                match request.presence {
                    ModelPresence::Disconnected { absent_at } if absent_at <= at => {
                        request.presence = ModelPresence::Absent;
                    }
                    _ => {}
                }
            }
            self.grant();
        }
    }

    pub(crate) fn new_peer(&mut self, id: PeerId, expires_in: Duration) {
        let now = self.now;
        let (locks, pending) = (BTreeMap::new(), None);
        self.peers.push(ModelPeer { id, expires_in, expires_at: now, ends_at: now, locks, pending });
        self.renew(id, expires_in);
    }

    pub(crate) fn peer(&self, id: PeerId) -> Option<&ModelPeer> {
        self.peers.iter().find(|peer| peer.id == id)
    }

    fn peer_mut(&mut self, id: PeerId) -> Option<&mut ModelPeer> {
        self.peers.iter_mut().find(|peer| peer.id == id)
    }

    pub(crate) fn renew(&mut self, id: PeerId, expires_in: Duration) -> bool {
        let (now, margin) = (self.now, (expires_in / 20).min(self.margin_max));
        let Some(peer) = self.peer_mut(id) else { return false };
        peer.expires_in = expires_in;
        peer.expires_at = now + expires_in;
        peer.ends_at = peer.expires_at + margin;
        true
    }

    pub(crate) fn end(&mut self, id: PeerId) -> bool {
        let was_known = self.peer(id).is_some();
        self.remove(id);
        self.grant();
        was_known
    }

    fn remove(&mut self, id: PeerId) {
        let Some(at) = self.peers.iter().position(|peer| peer.id == id) else { return };
        for (semaphore, (count, since)) in self.peers.remove(at).locks {
            self.cool(&semaphore, count, since);
        }
    }

    fn cool(&mut self, semaphore: &str, count: i64, since: Time) {
        if let Some(due) = self.semaphores[semaphore].per.map(|per| since + per).filter(|&due| due > self.now)
        {
            self.cooling.push((semaphore.to_owned(), count, due));
        }
    }

    pub(crate) fn acquired(&self, semaphore: &str) -> i64 {
        self.peers.iter().filter_map(|peer| peer.locks.get(semaphore)).map(|(count, _)| count).sum()
    }

    pub(crate) fn pending(&self, semaphore: &str) -> i64 {
        let requests = self.peers.iter().filter_map(|peer| peer.pending.as_ref());
        requests.filter_map(|request| request.parts.get(semaphore)).sum()
    }

    pub(crate) fn cooling(&self, semaphore: &str) -> i64 {
        self.cooling.iter().filter(|(name, ..)| name == semaphore).map(|(_, count, _)| count).sum()
    }

    fn fits(&self, semaphore: &str, count: i64) -> bool {
        self.acquired(semaphore) + self.cooling(semaphore) + count <= self.semaphores[semaphore].max
    }

    fn is_passed_over(&self, request: &ModelRequest) -> bool {
        request.presence == ModelPresence::Absent
            || request.parts.iter().any(|(semaphore, count)| *count > self.semaphores[semaphore].max)
    }

    /// Whether nothing holds up `request` in any of its queues, and it fits everywhere.
    fn can_grant(&self, request: &ModelRequest) -> bool {
        !self.is_passed_over(request)
            && matches!(request.presence, ModelPresence::Polling | ModelPresence::Connected)
            && request
                .parts
                .keys()
                .all(|semaphore| self.is_ready(request, semaphore) || self.passes_all(request, semaphore))
    }

    /// Whether a request for one semaphore alone fits there, and passes whoever holds it up.
    fn passes_all(&self, request: &ModelRequest, semaphore: &str) -> bool {
        let mut others = self.peers.iter().filter_map(|peer| peer.pending.as_ref());
        request.parts.len() == 1
            && self.fits(semaphore, request.parts[semaphore])
            && others.all(|other| {
                other.rank >= request.rank
                    || !self.holds_up(other, semaphore)
                    || self.is_passed(other, semaphore)
            })
    }

    /// Whether a request that asks for more than this would fit here, so that it waits for something else.
    fn is_passed(&self, request: &ModelRequest, semaphore: &str) -> bool {
        self.semaphores[semaphore].order == Order::Pass
            && request.parts.len() > 1
            && matches!(request.presence, ModelPresence::Polling | ModelPresence::Connected)
            && self.fits(semaphore, request.parts[semaphore])
            && self.now.since(request.since) < self.pass_within
    }

    /// Whether nothing holds up `request` on this semaphore, and it fits there.
    fn is_ready(&self, request: &ModelRequest, semaphore: &str) -> bool {
        let mut others = self.peers.iter().filter_map(|peer| peer.pending.as_ref());
        self.fits(semaphore, request.parts[semaphore])
            && !others.any(|other| other.rank < request.rank && self.holds_up(other, semaphore))
    }

    /// Whether `request` holds up those behind it on this semaphore: there is nothing above that it lacks.
    fn holds_up(&self, request: &ModelRequest, semaphore: &str) -> bool {
        let on = self.semaphores[semaphore];
        let mut above = request.parts.keys().filter(|other| self.semaphores[*other].level > on.level);
        request.parts.contains_key(semaphore)
            && !self.is_passed_over(request)
            && (on.deadlock == Deadlock::Detect || above.all(|other| self.is_ready(request, other)))
    }

    pub(crate) fn grant(&mut self) {
        // A request has its turn with its lowest level, from above; of several that which came first.
        let lowest =
            |request: &ModelRequest| request.parts.keys().map(|name| self.semaphores[name].level).min();
        let waiting = self.peers.iter().filter_map(|peer| Some((peer.pending.as_ref()?, peer.id)));
        let next = waiting
            .filter(|(request, _)| self.can_grant(request))
            .min_by_key(|(request, _)| (Reverse(lowest(request)), request.rank));
        if let Some((request, id)) = next {
            let parts = request.parts.clone();
            self.give(id, &parts);
            let expires_in = self.peer(id).map(|peer| peer.expires_in).unwrap_or_default();
            self.renew(id, expires_in);
            self.grant();
        }
    }

    fn give(&mut self, id: PeerId, parts: &BTreeMap<String, i64>) {
        let now = self.now;
        for (semaphore, count) in parts {
            self.grants.entry(semaphore.clone()).or_default().push((now, id, *count));
        }
        let Some(peer) = self.peer_mut(id) else { return };
        peer.pending = None;
        peer.locks.extend(parts.iter().map(|(semaphore, count)| (semaphore.clone(), (*count, now))));
    }

    pub(crate) fn acquire(
        &mut self,
        id: PeerId,
        locks: &[(&str, i64)],
        priority: i32,
        expires_in: Option<Duration>,
    ) -> Result<bool, AcquireError> {
        if let Some((name, _)) = locks.iter().find(|(name, _)| !self.semaphores.contains_key(*name)) {
            return Err(AcquireError::UnknownSemaphore((*name).into()));
        }
        for &(semaphore, count) in locks {
            let max = self.semaphores[semaphore].max;
            if max != 0 && count > max {
                if let Some(peer) = self.peer_mut(id) {
                    peer.pending.take_if(|request| request.parts.get(semaphore) == Some(&count));
                }
                self.grant();
                return Err(AcquireError::ExceedsMax { semaphore: semaphore.into(), count, max });
            }
        }
        let peer = self.peer(id).ok_or(AcquireError::UnknownPeer)?.clone();
        if let Some(expires_in) = expires_in {
            self.renew(id, expires_in);
        }
        if let Some(&(semaphore, count)) = locks.iter().find(|(_, count)| *count < 1) {
            return Err(AcquireError::CountBelowOne { semaphore: semaphore.into(), count });
        }
        let mut new = BTreeMap::new();
        let mut shrinks = Vec::new();
        for &(semaphore, count) in locks {
            let held = peer.locks.get(semaphore).map(|&(count, _)| count);
            let asked = || peer.pending.as_ref()?.parts.get(semaphore).copied();
            let level = self.semaphores[semaphore].level;
            match held.or_else(asked) {
                None => drop(new.insert(semaphore.to_owned(), count)),
                Some(before) if count > before => {
                    return Err(AcquireError::Hierarchy { semaphore: semaphore.into(), level, held: level });
                }
                Some(before) if count < before => shrinks.push((semaphore, count, before - count)),
                Some(_) => {}
            }
        }
        for semaphore in new.keys() {
            let Spec { level, deadlock, .. } = self.semaphores[semaphore];
            let held = peer.locks.keys().map(|held| self.semaphores[held]);
            let both_detect = |held: &Spec| (deadlock, held.deadlock) == (Deadlock::Detect, Deadlock::Detect);
            let lowest = held.filter(|held| !both_detect(held)).map(|held| held.level).min();
            if let Some(held) = lowest.filter(|&held| level >= held) {
                return Err(AcquireError::Hierarchy { semaphore: semaphore.as_str().into(), level, held });
            }
        }
        if !new.is_empty() && peer.pending.is_some() {
            return Err(AcquireError::AlreadyPending);
        }
        let mut is_gone = false;
        if peer.pending.is_some_and(|request| locks.iter().any(|(name, _)| request.parts.contains_key(*name)))
        {
            is_gone = self.come_back(id);
        }
        let at_once = shrinks.is_empty();
        for (semaphore, count, less) in shrinks {
            self.shrink(id, semaphore, count, less);
        }
        if !new.is_empty() {
            let arrival = i64::try_from(self.now.as_micros()).expect("small times");
            let rank = (arrival - i64::from(priority) * self.ageing_step_micros, self.sequence);
            self.sequence += 1;
            let (since, presence) = (self.now, ModelPresence::Polling);
            let request = ModelRequest { rank, since, presence, parts: new };
            if at_once && self.can_grant(&request) {
                self.give(id, &request.parts);
            } else if let Some(peer) = self.peer_mut(id) {
                peer.pending = Some(request);
            }
        }
        self.grant();
        if is_gone {
            self.disconnect(id);
        }
        let peer = self.peer(id).expect("known");
        Ok(locks.iter().all(|(semaphore, _)| peer.locks.contains_key(*semaphore)))
    }

    /// `false`: unknown.
    pub(crate) fn connect(&mut self, id: PeerId) -> bool {
        let Some(peer) = self.peer_mut(id) else { return false };
        if let Some(request) = &mut peer.pending {
            request.presence = ModelPresence::Connected;
        }
        self.grant();
        true
    }

    pub(crate) fn disconnect(&mut self, id: PeerId) {
        let absent_at = self.now + self.absent_after;
        if let Some(request) = self.peer_mut(id).and_then(|peer| peer.pending.as_mut())
            && request.presence == ModelPresence::Connected
        {
            request.presence = ModelPresence::Disconnected { absent_at };
        }
    }

    /// The request of a peer was found to wait for ever: it is passed over.
    pub(crate) fn pass_over(&mut self, id: PeerId) {
        if let Some(request) = self.peer_mut(id).and_then(|peer| peer.pending.as_mut()) {
            request.presence = ModelPresence::Absent;
        }
        self.grant();
    }

    /// Whether a peer waits for nothing; `None`: unknown.
    pub(crate) fn poll(&mut self, id: PeerId) -> Option<bool> {
        self.peer(id)?;
        if self.come_back(id) {
            self.grant();
            self.disconnect(id);
        }
        Some(self.peer(id)?.pending.is_none())
    }

    /// Whether the client of the peer's request was gone; now it is there.
    fn come_back(&mut self, id: PeerId) -> bool {
        let request = self.peer_mut(id).and_then(|peer| peer.pending.as_mut());
        let gone = request
            .filter(|request| !matches!(request.presence, ModelPresence::Polling | ModelPresence::Connected));
        gone.map(|request| request.presence = ModelPresence::Connected).is_some()
    }

    fn shrink(&mut self, id: PeerId, semaphore: &str, count: i64, less: i64) {
        let peer = self.peer_mut(id).expect("known");
        if let Some((held, since)) = peer.locks.get_mut(semaphore) {
            *held = count;
            let since = *since;
            self.cool(semaphore, less, since);
        } else if let Some(request) = &mut peer.pending {
            request.parts.insert(semaphore.to_owned(), count);
        }
    }

    pub(crate) fn release_lock(&mut self, id: PeerId, semaphore: &str) -> Result<(), ReleaseError> {
        let peer = self.peer_mut(id).ok_or(ReleaseError::UnknownPeer)?;
        let held = peer.locks.remove(semaphore);
        peer.pending.take_if(|request| held.is_none() && request.parts.contains_key(semaphore));
        if !self.semaphores.contains_key(semaphore) {
            return Err(ReleaseError::UnknownSemaphore(semaphore.into()));
        }
        if let Some((count, since)) = held {
            self.cool(semaphore, count, since);
        }
        self.grant();
        Ok(())
    }

    pub(crate) fn restore(
        &mut self,
        id: PeerId,
        expires_in: Duration,
        locks: &[(&str, i64)],
    ) -> Result<(), RestoreError> {
        if let Some((name, _)) = locks.iter().find(|(name, _)| !self.semaphores.contains_key(*name)) {
            return Err(RestoreError::UnknownSemaphore((*name).into()));
        }
        if let Some(&(semaphore, count)) = locks.iter().find(|(_, count)| *count < 1) {
            return Err(RestoreError::CountBelowOne { semaphore: semaphore.into(), count });
        }
        if let Some(peer) = self.peer(id) {
            let held: Vec<_> = peer.locks.iter().map(|(name, (count, _))| (name.as_str(), *count)).collect();
            if !locks.is_empty() && held != locks {
                return Err(RestoreError::Conflict);
            }
            if peer.expires_at < self.now + expires_in {
                self.renew(id, expires_in);
            }
            return Ok(());
        }
        for &(semaphore, count) in locks {
            let max = self.semaphores[semaphore].max;
            if max > 0 && count > max {
                return Err(RestoreError::ExceedsMax { semaphore: semaphore.into(), count, max });
            }
        }
        self.new_peer(id, expires_in);
        let now = self.now;
        let peer = self.peer_mut(id).expect("just made");
        peer.locks.extend(locks.iter().map(|&(semaphore, count)| (semaphore.to_owned(), (count, now))));
        // Who led on a semaphore may not fit there any more, and so holds up nobody below.
        self.grant();
        Ok(())
    }

    pub(crate) fn set_semaphore(&mut self, name: &str, spec: Spec) {
        let before = self.semaphores.insert(name.to_owned(), spec);
        if let Some(before) = before.and_then(|before| before.per)
            && spec.per != Some(before)
        {
            for (_, _, due) in self.cooling.iter_mut().filter(|(cooling, ..)| cooling == name) {
                let given_at = due.since(Time::default()).saturating_sub(before);
                *due = Time::default() + given_at + spec.per.unwrap_or_default();
            }
            self.cooling.retain(|&(_, _, due)| due > self.now);
        }
        self.grant();
    }

    /// `None`: unknown. `Some(false)`: in use.
    pub(crate) fn remove_semaphore(&mut self, name: &str, force: bool) -> Option<bool> {
        self.semaphores.get(name)?;
        let in_use = self.acquired(name) > 0 || self.pending(name) > 0;
        if in_use && !force {
            return Some(false);
        }
        for peer in &mut self.peers {
            peer.locks.remove(name);
            peer.pending.take_if(|request| request.parts.contains_key(name));
        }
        self.cooling.retain(|(cooling, ..)| cooling != name);
        self.semaphores.remove(name);
        self.grant();
        Some(true)
    }
}
