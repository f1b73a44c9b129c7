//! Getting locks. Runs on the background thread, where no cancellation of the caller can strike between two
//! steps.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use throttle_api::Peer;
use tokio::sync::{mpsc::UnboundedSender, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    AcquireError, Blocker, Client, Error, Guard, WaitingFor, background,
    clock::{Moment, now},
    delivery::Exchanged,
    dialect::{Ask, Made},
    error::in_the_way,
    lease::Lease,
    place::{self, Place},
    protocol, release,
    renewal::{self, Doubt, recover},
    transport::{Effort, Link},
    trouble::Telling,
    v1,
};

/// The request that makes the peer waits for so long, which marks it as one whose client is there. The next one, which
/// has the id of the peer, can be withdrawn at any moment.
const FIRST_WAIT: Duration = Duration::from_millis(1);
/// A request waits at the server no longer than this, so that a dead connection is noticed.
const LONGEST_BLOCK: Duration = Duration::from_secs(10);
/// An answer may be late by this much beyond the caller's time.
const GRACE: Duration = Duration::from_secs(1);
/// Even without time left one retry is due: a stale connection is not the caller's fault.
const TIME_FOR_ONE_RETRY: Duration = Duration::from_millis(200);
/// A failed attempt waits this long for its own cleanup; after that the cleanup goes on by itself.
const CLEANUP: Duration = Duration::from_secs(3);

/// What is wanted, checked.
pub(crate) struct Plan {
    pub(crate) client: Client,
    /// Semaphores with their counts, in the order in which they are acquired. Never empty.
    pub(crate) wanted: Vec<(String, u64)>,
    pub(crate) ttl: Duration,
    /// How long to wait; `None` is without end.
    pub(crate) patience: Option<Duration>,
    pub(crate) priority: i32,
    /// The span on whose behalf this is, as W3C Trace Context writes it.
    pub(crate) trace_parent: Option<Arc<str>>,
}

/// How the caller is told.
pub(crate) struct Caller {
    pub(crate) reply: oneshot::Sender<Result<Guard, AcquireError>>,
    /// Gets a message before a wait begins, if the caller is interested.
    pub(crate) waiting: Option<UnboundedSender<WaitingFor>>,
    /// Gets the reason if a peer is not shared that the environment names.
    pub(crate) new_peer: Option<UnboundedSender<String>>,
    /// Gets the reason when a request is repeated, if the caller is interested.
    pub(crate) telling: Option<Telling>,
    /// The caller went away.
    pub(crate) gone: CancellationToken,
    pub(crate) release: Arc<background::Release>,
}

/// Acquires everything or nothing, and tells the caller.
pub(crate) async fn run(plan: Plan, caller: Caller) {
    let mut attempt = Attempt {
        give_up_at: plan.patience.map(|patience| now() + patience),
        link: plan.client.background().traced(plan.trace_parent).telling(caller.telling),
        ttl: plan.ttl,
        priority: plan.priority,
        waiting: caller.waiting,
    };
    let place = tokio::select! {
        biased;
        // Nothing was asked for yet.
        () = caller.gone.cancelled() => return,
        place = attempt.find_place(&plan.wanted) => place,
    };
    let Place { lease, around, tokens: mut known, surprise } = match place {
        Ok(place) => place,
        Err(error) => return drop(caller.reply.send(Err(attempt.explain(error, &plan.wanted)))),
    };
    if let (Some(tell), Some(why)) = (caller.new_peer, surprise) {
        // A caller who is gone hears nothing.
        let _ = tell.send(why);
    }
    let rest: Vec<Part> =
        plan.wanted.iter().filter(|(name, _)| !around.contains_key(name)).cloned().collect();
    // Even for a caller who is gone the answer is waited for, else nobody would know the peer to be deleted.
    let (lease, opening) = match lease {
        Some(lease) => (Arc::new(lease), None),
        None => match attempt.create_peer(&rest, &caller.gone).await {
            Ok((lease, opening)) => (Arc::new(lease), opening),
            Err(error) => return drop(caller.reply.send(Err(attempt.explain(error, &plan.wanted)))),
        },
    };
    attempt.ttl = lease.ttl;
    let outcome = tokio::select! {
        biased;
        () = caller.gone.cancelled() => None,
        outcome = attempt.acquire(&lease, &rest, opening) => Some(outcome),
    };
    match outcome {
        // A guard that nobody takes releases the lock.
        Some(Ok(granted)) => {
            let granted: BTreeMap<_, _> = granted.into_iter().collect();
            let held = |name: &String| around.get(name).map(|held| held.token);
            let token = |name: &String| held(name).or_else(|| granted.get(name).copied()).flatten();
            let tokens: Tokens = plan.wanted.iter().map(|(name, _)| (name.clone(), token(name))).collect();
            known.extend(tokens.iter().filter_map(|(name, token)| Some((name.clone(), (*token)?))));
            drop(caller.reply.send(Ok(Guard::new(lease, tokens, known))));
        }
        Some(Err(error)) => {
            let cleanup = release::in_background(lease, caller.release);
            let _ = tokio::time::timeout(CLEANUP, cleanup).await;
            let _ = caller.reply.send(Err(error));
        }
        None => drop(release::in_background(lease, caller.release)),
    }
}

