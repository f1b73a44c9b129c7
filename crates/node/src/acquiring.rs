//! Asking for locks and waiting for them: the one lane for every dialect.

use std::time::Duration;

use throttle_core::{Acquire, AcquireError, Claim, EndCause, PeerId, Status, Time, planted};

use crate::{
    idempotency::{self, IdempotencyKey},
    managing::Found,
    node::Node,
    refusal::Refusal,
    sessions::NewPeer,
    waits::{Due, Ticket},
};

/// How many waits end in one turn at most; those that are left are due at once.
const WAITS_AT_ONCE: usize = 1000;

/// A request for locks.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Each semaphore and the count asked for, all or nothing.
    pub locks: &'a [(&'a str, i64)],
    /// Higher is served first; 0 is usual.
    pub priority: i32,
    /// The length of the peer's lease from now on, if it is to change.
    pub expires_in: Option<Duration>,
    /// How long to wait for a grant.
    pub wait: Duration,
    /// Only goes on: a lock that is neither acquired nor pending any more is not asked for anew.
    pub if_pending: bool,
}

/// What became of a request for locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All are acquired.
    Acquired,
    /// The request stands in the queue.
    Pending,
    /// The request left the queue without a grant.
    NotAcquired,
}

/// How far a request for locks has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It can be answered.
    Done(Outcome),
    /// It waits. When [`Output::Wake`](crate::Output::Wake) says so, it is to be [resumed](Node::resume); when its
    /// client is gone before that, its wait is to be [cancelled](Node::cancel_wait).
    Blocked {
        /// Identifies it.
        ticket: Ticket,
        /// When its client wants an answer.
        until: Time,
    },
}

/// What a waiting request waits for.
#[derive(Clone, Copy, Debug)]
pub struct Waiting<'a> {
    /// The peer, and whose request it is.
    pub claim: Claim<'a>,
    /// The locks that it asks about. None at all stand for whatever the peer waits for.
    pub locks: &'a [(&'a str, i64)],
    /// When its client wants an answer.
    pub until: Time,
}

/// What tells a request that makes a peer from one that has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session<'a> {
    /// Whether the peer ends if the wait ends without a grant.
    pub leaves: bool,
    /// The key that makes a repeat find the same peer.
    pub key: Option<IdempotencyKey<'a>>,
}

impl Node {
    /// Asks for locks; if they are not granted at once, begins to wait for them.
    ///
    /// The wait ends, still pending, when the promised time of the peer is over, so that its client can ask again
    /// within the margin.
    ///
    /// # Errors
    ///
    /// If the rules of locks are against it, or too many requests wait.
    pub fn acquire(&mut self, now: Time, claim: Claim<'_>, ask: &Ask<'_>) -> Result<Step, Refusal> {
        let &Ask { locks, priority, expires_in, wait, if_pending } = ask;
        if if_pending && self.has_left_queue(claim, locks) && !planted!(WithdrawnAsksAnew) {
            return Ok(Step::Done(Outcome::NotAcquired));
        }
        let status = self.core.acquire(now, &Acquire { peer: claim, locks, priority, expires_in });
        if expires_in.is_some() {
            self.lease_moved(claim.peer);
        }
        let status = status?;
        if let Status::Acquired(_) = status {
            return Ok(Step::Done(Outcome::Acquired));
        }
        if wait.is_zero() || expires_in == Some(Duration::ZERO) {
            return Ok(Step::Done(Outcome::Pending));
        }
        let wait = if planted!(WaitEndsEarly) { wait / 2 } else { wait };
        self.block(now, &Waiting { claim, locks, until: now + wait })
    }

