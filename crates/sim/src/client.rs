//! A client: one thread of execution that takes locks, keeps them, and gives them back, with the habits of real ones.

mod habits;

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    message::{Answer, Call, Locks, Peer, Refused, Reply, Request, RequestId, Write},
    setup::{Setup, pick},
    time::{MS, Micros, Moment, SECOND},
};

/// Whose habits a client has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The clients 0.1: a peer comes with its locks, and every request repeats what it holds.
    V01,
    /// The clients 0.2 to 0.5: a peer, then one lock after the other; it restores what a server forgot.
    V02,
    /// New clients: keys, several locks at once.
    V1,
}

/// What a client does.
#[derive(Clone, Debug)]
enum Phase {
    /// Nothing, until then.
    Idle(Moment),
    /// It waits for the answer to a request that it repeats until there is one.
    Asking(Purpose, Call),
    /// It will ask again.
    Pausing(Purpose, Call, Moment),
    /// It works under its locks, until then.
    Holding(Moment),
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    MakePeer,
    Acquire,
    Shrink,
    Release,
    EndPeer,
    Restore,
    /// It says again what it holds, rightly or not.
    Reclaim,
    /// It asks whether all is acquired.
    Poll,
    Check,
}

/// A request under way.
#[derive(Clone, Debug)]
struct Sent {
    id: RequestId,
    until: Moment,
}

/// A client.
pub struct Client {
    pub index: usize,
    pub dialect: Dialect,
    setup: Arc<Setup>,
    random: fastrand::Rng,
    lease: Micros,
    phase: Phase,
    peer: Option<u64>,
    held: BTreeMap<Arc<str>, (i64, Option<u64>)>,
    /// What it still wants to ask for in this session, one request after the other.
    wanted: Vec<Locks>,
    main: Option<Sent>,
    renewal: Option<Sent>,
    renew_at: Moment,
    keys: u64,
    /// It stands still until then.
    frozen_until: Moment,
    /// It begins nothing new.
    is_finishing: bool,
    /// A request that it repeats though it was answered, as a proxy may, and when.
    echo: Option<(Moment, Call)>,
    /// It renews at the very moment of expiry, as clients up to 0.5 do.
    is_punctual: bool,
    /// A lock that it had, and may not know that it lost: its peer, and its token.
    former: Option<(u64, Arc<str>, u64)>,
}

/// What a client has its network do.
#[derive(Debug)]
pub enum Act {
    /// Send this. The answer comes with this id.
    Send(RequestId, Call),
    /// Send this once more, though it was answered.
    Echo(RequestId, Call),
    /// Write to the resource that a semaphore protects.
    Write(Write),
    /// Close the connection of a request.
    Close(RequestId),
}

impl Client {
    /// A client that begins soon.
    pub fn new(index: usize, setup: Arc<Setup>, mut random: fastrand::Rng, at: Moment) -> Self {
        let dialect = *pick(&mut random, &[Dialect::V01, Dialect::V02, Dialect::V1, Dialect::V1]);
        let lease = random.u64(setup.lease_max / 10..=setup.lease_max);
        let start = at + random.u64(0..SECOND);
        let is_punctual = random.u8(0..3) == 0 && dialect == Dialect::V02;
        Self {
            index,
            dialect,
            setup,
            random,
            lease,
            phase: Phase::Idle(start),
            peer: None,
            held: BTreeMap::new(),
            wanted: Vec::new(),
            main: None,
            renewal: None,
            renew_at: Moment::MAX,
            keys: 0,
            frozen_until: 0,
            is_finishing: false,
            echo: None,
            is_punctual,
            former: None,
        }
    }

    /// From now on it begins nothing new, and is careful.
    pub fn finish(&mut self) {
        self.is_finishing = true;
        self.frozen_until = 0;
    }

