//! Requests for locks, which may wait for a grant with their connection open.

use std::time::Duration;

use futures_util::future::{Either, ready};
use throttle_core::{Claim, Name, PeerId, PeerView, Restore, Time};
use throttle_journal::Wall;
use throttle_node::{self as node, Ask, IdempotencyKey, NewPeer, Refusal, Session, Step, Ticket, Waiting};
use tokio::sync::oneshot;

use super::engine::{Engine, Turn, Waker};
use crate::{
    net::request_waits,
    telemetry::trace::{self, Queued, Subject, TraceIds, Wait, WaitEnd, about},
};

/// What became of a request for locks, with a look at its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<R> {
    /// All are acquired.
    Acquired(R),
    /// They are not acquired yet.
    Pending(R),
    /// They are not acquired, and will not be: the request left the queue without a grant.
    NotAcquired,
}

/// What a turn of a request comes to.
enum Progress<R> {
    Done(Outcome<R>),
    Blocked(Blocked),
}

/// A request that waits.
struct Blocked {
    ticket: Ticket,
    until: Time,
    woken: oneshot::Receiver<Option<TraceIds>>,
}

/// The span of a wait. There is none unless the request is recorded.
#[derive(Default)]
struct WaitSpan {
    is_recorded: bool,
    queued: Option<(Queued, Time)>,
    span: Option<Wait>,
    end: Option<WaitEnd>,
    waited: Duration,
}

impl Engine {
    /// Asks for locks; if they are not granted at once, waits for them.
    ///
    /// Dropping the future leaves the request in the queue until its peer ends; it is passed over once its client has
    /// been gone for too long. A peer whose lease has no length is gone when it is looked at: then there is no look.
    pub async fn acquire<R>(
        &self,
        claim: Claim<'_>,
        ask: &Ask<'_>,
        look: impl Fn(Option<PeerView<'_>>, Wall) -> R,
    ) -> Result<Outcome<R>, Refusal> {
        about(Subject::Peer(claim.peer));
        about(Subject::Locks(ask.locks));
        let mut span = WaitSpan::new();
        let first = self.turn(|turn| {
            let step = turn.node.acquire(turn.now, claim, ask)?;
            Ok::<_, Refusal>(turn.progress(claim, step, &look, &mut span))
        })?;
        self.wait_for(first, claim, ask.locks, None, look, span).await
    }

    /// Makes a peer together with its locks, and waits for them. A refused request leaves no peer behind.
    ///
    /// With `leaves`, a wait that ends without a grant ends the peer too, and so does dropping the future,
    /// unless a repeat of the request waits for it.
    pub async fn session<R>(
        &self,
        new: &NewPeer<'_>,
        ask: &Ask<'_>,
        leaves: bool,
        look: impl Fn(Option<PeerView<'_>>, Wall) -> R,
    ) -> Result<(PeerId, Outcome<R>), Refusal> {
        about(Subject::Locks(ask.locks));
        let mut span = WaitSpan::new();
        let (peer, first) = self.turn(|turn| {
            let random = turn.random();
            let (peer, step) = turn.node.begin_session(turn.now, random, new, ask, leaves)?;
            Ok::<_, Refusal>((peer, turn.progress(peer.by(new.by), step, &look, &mut span)))
        })?;
        about(Subject::Peer(peer));
        let session = Session { leaves, key: new.key };
        let outcome = self.wait_for(first, peer.by(new.by), ask.locks, Some(session), look, span).await?;
        Ok((peer, outcome))
    }

    /// Keeps or restores a peer of the dialect v0.1, then waits up to `wait` until nothing is pending. Tells whether
    /// that is so.
    pub async fn keep_or_restore_and_wait(
        &self,
        restore: &Restore<'_>,
        ask: &Ask<'_>,
        wait: Duration,
    ) -> Result<bool, Refusal> {
        let claim = restore.peer;
        about(Subject::Peer(claim.peer));
        about(Subject::Locks(ask.locks));
        let mut span = WaitSpan::new();
        let look = |_: Option<PeerView<'_>>, _| ();
        let first = self.turn(|turn| {
            turn.keep_or_restore(restore, ask)?;
            if ask.expires_in.is_some_and(|length| length.is_zero()) {
                // It is gone.
                let is_idle = ask.locks.is_empty();
                let outcome = if is_idle { Outcome::Acquired(()) } else { Outcome::Pending(()) };
                return Ok(Progress::Done(outcome));
            }
            let step = turn.node.wait(turn.now, claim, turn.now + wait)?;
            Ok::<_, Refusal>(turn.progress(claim, step, look, &mut span))
        })?;
        let outcome = self.wait_for(first, claim, &[], None, look, span).await?;
        Ok(outcome == Outcome::Acquired(()))
    }

    /// Waits until a request can be answered, if it has to: in a box, so that those that are granted at once need no
    /// room for it.
    fn wait_for<R>(
        &self,
        first: Progress<R>,
        claim: Claim<'_>,
        locks: &[(&str, i64)],
        session: Option<Session<'_>>,
        look: impl Fn(Option<PeerView<'_>>, Wall) -> R,
        span: WaitSpan,
    ) -> impl Future<Output = Result<Outcome<R>, Refusal>> {
        match first {
            Progress::Done(outcome) => Either::Left(ready(Ok(outcome))),
            Progress::Blocked(blocked) => {
                Either::Right(Box::pin(self.wait_on(blocked, claim, locks, session, look, span)))
            }
        }
    }

    async fn wait_on<R>(
        &self,
        mut blocked: Blocked,
        claim: Claim<'_>,
        locks: &[(&str, i64)],
        session: Option<Session<'_>>,
        look: impl Fn(Option<PeerView<'_>>, Wall) -> R,
        mut span: WaitSpan,
    ) -> Result<Outcome<R>, Refusal> {
        let mut departure = Departure::of(self, claim.peer, session);
        let outcome = loop {
            let Blocked { ticket, until, woken } = blocked;
            let mut place = Place { engine: self, peer: claim.peer, ticket, is_woken: false };
            let cause = woken.await;
            place.is_woken = true;
            span.link(cause.ok().flatten());
            let waiting = Waiting { claim, locks, until };
            let progress = self.turn(|turn| {
                let step = match session {
                    None => turn.node.resume(turn.now, &waiting),
                    Some(session) => turn.node.resume_session(turn.now, &waiting, session),
                }?;
                Ok::<_, Refusal>(turn.progress(claim, step, &look, &mut span))
            });
            match progress {
                Ok(Progress::Blocked(again)) => blocked = again,
                Ok(Progress::Done(outcome)) => break Ok(outcome),
                Err(refusal) => break Err(refusal),
            }
        };
        if let Some(departure) = &mut departure {
            departure.is_due = false;
        }
        span.finish(&outcome);
        outcome
    }
}

impl Turn<'_> {
    /// What a step of the node means to the task of its request.
    fn progress<R>(
        &mut self,
        claim: Claim<'_>,
        step: Step,
        look: impl Fn(Option<PeerView<'_>>, Wall) -> R,
        span: &mut WaitSpan,
    ) -> Progress<R> {
        let seen = self.node.core().peer(claim).ok();
        if let (true, Some(seen)) = (span.is_recorded, seen) {
            span.look(seen, self.now);
        }
        let mut look = || look(seen, self.clock.wall(self.now));
        match step {
            Step::Done(node::Outcome::Acquired) => Progress::Done(Outcome::Acquired(look())),
            Step::Done(node::Outcome::Pending) => Progress::Done(Outcome::Pending(look())),
            Step::Done(node::Outcome::NotAcquired) => Progress::Done(Outcome::NotAcquired),
            Step::Blocked { ticket, until } => {
                request_waits();
                span.begin(claim.peer);
                let (sender, woken) = oneshot::channel();
                self.wakers.insert(ticket, Waker { trace: trace::current(), sender });
                Progress::Blocked(Blocked { ticket, until, woken })
            }
        }
    }
}

/// A place among the waiting requests; given up when the client hangs up.
struct Place<'a> {
    engine: &'a Engine,
    peer: PeerId,
    ticket: Ticket,
    /// It is gone from the waiting requests already.
    is_woken: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.is_woken {
            self.engine.turn(|turn| {
                turn.wakers.remove(&self.ticket);
                turn.node.cancel_wait(turn.now, self.peer, self.ticket);
            });
        }
    }
}

/// Ends the peer of a request whose client will never learn of it.
struct Departure<'a> {
    engine: &'a Engine,
    peer: PeerId,
    key: Option<IdempotencyKey<'a>>,
    is_due: bool,
}

impl<'a> Departure<'a> {
    fn of(engine: &'a Engine, peer: PeerId, session: Option<Session<'a>>) -> Option<Self> {
        let session = session.filter(|session| session.leaves)?;
        Some(Self { engine, peer, key: session.key, is_due: true })
    }
}

impl Drop for Departure<'_> {
    fn drop(&mut self) {
        if self.is_due {
            self.engine.turn(|turn| turn.node.abandon_session(turn.now, self.peer, self.key));
        }
    }
}

