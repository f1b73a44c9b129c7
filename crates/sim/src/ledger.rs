//! What clients know, for those who judge: built from what they sent and were told, never from the server's books.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use crate::{
    exchange::{Exchange, Note},
    known::{Asking, Hold, Known},
};
use crate::{
    message::{Answer, Call, Peer, Refused, Request},
    setup::Setup,
    time::{MS, Micros, Moment},
};

/// What all clients together know.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Ledger {
    pub setup: Arc<Setup>,
    pub peers: BTreeMap<u64, Known>,
    /// The largest full count that each semaphore may have had.
    pub largest_max: BTreeMap<Arc<str>, i64>,
    /// When each key was first sent, and with what length of a lease.
    pub keys: BTreeMap<String, (Moment, Micros)>,
    /// Keys of requests that may arrive once more: they have their peers ask again for what those gave back.
    pub(crate) unsettled_keys: BTreeSet<String>,
    /// The peer that a session was told of, by its key.
    peer_of: BTreeMap<String, u64>,
    /// When the server last began to run.
    pub started_at: Moment,
    /// How long the server stood still in all.
    pub stood_still: Micros,
    /// When that began, and how long each time was.
    pub(crate) standstills: Vec<(Moment, Micros)>,
    /// The server is about to stop.
    pub is_draining: bool,
    /// When it last began to.
    pub stopped_at: Moment,
    /// The server last began to run with empty state, after it had another.
    pub has_forgotten: bool,
    /// By how much the wall clock was set, if it ever was.
    pub clock_was_set: bool,
    /// The instance of the server's state that runs.
    pub instance: u64,
    /// Names that an operator removed, or may have, at any moment from then on: nobody relies on them.
    pub removed: BTreeMap<Arc<str>, Moment>,
    /// By when the last change of a semaphore that was asked for has come about.
    pub changed_by: Moment,
    /// Faults have ceased.
    pub is_calm: bool,
    /// An operator has grants given out that were held back: who held something before a restart may lose it.
    was_resumed: bool,
}

impl Ledger {
    pub fn new(setup: Arc<Setup>) -> Self {
        let mut largest_max = BTreeMap::new();
        for name in &setup.names {
            largest_max.insert(name.clone(), setup.spec_of(name).map_or(0, |spec| spec.max));
        }
        Self {
            setup,
            peers: BTreeMap::new(),
            largest_max,
            keys: BTreeMap::new(),
            unsettled_keys: BTreeSet::new(),
            peer_of: BTreeMap::new(),
            started_at: 0,
            stood_still: 0,
            standstills: Vec::new(),
            is_draining: false,
            stopped_at: 0,
            has_forgotten: false,
            clock_was_set: false,
            instance: 0,
            removed: BTreeMap::new(),
            changed_by: 0,
            is_calm: false,
            was_resumed: false,
        }
    }

