//! One run: the core and the model do the same commands, and are compared after each.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use throttle_core::{
    Acquire, AcquireError, By, Core, Deadlock, EndCause, Event, Order, Origin, PeerId, Rank, RemoveError,
    Restore, RestoreLock, Settings, Spec, Status, Time, Token,
};

use crate::model::{Model, ModelPresence};

pub(crate) const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const AGEING_STEP: Duration = Duration::from_micros(50);
const MARGIN_MAX: Duration = Duration::from_micros(4);
const ABSENT_AFTER: Duration = Duration::from_micros(20);
const PASS_WITHIN: Duration = Duration::from_micros(40);

/// Commands name peers by their place among all that were made or restored in the run.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    NewPeer { expires_in: u64 },
    Heartbeat { peer: usize, expires_in: u64 },
    End { peer: usize },
    Acquire { peer: usize, locks: Vec<(&'static str, i64)>, priority: i32, expires_in: Option<u64> },
    Release { peer: usize, semaphore: &'static str },
    Restore { peer: usize, locks: Vec<(&'static str, i64)>, token: Option<u64>, expires_in: u64 },
    Set { semaphore: &'static str, max: i64, level: i32, per: Option<u64>, passes: bool },
    Remove { semaphore: &'static str, force: bool },
    Connect { peer: usize },
    Disconnect { peer: usize },
    Poll { peer: usize },
    Wait,
}

/// Whether deadlocks are detected on a semaphore, throughout a run.
pub(crate) type Detecting = [bool; NAMES.len()];

pub(crate) struct Run {
    pub(crate) core: Core,
    model: Model,
    /// In microseconds.
    pub(crate) now: u64,
    ids: Vec<PeerId>,
    journal: Vec<Event>,
    detecting: Detecting,
    /// Whether no semaphore was changed yet.
    is_steady: bool,
}

fn micros(n: u64) -> Duration {
    Duration::from_micros(n)
}

fn settings() -> Settings {
    Settings {
        margin_max: MARGIN_MAX,
        ageing_step: AGEING_STEP,
        absent_after: ABSENT_AFTER,
        pass_within: PASS_WITHIN,
        ..Settings::default()
    }
}

impl Run {
    pub(crate) fn new() -> Self {
        let mut run = Self::with([false; NAMES.len()], [2, 1, 0, 0]);
        for (name, level) in [("a", 2), ("d", 0)] {
            run.apply(&Op::Set { semaphore: name, max: 2, level, per: None, passes: true });
        }
        run.is_steady = true;
        run
    }

    pub(crate) fn with(detecting: Detecting, levels: [i32; NAMES.len()]) -> Self {
        let mut run = Self {
            detecting,
            is_steady: true,
            core: Core::new(settings(), 1, 7),
            model: Model::new(&settings()),
            now: 1_000,
            ids: Vec::new(),
            journal: Vec::new(),
        };
        for (name, level) in NAMES.iter().zip(levels) {
            run.apply(&Op::Set { semaphore: name, max: 2, level, per: None, passes: false });
        }
        run.is_steady = true;
        run
    }

    fn id(&self, peer: usize) -> PeerId {
        // One more than there are: an id that nobody ever had.
        self.ids.get(peer % (self.ids.len() + 1)).copied().unwrap_or(PeerId(peer as u64))
    }

    fn is_absent(&self, peer: PeerId) -> bool {
        let pending = self.core.peer(peer.by_server()).ok().and_then(|peer| peer.pending());
        pending.is_some_and(|request| request.is_absent())
    }

    pub(crate) fn apply(&mut self, op: &Op) {
        let now = Time::from_micros(self.now);
        self.model.advance(now);
        let (core, model) = (&mut self.core, &mut self.model);
        match op {
            Op::NewPeer { expires_in } => {
                // A random number that is taken half of the time.
                let random = self.ids.first().map_or(77, |id| id.0);
                let lease = micros(*expires_in);
                let id = core.new_peer(now, By::Anybody, lease, random, None).expect("below the limit");
                model.new_peer(id, lease);
                self.ids.push(id);
            }
            Op::Heartbeat { peer, expires_in } => {
                let id = self.id(*peer);
                let renewed = self.core.heartbeat(now, id.by_server(), micros(*expires_in)).is_ok();
                assert_eq!(renewed, self.model.renew(id, micros(*expires_in)));
            }
            Op::End { peer } => {
                let id = self.id(*peer);
                assert_eq!(self.core.end_peer(now, id.by_server(), EndCause::Released), self.model.end(id));
            }
            Op::Acquire { peer, locks, priority, expires_in } => {
                let (peer, expires_in) = (self.id(*peer), expires_in.map(micros));
                let request = Acquire { peer: peer.by_server(), locks, priority: *priority, expires_in };
                self.core.advance(now);
                let before = self.without_absent(peer);
                let real = self.core.acquire(now, &request).map(|status| status != Status::Pending);
                if self.detecting.contains(&true) && self.check_detection(&before, &request, &real) {
                    if let Some(expires_in) = expires_in {
                        self.model.renew(peer, expires_in);
                    }
                    self.model.pass_over(peer);
                    self.model.advance(now);
                    self.journal.extend(self.core.drain_events());
                    return;
                }
                assert_eq!(real, self.model.acquire(peer, locks, *priority, expires_in));
                if let (Ok(acquired), None) = (real, expires_in) {
                    self.repeat(now, &request, acquired);
                }
            }
            Op::Release { peer, semaphore } => {
                let id = self.id(*peer);
                let real = self.core.release_lock(now, id.by_server(), semaphore);
                assert_eq!(real, self.model.release_lock(id, semaphore));
            }
            Op::Restore { peer, locks, token, expires_in } => {
                let (peer, expires_in) = (self.id(*peer), micros(*expires_in));
                let token = token.map(Token);
                let named: Vec<_> =
                    locks.iter().map(|&(semaphore, count)| RestoreLock { semaphore, count, token }).collect();
                let real = self.core.restore(
                    now,
                    &Restore { peer: peer.by_server(), expires_in, locks: &named, labels: None },
                );
                assert_eq!(real, self.model.restore(peer, expires_in, locks));
            }
            Op::Set { semaphore, max, level, per, passes } => {
                let (per, origin) = (per.map(micros), Origin::Runtime);
                let at = NAMES.iter().position(|name| name == semaphore).expect("one of them");
                let deadlock = if self.detecting[at] { Deadlock::Detect } else { Deadlock::Hierarchy };
                let order = if *passes { Order::Pass } else { Order::Strict };
                let spec = Spec { max: *max, level: *level, per, deadlock, order, origin };
                core.set_semaphore(now, semaphore, spec);
                model.set_semaphore(semaphore, spec);
                self.is_steady = false;
            }
            Op::Remove { semaphore, force } => {
                let real = core.remove_semaphore(now, semaphore, *force);
                assert_eq!(is_removed(&real), model.remove_semaphore(semaphore, *force));
                self.is_steady = false;
            }
            Op::Connect { peer } => {
                let id = self.id(*peer);
                self.core.advance(now);
                let (was_absent, before) = (self.is_absent(id), self.without_absent(id));
                let real = self.core.connect(now, id.by_server());
                if !self.is_refused(was_absent, &before, id, &real) {
                    assert_eq!(real.is_ok(), self.model.connect(id));
                }
            }
            Op::Disconnect { peer } => {
                let id = self.id(*peer);
                self.core.disconnect(now, id.by_server());
                self.model.disconnect(id);
            }
            Op::Poll { peer } => {
                let id = self.id(*peer);
                self.core.advance(now);
                let (was_absent, before) = (self.is_absent(id), self.without_absent(id));
                let real = self.core.poll(now, id.by_server());
                if !self.is_refused(was_absent, &before, id, &real) {
                    assert_eq!(real.ok(), self.model.poll(id));
                }
            }
            Op::Wait => drop(self.core.advance(now)),
        }
        self.model.advance(now);
        self.journal.extend(self.core.drain_events());
        self.compare();
    }

    /// Whether a waiter was refused when it asked again: exactly if it would never have its turn. One that was not
    /// absent is looked at only if it may close a circle; others may be stuck behind a circle.
    fn is_refused<T>(
        &mut self,
        was_absent: bool,
        before: &[Event],
        peer: PeerId,
        reply: &Result<T, AcquireError>,
    ) -> bool {
        let is_refused = matches!(reply, Err(AcquireError::Deadlock { .. }));
        if self.detecting.contains(&true) && (was_absent || is_refused) {
            let reply = reply.as_ref().map(|_| false).map_err(Clone::clone);
            self.check_turn(copy_of(before), peer, &reply);
        }
        if is_refused {
            self.model.pass_over(peer);
        }
        is_refused
    }

    /// What a copy begins with in which an absent request is not there, but for that of `returning`.
    fn without_absent(&self, returning: PeerId) -> Vec<Event> {
        let mut events = self.core.snapshot();
        events.retain(|event| match event {
            Event::Queued { peer, .. } => *peer == returning || !self.is_absent(*peer),
            Event::Connected { .. } => false,
            _ => true,
        });
        events
    }

    /// Compares the search for deadlocks with playing on by brute force. Tells whether there is one.
    fn check_detection(
        &self,
        before: &[Event],
        request: &Acquire<'_>,
        reply: &Result<bool, AcquireError>,
    ) -> bool {
        if !matches!(reply, Ok(false) | Err(AcquireError::Deadlock { .. })) {
            return false;
        }
        let now = Time::from_micros(self.now);
        let mut copy = copy_of(before);
        let sequence = before.iter().find_map(|event| match event {
            Event::Counters { sequence, .. } => Some(*sequence),
            _ => None,
        });
        let (held, asked): (Vec<_>, Vec<_>) = request
            .locks
            .iter()
            .partition(|(name, _)| copy.peer(request.peer).expect("known").lock(name).is_some());
        if copy.peer(request.peer).expect("known").is_acquired() {
            let step = i64::try_from(AGEING_STEP.as_micros()).expect("short");
            let key = self.now.cast_signed() - i64::from(request.priority) * step;
            let rank = Rank { key, sequence: sequence.expect("in every snapshot") };
            for (semaphore, count) in asked {
                let (peer, semaphore, priority) = (request.peer.peer, semaphore.into(), request.priority);
                let queued = Event::Queued { peer, semaphore, count, priority, since: now, rank };
                copy.replay(&queued).expect("fits");
            }
            for (semaphore, count) in held {
                let shrunk =
                    Event::Shrunk { peer: request.peer.peer, semaphore: semaphore.into(), count, at: now };
                copy.replay(&shrunk).expect("fits");
            }
        }
        self.check_turn(copy, request.peer.peer, reply)
    }

    /// Lets all who wait for nothing end, one after the other, to see whether `peer` has its turn then: it does
    /// exactly if it was not refused. Tells whether it was. After a change of a semaphore, a request may be behind
    /// others who wait for each other and were not found yet.
    fn check_turn(&self, mut copy: Core, peer: PeerId, reply: &Result<bool, AcquireError>) -> bool {
        let is_refused = matches!(reply, Err(AcquireError::Deadlock { .. }));
        let now = Time::from_micros(self.now);
        copy.end_replay(now);
        if !is_stuck(copy, now, peer, is_refused, &mut BTreeSet::new()) {
            assert!(!is_refused, "refused though it would have its turn: {reply:?}");
            return false;
        }
        assert!(is_refused || !self.is_steady, "waits though it never has its turn");
        if let Err(AcquireError::Deadlock { chain }) = reply {
            let (first, last) = (chain.first().expect("not empty"), chain.last().expect("not empty"));
            assert_eq!(first.peer, peer);
            assert!(chain.iter().any(|link| link.peer == last.blocker), "it ends in a circle");
            assert!(chain.windows(2).all(|pair| pair[0].blocker == pair[1].peer), "each waits for the next");
        }
        is_refused
    }

    /// However the peers that wait for nothing release all they hold, one after the other, everybody has a turn.
    pub(crate) fn check_progress(&mut self) {
        self.let_cool();
        // An operator ends what no peer could.
        for name in NAMES {
            if let Some(spec) = self.model.semaphores.get(name).copied().filter(|spec| spec.max < 3) {
                self.core.set_semaphore(Time::from_micros(self.now), name, Spec { max: 3, ..spec });
            }
        }
        let peers: Vec<PeerId> = self.core.peers(None).map(|(_, peer)| peer.id()).collect();
        for peer in peers {
            // Whoever comes back and is refused gives up.
            let now = Time::from_micros(self.now);
            if matches!(self.core.connect(now, peer.by_server()), Err(AcquireError::Deadlock { .. })) {
                self.core.end_peer(now, peer.by_server(), EndCause::Released);
            }
        }
        while self.core.peer_count() > 0 {
            let ready = self.core.peers(None).find(|(_, peer)| peer.is_acquired()).map(|(_, peer)| peer.id());
            assert!(ready.is_some(), "a deadlock: {:?}", self.core.snapshot());
            let Some(peer) = ready else { return };
            self.core.end_peer(Time::from_micros(self.now), peer.by_server(), EndCause::Released);
            self.let_cool();
        }
    }

    /// What cools comes back, and meanwhile no lease ends.
    fn let_cool(&mut self) {
        let peers: Vec<PeerId> = self.core.peers(None).map(|(_, peer)| peer.id()).collect();
        for peer in peers {
            let _ =
                self.core.heartbeat(Time::from_micros(self.now), peer.by_server(), Duration::from_hours(1));
        }
        self.now += 1_000;
        self.core.advance(Time::from_micros(self.now));
        self.core.drain_events();
    }

    /// Asking again changes nothing and says the same.
    fn repeat(&mut self, now: Time, request: &Acquire<'_>, acquired: bool) {
        self.journal.extend(self.core.drain_events());
        let before = self.core.snapshot();
        let again = self.core.acquire(now, request).map(|status| status != Status::Pending);
        assert_eq!(again, Ok(acquired));
        assert_eq!(self.core.drain_events().as_slice(), &[]);
        assert_eq!(self.core.snapshot(), before);
    }

    /// Everything that can be seen is as the model says, and all that is kept is right.
    fn compare(&self) {
        self.core.audit().expect("consistent");
        for (name, spec) in &self.model.semaphores {
            let seen = self.core.semaphore(name).expect("known");
            assert_eq!(seen.spec(), *spec);
            assert_eq!(seen.acquired(), self.model.acquired(name));
            assert_eq!(seen.pending(), self.model.pending(name));
            assert_eq!(seen.cooling(), self.model.cooling(name));
            assert_eq!(seen.remainder(), spec.max - seen.acquired());
        }
        assert_eq!(self.core.semaphores(None).count(), self.model.semaphores.len());
        assert_eq!(self.core.peer_count(), self.model.peers.len());
        for peer in &self.model.peers {
            let seen = self.core.peer(peer.id.by_server()).expect("known");
            let locks: BTreeMap<_, _> = seen
                .locks()
                .map(|held| (held.semaphore().to_string(), (held.count(), held.since())))
                .collect();
            assert_eq!(locks, peer.locks);
            let pending = seen.pending().map(|request| {
                request.locks().map(|(name, count)| (name.to_string(), count)).collect::<BTreeMap<_, _>>()
            });
            assert_eq!(pending, peer.pending.as_ref().map(|request| request.parts.clone()));
            let is_absent = peer.pending.as_ref().map(|request| request.presence == ModelPresence::Absent);
            assert_eq!(seen.pending().map(|request| request.is_absent()), is_absent);
            assert_eq!(seen.expires_at(), peer.expires_at);
            assert_eq!(seen.expires_in(), peer.expires_in);
        }
    }

    /// What holds of the whole run once it is over.
    pub(crate) fn check_journal(&mut self) {
        let mut grants: BTreeMap<String, Vec<(Time, PeerId, i64)>> = BTreeMap::new();
        let mut tokens = BTreeSet::new();
        for event in &self.journal {
            if let Event::Granted { peer, semaphore, count, token, at, .. } = event {
                grants.entry(semaphore.to_string()).or_default().push((*at, *peer, *count));
                assert!(tokens.last().is_none_or(|last| token > last), "tokens grow");
                tokens.insert(*token);
            }
        }
        // Where several of one instant get what they asked for, the model and the core may tell so in another order.
        for grants in grants.values_mut().chain(self.model.grants.values_mut()) {
            grants.sort_unstable();
        }
        assert_eq!(grants, self.model.grants, "the same grants in the same order");
        check_exclusion(&self.journal);

        let now = Time::from_micros(self.now);
        let mut replayed = Core::new(settings(), 1, 8);
        for event in &self.journal {
            replayed.replay(event).expect("events fit");
        }
        replayed.end_replay(now);
        replayed.audit().expect("consistent after replay");
        // Whoever was absent is not so yet after a restart, and holds up others: so one may go whom these held up.
        let is_same =
            !self.core.peers(None).any(|(_, peer)| peer.pending().is_some_and(|one| one.is_absent()));
        if is_same {
            assert_eq!(replayed.snapshot(), self.core.snapshot(), "replay builds the same state");
        }

        let mut from_snapshot = Core::new(settings(), 1, 9);
        for event in self.core.snapshot() {
            from_snapshot.replay(&event).expect("snapshots fit");
        }
        from_snapshot.end_replay(now);
        from_snapshot.audit().expect("consistent after a snapshot");
        if is_same {
            assert_eq!(from_snapshot.snapshot(), self.core.snapshot(), "a snapshot builds the same state");
        }
    }
}

/// Whether a peer waits for ever though all who wait for nothing end, one after the other: in the order in which they
/// were made or, if `in_any_order`, in one of all orders. `seen` has the states that are known.
fn is_stuck(
    mut core: Core,
    now: Time,
    peer: PeerId,
    in_any_order: bool,
    seen: &mut BTreeSet<String>,
) -> bool {
    loop {
        if core.peer(peer.by_server()).expect("keeps its lease").is_acquired() {
            return false;
        }
        let free = core.peers(None).filter(|(_, peer)| peer.is_acquired()).map(|(_, peer)| peer.id());
        let free: Vec<PeerId> = free.collect();
        let Some((&first, others)) = free.split_first() else { return true };
        if in_any_order {
            let state = core.snapshot();
            if !seen.insert(format!("{state:?}")) {
                return false;
            }
            for &other in others {
                let mut copy = copy_of(&state);
                copy.end_replay(now);
                copy.end_peer(now, other.by_server(), EndCause::Released);
                if is_stuck(copy, now, peer, true, seen) {
                    return true;
                }
            }
        }
        core.end_peer(now, first.by_server(), EndCause::Released);
    }
}

/// A core with this state, before the end of the replay.
fn copy_of(snapshot: &[Event]) -> Core {
    let mut copy = Core::new(settings(), 1, 3);
    for event in snapshot {
        copy.replay(event).expect("snapshots fit");
    }
    copy
}

/// Read from the events alone: a grant never lifts what is acquired above `max`.
fn check_exclusion(journal: &[Event]) {
    let mut max: BTreeMap<&str, i64> = BTreeMap::new();
    let mut held: BTreeMap<(&str, PeerId), i64> = BTreeMap::new();
    for event in journal {
        match event {
            Event::SemaphoreSet { semaphore, spec, .. } => drop(max.insert(semaphore, spec.max)),
            Event::Granted { peer, semaphore, count, .. } => {
                held.insert((semaphore, *peer), *count);
                let sum: i64 =
                    held.iter().filter(|((name, _), _)| *name == &**semaphore).map(|(_, n)| n).sum();
                assert!(sum <= max[&**semaphore], "{sum} acquired of {semaphore}");
            }
            Event::Restored { peer, semaphore, count, .. } => {
                held.insert((semaphore, *peer), *count);
            }
            Event::Shrunk { peer, semaphore, count, .. } => {
                held.entry((semaphore, *peer)).and_modify(|held| *held = *count);
            }
            Event::Released { peer, semaphore, .. } => drop(held.remove(&(&**semaphore, *peer))),
            _ => {}
        }
    }
}

/// Whether a semaphore is removed; `None` if there is none.
fn is_removed(outcome: &Result<(), RemoveError>) -> Option<bool> {
    match outcome {
        Ok(()) => Some(true),
        Err(RemoveError::InUse(_)) => Some(false),
        Err(RemoveError::UnknownSemaphore(_)) => None,
    }
}