/// How locks are asked for.
#[derive(Clone, Copy)]
enum Form {
    /// All in one request, as `/v1` has it.
    Joint,
    /// One in a request, as all servers have it.
    Single,
}

struct Attempt {
    give_up_at: Option<Moment>,
    link: Link,
    ttl: Duration,
    priority: i32,
    waiting: Option<UnboundedSender<WaitingFor>>,
}

/// Semaphores with the fencing token of each.
type Tokens = Vec<(String, Option<u64>)>;

/// A semaphore with a count.
type Part = (String, u64);

impl Attempt {
    /// Makes a peer, and asks for its locks in the same request if the server can: then there is an answer to that.
    async fn create_peer(
        &self,
        wanted: &[Part],
        stop: &CancellationToken,
    ) -> Result<(Lease, Option<Exchanged>), Error> {
        let (ttl, asked_at) = (self.ttl, now());
        // Renewals go on when the span may be over.
        let lease =
            |peer, sent_at, instance| Lease::new(self.link.traced(None), peer, ttl, sent_at, instance);
        let effort = self.effort(Duration::ZERO);
        let made = if wanted.is_empty() {
            self.link.create_peer(ttl, effort, stop).await?
        } else if self.link.dialect.may_be_v1() {
            let wait = (!self.give_up_at.is_some_and(Moment::has_passed)).then_some(FIRST_WAIT);
            let ask = Ask { locks: wanted, priority: self.priority, ttl, wait };
            match self.link.create_peer_with_locks(&ask, effort, stop).await {
                Err(error) if error.is_missing_route() => {
                    self.link.create_classic_peer(ttl, effort, stop).await?
                }
                outcome => {
                    let Made { peer, exchanged } = outcome?;
                    // A repeat finds what the first attempt made, and that is when its time began.
                    let exchanged = Exchanged { sent_at: asked_at, ..exchanged };
                    let instance = exchanged.answer.instance.clone();
                    return Ok((lease(peer, asked_at, instance), Some(exchanged)));
                }
            }
        } else {
            self.link.create_classic_peer(ttl, effort, stop).await?
        };
        let Made { peer, exchanged } = made;
        let Exchanged { answer, sent_at, .. } = exchanged;
        Ok((lease(peer, sent_at, answer.instance), None))
    }

    /// Whether a lock around this process has a peer to share, or has what is wanted already.
    async fn find_place(&self, wanted: &[Part]) -> Result<Place, Error> {
        match &self.link.settings.outer {
            Some(outer) => place::find(&self.link, outer, wanted, self.effort(Duration::ZERO)).await,
            None => Ok(Place::default()),
        }
    }