    /// A request is sent: what its client gives up with it, it does not rely on any more.
    pub fn sent(&mut self, request: &Request) {
        let Request { sent_at, call, client, .. } = request;
        if let Some(key) = call.key() {
            self.keys.entry(key.to_owned()).or_insert((*sent_at, call.lease().unwrap_or_default()));
        }
        let arrives_by = sent_at + 2 * self.setup.faults.delay_max;
        if call.changes_semaphores() {
            self.changed_by = self.changed_by.max(arrives_by);
        }
        match call {
            Call::Resize { semaphore, max } => self.may_have(semaphore, *max),
            Call::SetSemaphore { semaphore, spec } => self.may_have(semaphore, spec.max),
            Call::Resume => {
                self.was_resumed = true;
                let instance = self.instance;
                for known in self.peers.values_mut().filter(|known| known.instance != instance) {
                    known.guaranteed_until = 0;
                }
            }
            Call::RemoveSemaphore { semaphore, .. } => {
                self.removed.insert(semaphore.clone(), *sent_at);
                for known in self.peers.values_mut() {
                    known.held.remove(semaphore);
                    let asked =
                        known.asking.take_if(|asking| asking.locks.iter().any(|(name, _)| name == semaphore));
                    // When it is removed, and so withdrawn, nobody knows.
                    known.is_muddled |= asked.is_some();
                }
            }
            _ => {}
        }
        let length = call.lease().unwrap_or_default();
        for peer in call.renews() {
            if let Some(known) = self.peers.get_mut(peer) {
                known.renewed_by = known.renewed_by.max(arrives_by);
                known.lease_longest = known.lease_longest.max(length);
                known.lease_shortest = known.lease_shortest.min(length);
                // Who asks for a shorter lease cannot rely on the longer one.
                known.is_shortened(*sent_at, length);
            }
        }
        let Some(known) = call.peer().and_then(|peer| self.peers.get_mut(&peer)) else { return };
        match call {
            Call::EndPeer { reason, .. } => {
                known.ended_at.get_or_insert(*sent_at);
                if client.is_none() {
                    known.reasons.push(reason.clone());
                }
                known.held.clear();
                (known.asking, known.guaranteed_until) = (None, 0);
            }
            Call::Release { semaphores, .. } => {
                let names = |name: &Arc<str>| semaphores.contains(name);
                known.held.retain(|name, _| !names(name));
                if known.asking.take_if(|asking| asking.locks.iter().any(|(name, _)| names(name))).is_some() {
                    // It may be granted before that arrives.
                    known.renewed_by = known.renewed_by.max(arrives_by);
                }
            }
            Call::Acquire { locks, priority, .. } => {
                known.renewed_by = known.renewed_by.max(arrives_by);
                let mut is_new = false;
                for (name, count) in locks {
                    match known.held.get_mut(name) {
                        Some(hold) => hold.count = hold.count.min(*count),
                        None => is_new = true,
                    }
                }
                if is_new && known.asking.is_none() {
                    known.ask(locks, *priority, *sent_at, false);
                }
            }
            Call::Restore { locks, .. } => {
                // It may come back by that, though it was gone, before anything that was sent earlier arrives; and with
                // no more than it says.
                known.restored_at = *sent_at;
                for (name, hold) in &mut known.held {
                    let said = locks.iter().find(|(of, ..)| of == name).map_or(0, |(_, count, _)| *count);
                    hold.claimed_count = Some(hold.claimed_count.map_or(said, |before| before.min(said)));
                    hold.claimed = hold.token.take().or(hold.claimed);
                    hold.is_restored = true;
                }
            }
            _ => {}
        }
        // Between two requests that wait there is no connection; if that takes long, it is passed over.
        let absent_after = u64::try_from(self.setup.settings.absent_after.as_micros()).unwrap_or(u64::MAX);
        if let Some(asking) =
            known.asking.as_mut().filter(|_| call.asks() || matches!(call, Call::IsAcquired { .. }))
        {
            let without = asking.alone_since.map_or(0, |since| arrives_by.saturating_sub(since));
            asking.is_steady &= !asking.has_waited || without + self.setup.faults.delay_max < absent_after;
            asking.has_waited |= call.wait() > 0;
        }
    }

    fn may_have(&mut self, semaphore: &Arc<str>, max: i64) {
        let largest = self.largest_max.entry(semaphore.clone()).or_default();
        *largest = (*largest).max(max);
    }