impl WaitSpan {
    fn new() -> Self {
        Self { is_recorded: trace::is_recorded(), ..Self::default() }
    }

    /// Notes what it began to wait for, and whether it has got that.
    fn look(&mut self, seen: PeerView<'_>, now: Time) {
        match (&self.queued, seen.pending()) {
            (None, Some(pending)) => {
                let locks = pending.locks().map(|(name, count)| (name.clone(), count)).collect();
                self.queued = Some((Queued { locks, position: pending.position() }, pending.since()));
            }
            (Some((queued, since)), None) => {
                let token = |name: &Name| Some((name.clone(), seen.lock(name)?.token()?));
                let tokens: Vec<_> = queued.locks.iter().filter_map(|(name, _)| token(name)).collect();
                let is_granted = tokens.len() == queued.locks.len();
                self.waited = now.since(*since);
                self.end = Some(if is_granted { WaitEnd::Granted(tokens) } else { WaitEnd::Withdrawn });
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
    }

    fn begin(&mut self, peer: PeerId) {
        if let (None, Some((queued, _))) = (&self.span, &self.queued) {
            self.span = Wait::begin(peer, queued);
        }
    }

    fn link(&mut self, cause: Option<TraceIds>) {
        if let Some(span) = &mut self.span {
            span.link(cause);
        }
    }

    fn finish<R>(self, outcome: &Result<Outcome<R>, Refusal>) {
        let Some(span) = self.span else { return };
        let end = match outcome {
            Ok(Outcome::Acquired(_)) => self.end.unwrap_or(WaitEnd::Withdrawn),
            Ok(Outcome::Pending(_)) => WaitEnd::Timeout,
            // Its peer may have been ended with it, once its time was over.
            Ok(Outcome::NotAcquired) => self.end.unwrap_or(WaitEnd::Timeout),
            Err(Refusal::TooManyWaits(_)) => WaitEnd::Refused,
            Err(_) => WaitEnd::PeerGone,
        };
        span.end(&end, self.waited);
    }
}