    /// Whether it has finished.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle(_))
    }

    /// What it is at, for a report.
    pub fn state(&self) -> String {
        format!("client {} of {:?}: {:?}, peer {:?}", self.index, self.dialect, self.phase, self.peer)
    }

    /// When it wants to act next.
    pub fn wake_at(&self) -> Moment {
        let main = match (&self.phase, &self.main) {
            (Phase::Asking(..), Some(sent)) => sent.until,
            (Phase::Asking(..), None) => 0,
            (Phase::Idle(at) | Phase::Pausing(_, _, at) | Phase::Holding(at), _) => *at,
        };
        let renewal = match &self.renewal {
            _ if self.peer.is_none() => Moment::MAX,
            Some(sent) => sent.until,
            None => self.renew_at,
        };
        let echo = self.echo.as_ref().map_or(Moment::MAX, |(at, _)| *at);
        let idles_for_good = self.is_finishing && self.is_idle();
        if idles_for_good { Moment::MAX } else { main.min(renewal).min(echo).max(self.frozen_until) }
    }

    /// It acts. `ids` gives it a new id for each request.
    pub fn wake(&mut self, at: Moment, ids: &mut u64) -> Vec<Act> {
        let mut acts = Vec::new();
        if at < self.frozen_until {
            return acts;
        }
        if self.setup.faults.careless && !self.is_finishing && self.misbehave(at, &mut acts) {
            return acts;
        }
        self.change_lease();
        self.renew(at, ids, &mut acts);
        self.write(&mut acts);
        if let Some((_, call)) = self.echo.take_if(|(then, _)| *then <= at) {
            self.echo = self.plan_late_echo(at, &call);
            *ids += 1;
            acts.push(Act::Echo(RequestId(*ids), call));
        }
        if let Some(Sent { id, .. }) = self.main.take_if(|sent| sent.until <= at) {
            acts.push(Act::Close(id));
        }
        match self.phase.clone() {
            Phase::Idle(begins) if begins <= at && !self.is_finishing => self.begin(at, ids, &mut acts),
            Phase::Asking(_, call) if self.main.is_none() => self.send(at, call, ids, &mut acts),
            Phase::Pausing(purpose, call, until) if until <= at => {
                self.ask(at, purpose, call, ids, &mut acts);
            }
            Phase::Holding(until) if until <= at => self.next(at, ids, &mut acts),
            Phase::Idle(_) | Phase::Asking(..) | Phase::Pausing(..) | Phase::Holding(_) => {}
        }
        acts
    }

    fn forget(&mut self, begins: Moment) {
        self.former = self.a_lock().or(self.former.take());
        (self.peer, self.phase) = (None, Phase::Idle(begins));
        self.held.clear();
        self.wanted.clear();
        (self.main, self.renewal, self.renew_at) = (None, None, Moment::MAX);
    }

    fn renew(&mut self, at: Moment, ids: &mut u64, acts: &mut Vec<Act>) {
        let Some(peer) = self.peer else { return };
        if let Some(Sent { id, .. }) = self.renewal.take_if(|sent| sent.until <= at) {
            acts.push(Act::Close(id));
            self.renew_at = at;
        }
        if self.renewal.is_some() || self.renew_at > at {
            return;
        }
        let expires_in = self.lease;
        let call = match self.dialect {
            Dialect::V01 => Call::KeepOrRestore {
                peer,
                expires_in,
                active: self.held.iter().map(|(name, (count, _))| (name.clone(), *count)).collect(),
                pending: Locks::new(),
                wait: None,
            },
            Dialect::V1 if self.random.bool() => Call::Heartbeats { peers: vec![peer], expires_in },
            Dialect::V02 | Dialect::V1 => Call::Heartbeat { peer, expires_in },
        };
        *ids += 1;
        let id = RequestId(*ids);
        self.renewal = Some(Sent { id, until: at + self.random.u64(100 * MS..=SECOND) });
        acts.push(Act::Send(id, call));
    }

    /// Begins a session.
    fn begin(&mut self, at: Moment, ids: &mut u64, acts: &mut Vec<Act>) {
        self.wanted = self.plan_locks();
        let expires_in = self.lease;
        let key = (self.dialect == Dialect::V1).then(|| {
            self.keys += 1;
            // Before the colon stands who he is, for those who judge; the server is sent the rest.
            let owners = &self.setup.owners;
            let name = owners
                .get(self.index % owners.len().max(1))
                .and_then(|one| one.owner.name())
                .unwrap_or_default();
            format!("{name}:{}-{}", self.index / owners.len().max(1), self.keys)
        });
        let is_session = self.dialect == Dialect::V01 || (self.dialect == Dialect::V1 && self.random.bool());
        let call = if is_session {
            let locks = self.wanted.pop().unwrap_or_default();
            let is_old = self.dialect == Dialect::V01;
            let wait = if is_old { 0 } else { self.random.u64(0..=5 * SECOND) };
            let leaves = !is_old && self.random.u8(0..3) == 0;
            Call::Session { key, expires_in, locks, priority: self.priority(), wait, leaves }
        } else {
            Call::NewPeer { key, expires_in }
        };
        self.ask(at, Purpose::MakePeer, call, ids, acts);
    }

    fn ask(&mut self, at: Moment, purpose: Purpose, call: Call, ids: &mut u64, acts: &mut Vec<Act>) {
        self.phase = Phase::Asking(purpose, call.clone());
        self.send(at, call, ids, acts);
    }

    fn send(&mut self, at: Moment, call: Call, ids: &mut u64, acts: &mut Vec<Act>) {
        *ids += 1;
        let id = RequestId(*ids);
        let patience = self.random.u64(SECOND..=3 * SECOND) + 4 * self.setup.faults.delay_max;
        self.main = Some(Sent { id, until: at + call.wait() + patience });
        acts.push(Act::Send(id, call));
    }

    /// A request got no answer, and will get none.
    pub fn broken(&mut self, at: Moment, id: RequestId) {
        for sent in [&mut self.main, &mut self.renewal].into_iter().flatten() {
            if sent.id == id {
                // Soon again.
                sent.until = sent.until.min(at + self.random.u64(0..=200 * MS));
            }
        }
    }

    /// An answer arrives.
    pub fn receive(&mut self, at: Moment, reply: &Reply) {
        let Request { id, .. } = &*reply.request;
        if self.renewal.take_if(|sent| sent.id == *id).is_some() {
            return self.renewed(at, &reply.request, &reply.answer);
        }
        if self.main.take_if(|sent| sent.id == *id).is_none() {
            // It was given up.
            return;
        }
        let Phase::Asking(purpose, call) = self.phase.clone() else { return };
        self.answered(at, reply, (purpose, call));
    }

    fn renewed(&mut self, at: Moment, Request { call, sent_at, .. }: &Request, answer: &Answer) {
        let Some(peer) = self.peer.filter(|peer| call.peer().is_none_or(|of| of == *peer)) else { return };
        match answer {
            Answer::Renewed { gone } if gone.contains(&peer) => self.lost(at),
            Answer::Done | Answer::Renewed { .. } => self.plan_renewal(*sent_at),
            Answer::Gone { .. } | Answer::Refused(Refused::RestoreConflict) => self.lost(at),
            _ => self.renew_at = at + 200 * MS,
        }
    }

    /// Its peer is gone. A client of the dialect v0.2 tries to bring it back, others begin anew; all may go on as
    /// zombies for a while.
    fn lost(&mut self, at: Moment) {
        if let (Dialect::V02, Some(peer), false) = (self.dialect, self.peer, self.held.is_empty()) {
            let is_asking = matches!(self.phase, Phase::Asking(Purpose::Restore, _));
            if !is_asking && self.random.u8(0..4) > 0 {
                let locks =
                    self.held.iter().map(|(name, (count, token))| (name.clone(), *count, *token)).collect();
                let call = Call::Restore { peer, expires_in: self.lease, locks };
                (self.main, self.phase) = (None, Phase::Asking(Purpose::Restore, call));
                self.renew_at = at + self.lease;
                return;
            }
        }
        let pause = self.random.u64(0..=SECOND);
        self.forget(at + pause);
    }

    fn answered(&mut self, at: Moment, reply: &Reply, (purpose, call): (Purpose, Call)) {
        let Reply { answer, request, .. } = reply;
        let sent_at = request.sent_at;
        let pause = self.random.u64(10 * MS..=400 * MS);
        match (purpose, answer) {
            (_, Answer::Unavailable) => self.phase = Phase::Pausing(purpose, call, at + pause),
            (Purpose::MakePeer | Purpose::Acquire, Answer::Peer(seen)) => {
                self.seen(at, reply, call, seen);
            }
            (Purpose::MakePeer, Answer::Gone { .. } | Answer::NotAcquired | Answer::Refused(_)) => {
                self.forget(at + pause);
                // A proxy may repeat a refused request, too.
                self.echo = call.key().is_some().then_some((at + pause, call));
            }
            (_, Answer::Gone { .. }) if purpose != Purpose::EndPeer => self.lost(at),
            (Purpose::Acquire | Purpose::Shrink | Purpose::Check, _) => {
                if let Answer::Peer(seen) = answer {
                    self.learn(seen);
                }
                if *answer == Answer::Bool(false) {
                    // A zombie: it has lost its lock, and does not stop at once.
                    self.wanted.clear();
                }
                self.phase = Phase::Holding(at + self.work());
            }
            (Purpose::Restore | Purpose::Reclaim, Answer::Done) => {
                if let Call::Restore { locks, .. } = call {
                    self.held =
                        locks.into_iter().map(|(name, count, token)| (name, (count, token))).collect();
                }
                self.plan_renewal(sent_at);
                self.phase = Phase::Holding(at + self.work());
            }
            (Purpose::Reclaim, _) => self.phase = Phase::Holding(at + self.work()),
            (Purpose::Poll, answer) => self.polled(at, *answer == Answer::Bool(true)),
            (Purpose::Release, _) => {
                self.held.clear();
                self.phase = Phase::Holding(at + pause);
            }
            (Purpose::EndPeer, _) => self.forget(at + 2 * pause),
            (Purpose::MakePeer | Purpose::Restore, _) => self.forget(at + pause),
        }
    }

    fn learn(&mut self, seen: &Peer) {
        self.held =
            seen.locks.iter().map(|lock| (lock.semaphore.clone(), (lock.count, lock.token))).collect();
    }

    /// What a request for a peer or for locks came to.
    fn seen(&mut self, at: Moment, reply: &Reply, call: Call, seen: &Peer) {
        let pause = self.random.u64(10 * MS..=400 * MS);
        if self.peer.is_none() {
            self.peer = Some(seen.id);
            self.plan_renewal(reply.request.sent_at);
            self.echo = self.plan_echo(at, &call);
        }
        self.learn(seen);
        if seen.pending.is_empty() {
            self.phase = Phase::Holding(at + self.work() / 4);
            return;
        }
        if self.random.u8(0..30) == 0 && !self.is_finishing {
            // It has changed its mind.
            let semaphores = seen.pending.iter().map(|(name, _)| name.clone()).collect();
            let call = Call::Release { peer: seen.id, semaphores };
            self.phase = Phase::Pausing(Purpose::Release, call, at + pause);
            return;
        }
        if self.dialect == Dialect::V02 && self.random.bool() {
            let call = Call::IsAcquired { peer: seen.id };
            self.wanted.push(seen.pending.clone());
            self.phase = Phase::Pausing(Purpose::Poll, call, at + pause);
            return;
        }
        // It asks again, as its dialect does.
        let call = match call {
            Call::Session { locks, priority, .. } if self.dialect == Dialect::V1 => Call::Acquire {
                peer: seen.id,
                locks,
                priority,
                expires_in: None,
                wait: self.random.u64(0..=10 * SECOND),
                if_pending: Some(reply.instance),
            },
            // What is pending is known to be so, whichever request made it.
            Call::Acquire { peer, locks, priority, expires_in, wait, .. } => {
                let goes_on = self.dialect == Dialect::V1 && self.random.bool();
                let if_pending = goes_on.then_some(reply.instance);
                Call::Acquire { peer, locks, priority, expires_in, wait, if_pending }
            }
            Call::Session { .. } | Call::KeepOrRestore { .. } => Call::KeepOrRestore {
                peer: seen.id,
                expires_in: self.lease,
                active: seen.locks.iter().map(|lock| (lock.semaphore.clone(), lock.count)).collect(),
                pending: seen.pending.clone(),
                wait: Some(self.random.u64(0..=10 * SECOND)),
            },
            call => call,
        };
        self.phase = Phase::Pausing(Purpose::Acquire, call, at + pause);
    }
}