    /// Acquires all of them in one request, or one after the other if the server can grant no more at a time. They may
    /// have been asked for when the peer was made: `opening` is the answer to that.
    async fn acquire(
        &self,
        lease: &Arc<Lease>,
        wanted: &[Part],
        opening: Option<Exchanged>,
    ) -> Result<Tokens, AcquireError> {
        if let Some(shared) = &lease.shared {
            let names: Vec<_> = wanted.iter().map(|(name, _)| name.as_str()).collect();
            if !names.is_empty() && !shared.note(&names) {
                let why = std::io::Error::other("the lock file of the shared peer cannot be written");
                return Err(Error::Thread(why).into());
            }
            let tokens = self.acquire_together(lease, wanted, Form::Joint, None).await?;
            let is_first = !lease.holds_anything();
            lease.lean_on_what_is_around();
            if is_first {
                renewal::start(lease);
            }
            return Ok(tokens);
        }
        if self.link.dialect.may_be_v1() {
            match self.acquire_together(lease, wanted, Form::Joint, opening).await {
                Err(AcquireError::Failed(error)) if error.is_missing_route() => {}
                outcome => return outcome,
            }
        }
        let mut tokens = Vec::with_capacity(wanted.len());
        for part in wanted.chunks(1) {
            tokens.extend(self.acquire_together(lease, part, Form::Single, None).await?);
        }
        Ok(tokens)
    }

    /// Asks for these locks until they are granted.
    async fn acquire_together(
        &self,
        lease: &Arc<Lease>,
        wanted: &[Part],
        form: Form,
        mut opening: Option<Exchanged>,
    ) -> Result<Tokens, AcquireError> {
        let Some(first) = wanted.first() else { return Ok(Vec::new()) };
        let since = SystemTime::now();
        // The place that was told last, once one was.
        let mut told = None;
        let mut has_waited = false;
        // The state of the server in which they are pending, and from when on that holds, as the last answer has it.
        let mut queued: Option<(String, Moment)> = None;
        loop {
            lease.check()?;
            // Whoever wants to hear of a wait asks without waiting first.
            let is_to_be_told = self.waiting.is_some() && told.is_none();
            let block_for = if is_to_be_told { Duration::ZERO } else { self.block_for() };
            // A peer that was brought back came without its request.
            let came_back = |(_, since): &(String, Moment)| lease.was_restored_since(*since);
            let goes_on = queued.take().filter(|queued| !came_back(queued));
            let request = match form {
                Form::Joint => {
                    let ttl = Some(self.ttl);
                    let if_pending = goes_on.as_ref().map(|(instance, _)| instance.as_str());
                    v1::acquire(lease.peer, wanted, self.priority, ttl, block_for, if_pending)
                }
                Form::Single => {
                    let (semaphore, count) = first;
                    protocol::acquire(lease.peer, semaphore, *count, Some(self.ttl), Some(block_for))
                }
            };
            let asked_at = now();
            let exchanged = match opening.take() {
                Some(exchanged) => Ok(exchanged),
                None => self.link.exchange(&request, self.effort(block_for)).await,
            };
            let Exchanged { answer, sent_at, .. } = match exchanged {
                Ok(exchanged) => exchanged,
                Err(Error::UnknownPeer { instance, detail, by_operator }) => {
                    let doubt = Doubt::Unknown { instance, detail, by_operator, sent_at: asked_at };
                    self.recover(lease, doubt).await?;
                    continue;
                }
                // It was in the queue, so the name was right.
                Err(Error::UnknownSemaphore { semaphore, .. }) if has_waited => {
                    return Err(Error::Withdrawn { semaphores: vec![semaphore], is_removed: true }.into());
                }
                Err(Error::Withdrawn { .. }) if goes_on.as_ref().is_some_and(came_back) => continue,
                Err(error) => return Err(self.explain(error, wanted)),
            };
            let instance = answer.instance.clone();
            if lease.moved(instance.as_deref()) {
                let instance = instance.clone();
                self.recover(lease, Doubt::Moved { instance, sent_at: asked_at }).await?;
            }
            let peer: Option<Peer> = match form {
                Form::Joint => Some(answer.parse(&request)?),
                Form::Single => None,
            };
            if answer.is_granted() && !(sent_at + self.ttl).has_passed() {
                lease.check()?;
                let is_first = !lease.holds_anything();
                lease.confirm(sent_at, answer.instance);
                let token = |name: &str| peer.as_ref().map_or(answer.token, |peer| v1::token_of(peer, name));
                let tokens: Tokens = wanted.iter().map(|(name, _)| (name.clone(), token(name))).collect();
                for ((semaphore, count), (_, token)) in wanted.iter().zip(&tokens) {
                    lease.grant(semaphore, *count, *token);
                }
                if is_first {
                    renewal::start(lease);
                }
                return Ok(tokens);
            }
            has_waited = true;
            queued = instance.map(|instance| (instance, asked_at));
            let pending = peer.and_then(|peer| peer.pending);
            let position = pending.as_ref().and_then(|pending| pending.position.try_into().ok());
            let blocked_by: Vec<Blocker> =
                pending.iter().flat_map(|pending| &pending.blocked_by).map(Into::into).collect();
            let ((semaphore, count), others) = missing(wanted, first, &blocked_by);
            if self.give_up_at.is_some_and(Moment::has_passed) {
                let url = self.link.server().shown.clone();
                return Err(AcquireError::NotAcquired {
                    semaphore,
                    count,
                    others: others.into(),
                    url,
                    position,
                    blocked_by,
                    source: None,
                });
            }
            if let Some(waiting) = self.waiting.as_ref().filter(|_| told != Some(position)) {
                told = Some(position);
                // A caller who is gone hears nothing.
                let _ = waiting.send(WaitingFor {
                    semaphore,
                    count,
                    peer_id: lease.peer,
                    since,
                    position,
                    estimated_wait: pending.as_ref().and_then(|pending| Some(pending.estimated_wait?.0)),
                    blocked_by,
                });
            }
        }
    }