    /// Makes a peer together with its locks. A refused request leaves no peer behind; a repeat under the same key finds
    /// the peer that the first one made.
    ///
    /// # Errors
    ///
    /// If the peer cannot be made, or the locks are not to be had.
    pub fn begin_session(
        &mut self,
        now: Time,
        random: u64,
        new: &NewPeer<'_>,
        ask: &Ask<'_>,
        leaves: bool,
    ) -> Result<(PeerId, Step), Refusal> {
        let session = Session { leaves, key: new.key };
        if let Some(peer) = idempotency::find(&self.keys, new.key)? {
            // A repeat has its lease begin anew, as the first request did.
            let expires_in = ask.expires_in.unwrap_or(new.expires_in);
            if self.has_left_queue(peer.by(new.by), ask.locks) {
                self.heartbeat(now, peer.by(new.by), Some(expires_in))?;
                // Somebody withdrew or released it, or its own client did, to whom this is an echo: then nothing is
                // asked for anew. Who heard of no answer yet learns of the peer, with whatever it still has.
                return Ok((peer, Step::Done(Outcome::Pending)));
            }
            let ask = Ask { expires_in: Some(expires_in), ..*ask };
            let step = self.acquire(now, peer.by(new.by), &ask);
            return Ok((peer, self.end_session_step(now, peer, session, step)?));
        }
        let peer = self.make_peer(now, random, new)?;
        let step = self.acquire(now, peer.by(new.by), ask).inspect_err(|_| {
            let key = new.key.filter(|_| !planted!(KeyKeptForRefused));
            self.leave(now, peer, key);
        })?;
        Ok((peer, self.end_session_step(now, peer, session, Ok(step))?))
    }

    /// Goes on with a request that was woken.
    ///
    /// # Errors
    ///
    /// If the peer is gone, or the request would now wait for ever.
    pub fn resume(&mut self, now: Time, waiting: &Waiting<'_>) -> Result<Step, Refusal> {
        // Woken or not, the state of the peer says what is the matter.
        if self.core.poll(now, waiting.claim)? {
            return Ok(Step::Done(self.outcome(waiting)?));
        }
        self.block(now, waiting)
    }

    /// Goes on with a request that makes a peer.
    ///
    /// # Errors
    ///
    /// As [`Node::resume`].
    pub fn resume_session(
        &mut self,
        now: Time,
        waiting: &Waiting<'_>,
        session: Session<'_>,
    ) -> Result<Step, Refusal> {
        let step = self.resume(now, waiting);
        if step.as_ref().is_err_and(|refusal| !refusal.is_unknown_peer()) {
            // Nobody knows of the peer but this request, which is refused.
            self.abandon_session(now, waiting.claim.peer, session.key);
        }
        self.end_session_step(now, waiting.claim.peer, session, step)
    }

    /// The client of a waiting request is gone. The request stays in the queue until its peer ends; it is passed over
    /// once its client has been gone for too long.
    pub fn cancel_wait(&mut self, now: Time, peer: PeerId, ticket: Ticket) {
        if self.waits.leave(peer, ticket) {
            self.core.disconnect(now, peer.by_server());
        }
    }

    /// The client of a request that makes a peer is gone before it could learn of the peer: ends that peer, unless a
    /// repeat of the request waits, or may have been told of a grant.
    pub fn abandon_session(&mut self, now: Time, peer: PeerId, key: Option<IdempotencyKey<'_>>) {
        let is_granted = self.core.peer(peer.by_server()).is_ok_and(|peer| peer.is_acquired());
        if key.is_none() || !is_granted {
            self.leave(now, peer, key);
        }
    }

    /// Whether the peer has what it asked for: a client that asks from time to time is as present as one that waits.
    ///
    /// # Errors
    ///
    /// If the peer is not known.
    pub fn poll(&mut self, now: Time, claim: Claim<'_>) -> Result<Outcome, Refusal> {
        self.core.poll(now, claim)?;
        if planted!(PollLies) {
            return Ok(Outcome::Acquired);
        }
        self.outcome(&Waiting { claim, locks: &[], until: now })
    }

    /// Waits until the peer waits for nothing any more.
    ///
    /// # Errors
    ///
    /// As [`Node::resume`].
    pub fn wait(&mut self, now: Time, claim: Claim<'_>, until: Time) -> Result<Step, Refusal> {
        self.resume(now, &Waiting { claim, locks: &[], until })
    }

