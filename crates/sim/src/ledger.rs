//! What clients know, for those who judge: built from what they sent and were told, never from the server's books.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    message::{Answer, Call, Locks, Peer, Refused, Request},
    setup::Setup,
    time::{Micros, Moment},
};

/// What all clients together know.
pub struct Ledger {
    pub setup: Arc<Setup>,
    pub peers: BTreeMap<u64, Known>,
    /// The largest full count that each semaphore may have had.
    pub largest_max: BTreeMap<Arc<str>, i64>,
    /// When each key was first sent.
    keys: BTreeMap<String, Moment>,
    /// When the server last began to run.
    pub started_at: Moment,
    /// How long the server stood still in all.
    pub stood_still: Micros,
    /// By how much the wall clock was set, if it ever was.
    pub clock_was_set: bool,
    /// The instance of the server's state that runs.
    pub instance: u64,
    /// Names that an operator removed, or may have, at any moment from then on: nobody relies on them.
    pub removed: BTreeMap<Arc<str>, Moment>,
    /// An operator has grants given out that were held back: who held something before a restart may lose it.
    was_resumed: bool,
}

/// What is known of a peer.
#[derive(Clone, Debug)]
pub struct Known {
    pub lease: Micros,
    /// Until when its locks are promised, by its client's clock.
    pub guaranteed_until: Moment,
    /// When its client was last told that it lives.
    pub confirmed_at: Moment,
    /// When its client was last told something that may mean that it was gone, and came back.
    pub restored_at: Moment,
    /// When the server may have renewed its lease last.
    pub renewed_by: Moment,
    pub held: BTreeMap<Arc<str>, Hold>,
    pub asking: Option<Asking>,
    /// A request of it may arrive that its client has given up: nobody knows what it asks for.
    pub is_muddled: bool,
    /// Somebody asked for its end, then.
    pub ended_at: Option<Moment>,
    /// The reasons that operators gave for that.
    pub reasons: Vec<Option<Arc<str>>>,
    /// The instance of the server's state that last confirmed it.
    pub instance: u64,
}

/// A lock that a client was told it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub count: i64,
    pub token: Option<u64>,
    /// It was brought back, not granted.
    pub is_restored: bool,
}

/// What a peer waits for, as far as its client knows.
#[derive(Clone, Debug)]
pub struct Asking {
    pub locks: Locks,
    pub priority: i32,
    pub first_sent: Moment,
    /// When its client was told that it waits.
    pub told_pending_at: Option<Moment>,
    /// Its client never lost a connection with which it waited.
    pub is_steady: bool,
    /// Since when it may have had no connection: the server ends a wait before the answer is safe, and that takes time.
    pub alone_since: Option<Moment>,
    /// Its client has waited with a connection.
    pub has_waited: bool,
}

/// A request and what its client was told.
pub struct Exchange<'a> {
    pub request: &'a Request,
    pub answer: &'a Answer,
    pub instance: u64,
    pub at: Moment,
}

/// Something that happens to the server, or to the network.
#[derive(Clone, Debug)]
pub enum Note {
    /// The server begins to run.
    Started { instance: u64 },
    /// The server stood still.
    StoodStill(Micros),
    /// The wall clock of the server was set.
    ClockSet,
    /// A request that its client has given up may still arrive, or arrive twice.
    Muddled(Arc<Request>),
    /// The server learned that the connection of a request is gone.
    Closed(Arc<Request>),
    /// Faults have ceased.
    Calm,
}

impl Known {
    /// Whether its client knows what it has and asks for.
    pub fn is_certain(&self) -> bool {
        !self.is_muddled && self.ended_at.is_none() && self.restored_at == 0
    }

