//! A node that leads, with the requests that wait at it: what a single server and a leader of several have in common.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use throttle_core::{Owner, PeerId, Spec, Time};
use throttle_journal::{Wall, encode};
use throttle_node::{Condition, Difference, Node, Offset, Output, Session, Ticket, Waiting};

use crate::{
    adapters::{Progress, Seen, act, borrowed, by, key_of, refused, seen},
    message::{Answer, Call, Locks, Request, RequestId},
    setup::Setup,
    shown,
    time::{Micros, duration},
};

/// What a file declares.
pub(crate) type Declared = BTreeMap<String, Spec>;

/// A node that leads.
pub(crate) struct Shell {
    setup: Arc<Setup>,
    pub(crate) node: Node,
    /// Identifies the state of the node.
    instance: u64,
    /// Records that no write has begun for.
    pub(crate) open: Vec<u8>,
    pub(crate) open_upto: Offset,
    /// How far the log is safe.
    pub(crate) flushed: Offset,
    blocked: BTreeMap<Ticket, Blocked>,
    /// Requests that are to go on.
    woken: Vec<Ticket>,
}

/// A request that waits for a grant.
struct Blocked {
    request: Arc<Request>,
    peer: PeerId,
    locks: Locks,
    until: Time,
    is_session: bool,
    /// It is about to go on.
    is_woken: bool,
}

/// An answer, and what it waits for.
pub(crate) type Answered = (Answer, Condition);

/// A moment: what time it is for leases, and where the wall clock is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct When {
    pub(crate) now: Time,
    pub(crate) wall: Wall,
}

impl Shell {
    pub(crate) fn new(setup: Arc<Setup>, node: Node, instance: u64) -> Self {
        Self {
            setup,
            node,
            instance,
            open: Vec::new(),
            open_upto: Offset::default(),
            flushed: Offset::default(),
            blocked: BTreeMap::new(),
            woken: Vec::new(),
        }
    }

    /// Runs a turn of the node. What it has for the log stays in `open`.
    pub(crate) fn turn<R>(&mut self, When { now, wall }: When, act: impl FnOnce(&mut Node) -> R) -> R {
        self.node.appended(self.flushed);
        self.node.advance(now);
        let done = act(&mut self.node);
        if self.node.has_output() {
            let Self { node, open, open_upto, blocked, woken, .. } = self;
            node.publish(now, wall, |output| match output {
                Output::Append { records, upto } => {
                    for record in records {
                        encode(open, record);
                    }
                    *open_upto = upto;
                }
                Output::Wake { ticket, .. } => {
                    if let Some(blocked) = blocked.get_mut(&ticket) {
                        blocked.is_woken = true;
                    }
                    woken.push(ticket);
                }
                Output::Observed(_) => {}
            });
        }
        done
    }

    /// The first turn: what the file declares, if that is new here, and a time without grants after a start with
    /// empty state.
    pub(crate) fn begin(&mut self, when: When, before: &Declared, declared: &Declared, hold: Option<Micros>) {
        self.turn(when, |node| {
            let difference = Difference::between(before, declared);
            if hold.is_some() || difference != Difference::default() {
                node.declare(when.now, &difference, declared);
            }
            if let Some(hold) = hold.filter(|hold| *hold > 0) {
                node.hold_grants(when.now, duration(hold));
            }
        });
    }

    /// Requests that were woken since the last time.
    pub(crate) fn drain_woken(&mut self) -> Vec<Ticket> {
        std::mem::take(&mut self.woken)
    }

    /// A request arrives. Its answer, unless it waits.
    pub(crate) fn receive(
        &mut self,
        when: When,
        random: u64,
        declared: &mut Declared,
        request: &Arc<Request>,
    ) -> Option<Answered> {
        if let Call::Reload { declared: now_declared } = &request.call {
            let before = std::mem::replace(declared, now_declared.clone());
            let condition = self.turn(when, |node| {
                node.declare(when.now, &Difference::between(&before, now_declared), now_declared);
                node.committed()
            });
            return Some((Answer::Done, condition));
        }
        let (call, account, instance) = (&request.call, self.setup.account_of(request), self.instance);
        let progress = self.turn(when, |node| match act(node, when.now, random, instance, &account, call) {
            Ok(progress) => seen(node, when.wall, progress),
            Err(refusal) => refused(node, &account, call, &refusal),
        });
        self.go_on(request, progress)
    }