    /// Ends the waits whose time is over by `now`.
    pub(crate) fn end_waits(&mut self, now: Time) {
        for _ in 0..WAITS_AT_ONCE {
            let Some(due) = self.waits.due(now) else { return };
            let Due { ticket, peer, until } = due;
            // A heartbeat moves the promised time, so it is looked at again when it is over.
            let at = self.core.peer(peer.by_server()).map_or(now, |seen| until.min(seen.expires_at()));
            if at > now {
                self.waits.postpone(due, at);
                continue;
            }
            self.cancel_wait(now, peer, ticket);
            self.woken.push(ticket);
        }
    }

    /// The lease of a peer may end earlier than it did: then its waits do, too.
    pub(crate) fn lease_moved(&mut self, peer: PeerId) {
        let core = &self.core;
        self.waits.bring_forward(peer, || core.peer(peer.by_server()).ok().map(|peer| peer.expires_at()));
    }

    /// Begins to wait, unless the time for that is over.
    fn block(&mut self, now: Time, waiting: &Waiting<'_>) -> Result<Step, Refusal> {
        let &Waiting { claim, until, .. } = waiting;
        let at = until.min(self.core.peer(claim)?.expires_at());
        let at = if planted!(WaitOutlivesLease) { until } else { at };
        if self.is_draining || at <= now {
            return Ok(Step::Done(Outcome::Pending));
        }
        let ticket = self.waits.enter(claim.by, claim.peer, until, at)?;
        if let Err(error) = self.core.connect(now, claim) {
            self.waits.leave(claim.peer, ticket);
            return Err(error.into());
        }
        Ok(Step::Blocked { ticket, until })
    }

    /// Whether a request that was pending is so no more, and not acquired. What cannot be had at all is another matter.
    fn has_left_queue(&self, claim: Claim<'_>, locks: &[(&str, i64)]) -> bool {
        let Ok(seen) = self.core.peer(claim) else { return false };
        let is_asked = |name: &str| {
            seen.pending().is_some_and(|pending| pending.locks().any(|(asked, _)| &**asked == name))
        };
        let may_be_had = |name: &str, count: i64| match self.semaphore(name) {
            Ok(Found::Used(semaphore)) => !semaphore.is_leaving() && !semaphore.spec().is_beyond(count),
            Ok(Found::Unused(spec)) => !spec.is_beyond(count),
            Err(_) => false,
        };
        locks.iter().any(|(name, _)| seen.lock(name).is_none() && !is_asked(name))
            && locks.iter().all(|(name, count)| may_be_had(name, *count))
    }

    /// What became of a request by now.
    fn outcome(&self, waiting: &Waiting<'_>) -> Result<Outcome, Refusal> {
        let seen = self.core.peer(waiting.claim)?;
        let is_held = waiting.locks.iter().all(|(semaphore, _)| seen.lock(semaphore).is_some());
        Ok(if !waiting.locks.is_empty() && is_held {
            Outcome::Acquired
        } else if !seen.is_acquired() {
            Outcome::Pending
        } else if waiting.locks.is_empty() {
            Outcome::Acquired
        } else {
            // An unused member of a pattern is not there, and not unknown.
            for (semaphore, _) in waiting.locks {
                self.semaphore(semaphore).map_err(AcquireError::from)?;
            }
            Outcome::NotAcquired
        })
    }

    /// What a request that makes a peer comes to: it may end that peer, and a peer that is gone is its own.
    fn end_session_step(
        &mut self,
        now: Time,
        peer: PeerId,
        session: Session<'_>,
        step: Result<Step, Refusal>,
    ) -> Result<Step, Refusal> {
        match step {
            Err(refusal) if refusal.is_unknown_peer() => Err(Refusal::Gone(peer)),
            Ok(Step::Done(Outcome::Pending | Outcome::NotAcquired)) if session.leaves => {
                self.leave(now, peer, session.key);
                Ok(Step::Done(Outcome::NotAcquired))
            }
            step => step,
        }
    }

    /// Ends a peer whose request is over without a grant, unless a repeat of that request still waits.
    fn leave(&mut self, now: Time, peer: PeerId, key: Option<IdempotencyKey<'_>>) {
        if !self.waits.has(peer) {
            idempotency::forget(&mut self.keys, key);
            self.core.end_peer(now, peer.by_server(), EndCause::Released);
        }
    }
}