    /// Something happens to the server.
    pub fn noted(&mut self, at: Moment, note: &Note) {
        match note {
            Note::Started { instance } => {
                (self.started_at, self.is_draining) = (at, false);
                self.has_forgotten = self.instance != *instance;
                self.changed_by = self.changed_by.max(at);
                self.instance = *instance;
                let (forgets, has_forgotten) = (self.forgets(), self.has_forgotten);
                for known in self.peers.values_mut() {
                    if has_forgotten && forgets {
                        known.guaranteed_until = 0;
                    }
                    if has_forgotten {
                        known.asking = None;
                    } else if let Some(asking) = &mut known.asking {
                        // No connection outlives a restart.
                        asking.is_steady &= !asking.has_waited;
                    }
                }
            }
            Note::StoodStill(length) => {
                self.stood_still += length;
                if self.setup.cluster.is_none() {
                    self.standstills.push((at, *length));
                }
                self.changed_by += length;
                // What was on its way arrives late, maybe when its client is taken for gone.
                for asking in self.peers.values_mut().filter_map(|known| known.asking.as_mut()) {
                    asking.is_steady = false;
                }
            }
            Note::Unconfirmed(length) => {
                self.stood_still += length;
                // By clocks that are right to a twentieth.
                self.standstills.push((at, length.saturating_sub(100 * MS)));
                self.changed_by += length;
            }
            Note::Stopping => (self.is_draining, self.stopped_at) = (true, at),
            Note::ClockSet => self.clock_was_set = true,
            Note::Muddled(request) => {
                let by_key = request.call.key().and_then(|key| self.peer_of.get(key));
                for peer in request.call.renews().iter().chain(by_key) {
                    if let Some(known) = self.peers.get_mut(peer) {
                        known.may_be_shortened(at, request.call.lease().unwrap_or_default());
                    }
                }
                if request.call.asks() || matches!(request.call, Call::Release { .. }) {
                    self.muddle(request);
                }
                self.unsteady(request);
            }
            Note::Closed(request) => self.unsteady(request),
            Note::Calm => self.is_calm = true,
        }
    }

    fn muddle(&mut self, request: &Request) {
        if let Some(known) = request.call.peer().and_then(|peer| self.peers.get_mut(&peer)) {
            known.is_muddled = true;
        }
    }

    fn unsteady(&mut self, request: &Request) {
        let known = request.call.peer().and_then(|peer| self.peers.get_mut(&peer));
        if let Some(asking) = known.and_then(|known| known.asking.as_mut()) {
            asking.is_steady = false;
        }
    }

    /// A client is told something.
    pub fn told(&mut self, exchange: &Exchange<'_>) {
        let Exchange { request, answer, at, .. } = exchange;
        let Request { sent_at, call, .. } = request;
        match (call, answer) {
            (_, Answer::Gone { peer, .. }) => drop(self.peers.remove(peer)),
            (Call::Look { .. }, Answer::Peer(_)) if request.client.is_none() => {}
            (_, Answer::Peer(seen)) => self.saw(exchange, seen),
            (Call::Heartbeat { peer, .. }, Answer::Done) => self.renewed(*peer, *sent_at, exchange),
            (Call::KeepOrRestore { peer, .. }, Answer::Done) => {
                self.may_be_restored(*peer, exchange);
                self.renewed(*peer, *sent_at, exchange);
            }
            (Call::Heartbeats { peers, .. }, Answer::Renewed { gone }) => {
                for peer in peers {
                    if gone.contains(peer) {
                        self.peers.remove(peer);
                    } else {
                        self.renewed(*peer, *sent_at, exchange);
                    }
                }
            }
            (Call::IsAcquired { peer }, Answer::Bool(true)) => self.has_all(*peer, exchange),
            (Call::IsAcquired { peer }, Answer::Bool(false)) => {
                if let Some(asking) = self.peers.get_mut(peer).and_then(|known| known.asking.as_mut()) {
                    // In a cluster an answer may wait for long.
                    asking.alone_since = Some(if self.setup.cluster.is_some() { *sent_at } else { *at });
                    asking.still_pending_at = asking.still_pending_at.max(*sent_at);
                }
            }
            (Call::Restore { peer, locks, .. }, Answer::Done) => {
                self.renewed(*peer, *sent_at, exchange);
                if let Some(known) = self.peers.get_mut(peer) {
                    known.restored_at = *at;
                    let hold = |count, claimed| Hold {
                        count,
                        token: None,
                        is_restored: true,
                        claimed,
                        claimed_count: None,
                        told_at: *at,
                    };
                    let locks = locks.iter().filter(|(name, ..)| !self.removed.contains_key(name));
                    known.held =
                        locks.map(|(name, count, token)| (name.clone(), hold(*count, *token))).collect();
                    known.asking = None;
                }
            }
            // One of the semaphores is unknown, or nobody is there, so nothing was released.
            (Call::Release { peer, .. }, Answer::Refused(_) | Answer::Unavailable) => {
                if let Some(known) = self.peers.get_mut(peer) {
                    known.is_muddled = true;
                }
            }
            (
                Call::Acquire { peer, .. } | Call::KeepOrRestore { peer, .. },
                Answer::NotAcquired | Answer::Refused(_),
            ) => {
                if let Some(known) = self.peers.get_mut(peer) {
                    // At the limit of requests that wait, it may stand in the queue nevertheless; and what was
                    // granted before its count was above the full one, it has; and one that was passed over and
                    // would now wait for ever stays passed over.
                    let is_open = matches!(
                        answer,
                        Answer::Refused(Refused::Limit | Refused::ExceedsMax | Refused::Deadlock)
                    );
                    known.is_muddled |= is_open;
                    let is_named = |asking: &mut Asking| match call {
                        // More of what it has is refused, and what it waits for is not touched.
                        Call::Acquire { locks, .. } => locks.iter().any(|(name, _)| asking.names(name)),
                        _ => true,
                    };
                    known.asking.take_if(is_named);
                    // It may have come back, and have ended again because what it asks for cannot be had.
                    known.is_muddled |= matches!(call, Call::KeepOrRestore { .. });
                }
            }
            _ => {}
        }
    }