    async fn recover(&self, lease: &Arc<Lease>, doubt: Doubt) -> Result<(), AcquireError> {
        match recover(lease, doubt).await {
            // The next request meets the same trouble, and knows for how long to repeat it.
            Ok(()) | Err(Error::Unreachable { .. } | Error::Server { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn block_for(&self) -> Duration {
        let longest = self.link.polls.bound(LONGEST_BLOCK.min(self.ttl / 3));
        self.give_up_at.map_or(longest, |give_up_at| longest.min(give_up_at.remaining()))
    }

    fn effort(&self, block_for: Duration) -> Effort {
        let settings = &self.link.settings;
        let until = now() + block_for + settings.retry_for;
        // A wait takes a third of the lease, and nothing else renews it: servers that hang leave time for the others.
        let servers = u32::try_from(settings.servers.len()).unwrap_or(u32::MAX);
        let part = self.ttl / 3 * 2 / servers.saturating_add(1);
        let limit = settings.timeout.min(GRACE.max(part));
        match self.give_up_at {
            None => Effort { until, limit },
            Some(give_up_at) => {
                let left = give_up_at.remaining().saturating_sub(block_for).saturating_add(GRACE);
                let left = (left / servers).max(left.min(GRACE));
                Effort {
                    until: until.min(give_up_at.max(now() + TIME_FOR_ONE_RETRY)),
                    limit: limit.min(left),
                }
            }
        }
    }

    /// Trouble with the server until the time was over means that the lock was not acquired in time.
    fn explain(&self, error: Error, wanted: &[Part]) -> AcquireError {
        let is_over = self.give_up_at.is_some_and(|give_up_at| give_up_at.remaining() <= TIME_FOR_ONE_RETRY);
        match (error, wanted.split_first()) {
            (error @ Error::Unreachable { .. }, Some(((semaphore, count), others))) if is_over => {
                AcquireError::NotAcquired {
                    semaphore: semaphore.clone(),
                    count: *count,
                    others: others.into(),
                    url: self.link.server().shown.clone(),
                    position: None,
                    blocked_by: Vec::new(),
                    source: Some(Box::new(error)),
                }
            }
            (error, _) => error.into(),
        }
    }
}

/// What of it is missing, the first apart: where somebody is in the way. All of it, if it is not told where.
fn missing(wanted: &[Part], first: &Part, blocked_by: &[Blocker]) -> (Part, Vec<Part>) {
    let names = in_the_way(blocked_by);
    let mut missing = wanted.iter().filter(|(name, _)| names.is_empty() || names.contains(&&**name)).cloned();
    let first = missing.next().unwrap_or_else(|| first.clone());
    (first, missing.collect())
}