    /// Whether it may have been gone when a request arrived that was sent then, and have come back since.
    pub fn may_have_come_back(&self, sent_at: Moment) -> bool {
        self.confirmed_at > sent_at || self.restored_at >= sent_at
    }
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
            started_at: 0,
            stood_still: 0,
            clock_was_set: false,
            instance: 0,
            removed: BTreeMap::new(),
            was_resumed: false,
        }
    }

    /// A request is sent: what its client gives up with it, it does not rely on any more.
    pub fn sent(&mut self, request: &Request) {
        let Request { sent_at, call, client, .. } = request;
        if let Some(key) = call.key() {
            self.keys.entry(key.to_owned()).or_insert(*sent_at);
        }
        match call {
            Call::Resize { semaphore, max } => self.may_have(semaphore, *max),
            Call::SetSemaphore { semaphore, spec } => self.may_have(semaphore, spec.max),
            Call::Resume => {
                self.was_resumed = true;
                let (is_durable, instance) = (self.setup.is_durable, self.instance);
                for known in self.peers.values_mut().filter(|known| !is_durable && known.instance != instance)
                {
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
        let arrives_by = sent_at + 2 * self.setup.faults.delay_max;
        // A bulk heartbeat names its peers in the body.
        if let Call::Heartbeats { peers, .. } = call {
            for peer in peers {
                if let Some(known) = self.peers.get_mut(peer) {
                    known.renewed_by = known.renewed_by.max(arrives_by);
                }
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
                known.asking.take_if(|asking| asking.locks.iter().any(|(name, _)| names(name)));
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
                    known.asking = Some(Asking {
                        locks: locks.clone(),
                        priority: *priority,
                        first_sent: *sent_at,
                        told_pending_at: None,
                        is_steady: true,
                        alone_since: None,
                        has_waited: false,
                    });
                }
            }
            Call::Heartbeat { .. } | Call::KeepOrRestore { .. } | Call::Restore { .. } => {
                known.renewed_by = known.renewed_by.max(arrives_by);
            }
            _ => {}
        }
        // Between two requests that wait there is no connection; if that takes long, it is passed over.
        let absent_after = u64::try_from(self.setup.settings.absent_after.as_micros()).unwrap_or(u64::MAX);
        if let Some(asking) = known.asking.as_mut().filter(|_| call.asks()) {
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
                self.started_at = at;
                let forgets = self.forgets();
                self.instance = *instance;
                for known in self.peers.values_mut() {
                    if forgets {
                        known.guaranteed_until = 0;
                    }
                    if !self.setup.is_durable {
                        known.asking = None;
                    } else if let Some(asking) = &mut known.asking {
                        // No connection outlives a restart.
                        asking.is_steady &= !asking.has_waited;
                    }
                }
            }
            Note::StoodStill(length) => {
                self.stood_still += length;
                // What was on its way arrives late, maybe when its client is taken for gone.
                for asking in self.peers.values_mut().filter_map(|known| known.asking.as_mut()) {
                    asking.is_steady = false;
                }
            }
            Note::ClockSet => self.clock_was_set = true,
            Note::Muddled(request) => {
                if request.call.asks() {
                    self.muddle(request);
                }
                self.unsteady(request);
            }
            Note::Closed(request) => self.unsteady(request),
            Note::Calm => {}
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
        let Exchange { request, answer, at, instance } = exchange;
        let Request { sent_at, call, .. } = request;
        match (call, answer) {
            (_, Answer::Gone { peer, .. }) => drop(self.peers.remove(peer)),
            (Call::Look { .. }, Answer::Peer(_)) if request.client.is_none() => {}
            (_, Answer::Peer(seen)) => self.saw(exchange, seen),
            (Call::Heartbeat { peer, .. }, Answer::Done) => self.renewed(*peer, *sent_at, *at, *instance),
            (Call::KeepOrRestore { peer, .. }, Answer::Done) => {
                self.may_be_restored(*peer, *at, *instance);
                self.renewed(*peer, *sent_at, *at, *instance);
            }
            (Call::Heartbeats { peers, .. }, Answer::Renewed { gone }) => {
                for peer in peers {
                    if gone.contains(peer) {
                        self.peers.remove(peer);
                    } else {
                        self.renewed(*peer, *sent_at, *at, *instance);
                    }
                }
            }
            (Call::Restore { peer, locks, .. }, Answer::Done) => {
                self.renewed(*peer, *sent_at, *at, *instance);
                if let Some(known) = self.peers.get_mut(peer) {
                    known.restored_at = *at;
                    let hold = |count, token| Hold { count, token, is_restored: true };
                    known.held =
                        locks.iter().map(|(name, count, _)| (name.clone(), hold(*count, None))).collect();
                    known.asking = None;
                }
            }
            // One of the semaphores is unknown, so nothing was released.
            (Call::Release { peer, .. }, Answer::Refused(_)) => {
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
                    known.asking = None;
                }
            }
            _ => {}
        }
    }

    /// In the dialect v0.1 nobody is told whether a peer was gone, and came back with what its client said it holds.
    fn may_be_restored(&mut self, peer: u64, at: Moment, instance: u64) {
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

    /// Whether a server that began with empty state keeps no promise of the one before it.
    fn forgets(&self) -> bool {
        !self.setup.is_durable && (self.setup.hold_grants == 0 || self.was_resumed)
    }

    fn renewed(&mut self, peer: u64, sent_at: Moment, at: Moment, instance: u64) {
        if self.forgets() && instance != self.instance {
            return;
        }
        if let Some(known) = self.peers.get_mut(&peer)
            && known.ended_at.is_none()
        {
            known.guaranteed_until = known.guaranteed_until.max(sent_at + known.lease);
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
                    guaranteed_until: 0,
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
            self.may_be_restored(*peer, *at, *instance);
        }
        // The repeat of a request for a peer finds it as it is; other requests here have its lease begin anew.
        let begins_at = match call {
            Call::NewPeer { key: Some(key), .. } => self.keys.get(key).copied(),
            Call::NewPeer { .. }
            | Call::Session { .. }
            | Call::KeepOrRestore { .. }
            | Call::Acquire { expires_in: Some(_), .. } => Some(*sent_at),
            _ => None,
        };
        if let Some(begins_at) = begins_at {
            self.renewed(seen.id, begins_at, *at, *instance);
        }
        let Some(known) = self.peers.get_mut(&seen.id) else { return };
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
        let restored = |name: &Arc<str>| known.held.get(name).is_some_and(|hold| hold.is_restored);
        let removed = &self.removed;
        known.held = seen
            .locks
            .iter()
            .filter(|lock| !removed.contains_key(&lock.semaphore))
            .map(|lock| {
                let is_restored = lock.token.is_none() || restored(&lock.semaphore);
                let hold = Hold { count: lock.count, token: lock.token, is_restored };
                (lock.semaphore.clone(), hold)
            })
            .collect();
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
            let first_sent = call.key().and_then(|key| self.keys.get(key)).copied().unwrap_or(*sent_at);
            known.asking = Some(Asking {
                locks: seen.pending.clone(),
                priority,
                first_sent,
                told_pending_at: None,
                is_steady: true,
                alone_since: None,
                has_waited: call.wait() > 0,
            });
        }
        if let Some(asking) = &mut known.asking {
            asking.told_pending_at.get_or_insert(*at);
            let waited_until = (sent_at + call.wait()).min(known.guaranteed_until);
            asking.alone_since = Some(if call.wait() > 0 { waited_until.min(*at) } else { *at });
        }
    }
}