    /// In the dialect v0.1 nobody is told whether a peer was gone, and came back with what its client said it holds.
    fn may_be_restored(&mut self, peer: u64, exchange: &Exchange<'_>) {
        let Exchange { at, instance, .. } = *exchange;
        if let Some(known) = self.peers.get_mut(&peer)
            && (known.guaranteed_until <= at || known.instance != instance)
        {
            known.restored_at = at;
            // Nobody can rely on its locks before a look at them.
            known.held.clear();
            // Nor whether it still stands where it stood in the queue.
            known.is_muddled |= known.asking.take().is_some();
        }
    }

    /// A client that asks whether it waits for nothing any more is told so: it has what it asked for.
    fn has_all(&mut self, peer: u64, exchange: &Exchange<'_>) {
        let changes = self.setup.changes_semaphores();
        let known = self.peers.get_mut(&peer).filter(|known| known.is_certain() && !changes);
        let Some(known) = known else { return };
        let Some(asking) = known.asking.take_if(|asking| asking.told_pending_at.is_some()) else { return };
        known.renewed_by = known.renewed_by.max(exchange.at);
        for (name, count) in asking.locks {
            let hold = Hold {
                count,
                token: None,
                is_restored: false,
                claimed: None,
                claimed_count: None,
                told_at: exchange.at,
            };
            known.held.entry(name).or_insert(hold);
        }
    }

    /// Whether a server that began with empty state keeps no promise of the one before it.
    fn forgets(&self) -> bool {
        self.setup.hold_grants == 0 || self.was_resumed
    }

    fn renewed(&mut self, peer: u64, sent_at: Moment, exchange: &Exchange<'_>) {
        let Exchange { at, instance, .. } = *exchange;
        if self.forgets() && instance != self.instance {
            return;
        }
        if let Some(known) = self.peers.get_mut(&peer)
            && known.ended_at.is_none()
        {
            known.may_have_lapsed(at);
            known.lease = exchange.request.call.lease().unwrap_or(known.lease);
            let until = sent_at + known.lease.min(known.lease_floor);
            if until > known.guaranteed_until {
                (known.guaranteed_until, known.guaranteed_at) = (until, at);
            }
            known.renewed_by = known.renewed_by.max(at);
            known.confirmed_at = sent_at;
            known.instance = instance;
        }
    }