    /// A request that was woken goes on: which one, and its answer, unless it waits on.
    pub(crate) fn resume(&mut self, when: When, ticket: Ticket) -> Option<(Arc<Request>, Option<Answered>)> {
        let blocked = self.blocked.remove(&ticket)?;
        let request = blocked.request.clone();
        let account = self.setup.account_of(&request);
        let progress = self.turn(when, |node| {
            let locks = borrowed(&blocked.locks);
            let waiting =
                Waiting { claim: blocked.peer.by(by(&account)), locks: &locks, until: blocked.until };
            let step = match &request.call {
                Call::Session { leaves, .. } if blocked.is_session => {
                    let session = Session { leaves: *leaves, key: key_of(&account.owner, &request.call) };
                    node.resume_session(when.now, &waiting, session)
                }
                _ => node.resume(when.now, &waiting),
            };
            let progress = step.map(|step| Progress::Step { peer: blocked.peer, step });
            match progress {
                Ok(progress) => seen(node, when.wall, progress),
                Err(refusal) => refused(node, &account, &request.call, &refusal),
            }
        });
        let answer = self.go_on(&request, progress);
        Some((request, answer))
    }

    /// Whether a request waits under this ticket.
    pub(crate) fn has(&self, ticket: Ticket) -> bool {
        self.blocked.contains_key(&ticket)
    }

    /// Whether a request waits here.
    pub(crate) fn is_blocked(&self, id: RequestId) -> bool {
        self.blocked.values().any(|blocked| blocked.request.id == id)
    }

    /// The client of a waiting request is gone. Tells whether it did wait.
    pub(crate) fn close(&mut self, when: When, id: RequestId) -> bool {
        let found =
            self.blocked.iter().find(|(_, blocked)| blocked.request.id == id).map(|(ticket, _)| *ticket);
        let Some((ticket, blocked)) = found.and_then(|ticket| self.blocked.remove_entry(&ticket)) else {
            return false;
        };
        let account = self.setup.account_of(&blocked.request);
        self.turn(when, |node| {
            node.cancel_wait(when.now, blocked.peer, ticket);
            if let Call::Session { leaves: true, .. } = blocked.request.call {
                let key = key_of(&account.owner, &blocked.request.call);
                node.abandon_session(when.now, blocked.peer, key);
            }
        });
        true
    }

    fn go_on(&mut self, request: &Arc<Request>, seen: Seen) -> Option<Answered> {
        match seen {
            Seen::Answer(answer, condition) => Some((self.as_of_now(request, answer), condition)),
            Seen::Blocked { peer, ticket, until } => {
                let is_session = matches!(request.call, Call::Session { .. });
                let locks = match &request.call {
                    Call::Session { locks, .. } | Call::Acquire { locks, .. } => locks.clone(),
                    _ => Locks::new(),
                };
                let (request, is_woken) = (request.clone(), false);
                self.blocked.insert(ticket, Blocked { request, peer, locks, until, is_session, is_woken });
                None
            }
        }
    }

    /// The answer once the turn is over: a peer may have ended in it.
    fn as_of_now(&self, request: &Request, answer: Answer) -> Answer {
        let account = self.setup.account_of(request);
        match answer {
            Answer::Gone { peer, .. } => shown::gone(&self.node, PeerId(peer).by(by(&account))),
            answer => answer,
        }
    }

    /// The requests that wait.
    pub(crate) fn waiting(&self) -> impl ExactSizeIterator<Item = &Arc<Request>> {
        self.blocked.values().map(|blocked| &blocked.request)
    }

    /// The peers whose clients wait with an open connection.
    pub(crate) fn connected(&self) -> BTreeSet<u64> {
        self.blocked.values().filter(|blocked| !blocked.is_woken).map(|blocked| blocked.peer.0).collect()
    }

    /// How many requests of each owner wait with an open connection.
    pub(crate) fn waiting_by_owner(&self) -> BTreeMap<Owner, usize> {
        let mut waiting = BTreeMap::new();
        for blocked in self.blocked.values().filter(|blocked| !blocked.is_woken) {
            *waiting.entry(self.setup.account_of(&blocked.request).owner).or_default() += 1;
        }
        waiting
    }
}