    fn saw(&mut self, exchange: &Exchange<'_>, seen: &Peer) {
        let Exchange { request, at, instance, .. } = exchange;
        let Request { sent_at, call, .. } = request;
        if let Call::NewPeer { expires_in, .. } | Call::Session { expires_in, .. } = call
            && !self.peers.contains_key(&seen.id)
        {
            self.peers.insert(
                seen.id,
                Known {
                    lease: *expires_in,
                    lease_floor: Micros::MAX,
                    lease_longest: *expires_in,
                    lease_shortest: *expires_in,
                    guaranteed_until: 0,
                    guaranteed_at: 0,
                    confirmed_at: *sent_at,
                    restored_at: 0,
                    renewed_by: *at,
                    held: BTreeMap::new(),
                    asking: None,
                    is_muddled: false,
                    ended_at: None,
                    reasons: Vec::new(),
                    instance: *instance,
                },
            );
        }
        if let Call::KeepOrRestore { peer, .. } = call {
            self.may_be_restored(*peer, exchange);
        }
        // The repeat of a request for a peer finds it as it is; other requests here have its lease begin anew.
        let begins_at = match call {
            Call::NewPeer { key: Some(key), .. } => self.keys.get(key).map(|(at, _)| *at),
            Call::NewPeer { .. }
            | Call::Session { .. }
            | Call::KeepOrRestore { .. }
            | Call::Acquire { expires_in: Some(_), .. } => Some(*sent_at),
            _ => None,
        };
        if let Some(begins_at) = begins_at {
            self.renewed(seen.id, begins_at, exchange);
        }
        let Some(known) = self.peers.get_mut(&seen.id) else { return };
        if let Call::Session { key: Some(key), expires_in, .. } = call {
            self.peer_of.insert(key.clone(), seen.id);
            if self.unsettled_keys.contains(key) {
                known.is_muddled = true;
                known.may_be_shortened(*at, *expires_in);
            }
        }
        known.instance = *instance;
        known.confirmed_at = *sent_at;
        known.renewed_by = known.renewed_by.max(*at);
        if known.ended_at.is_some() {
            return;
        }
        if known.restored_at >= *sent_at {
            // It may have lost what this shows before it came back.
            known.is_muddled = true;
            known.held.clear();
            return;
        }
        let before = std::mem::take(&mut known.held);
        for lock in seen.locks.iter().filter(|lock| !self.removed.contains_key(&lock.semaphore)) {
            let before = before.get(&lock.semaphore);
            let hold = Hold {
                count: lock.count,
                token: lock.token,
                is_restored: lock.token.is_none() || before.is_some_and(|hold| hold.is_restored),
                claimed: before.and_then(|hold| hold.claimed),
                claimed_count: None,
                told_at: before.map_or(*at, |hold| hold.told_at),
            };
            known.held.insert(lock.semaphore.clone(), hold);
        }
        if seen.pending.is_empty() {
            known.asking = None;
            return;
        }
        if known.asking.is_none() {
            let priority = match call {
                Call::Session { priority, .. } | Call::Acquire { priority, .. } => *priority,
                _ => 0,
            };
            // The repeat of a request under its key stands where the first one put it.
            let first_sent = call.key().and_then(|key| self.keys.get(key)).map_or(*sent_at, |(at, _)| *at);
            known.ask(&seen.pending, priority, first_sent, call.wait() > 0);
        }
        if let Some(asking) = &mut known.asking {
            asking.told_pending_at.get_or_insert(*at);
            let waited_until = (sent_at + call.wait()).min(known.guaranteed_until);
            asking.alone_since = Some(if call.wait() > 0 { waited_until.min(*at) } else { *at });
            asking.still_pending_at = asking.still_pending_at.max(*sent_at);
        }
    }
}
