//! Getting locks. Runs on the background thread, where no cancellation of the caller can strike between two
//! steps.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::{mpsc::UnboundedSender, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    AcquireError, Client, Error, Guard, WaitingFor, background,
    clock::{Moment, now},
    lease::Lease,
    protocol, release,
    renewal::{self, Doubt, recover},
    transport::{Effort, Exchanged, Link},
};

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
}

/// How the caller is told.
pub(crate) struct Caller {
    pub(crate) reply: oneshot::Sender<Result<Guard, AcquireError>>,
    /// Gets a message before a wait begins, if the caller is interested.
    pub(crate) waiting: Option<UnboundedSender<WaitingFor>>,
    /// The caller went away.
    pub(crate) gone: CancellationToken,
    pub(crate) release: Arc<background::Release>,
}

/// Acquires everything or nothing, and tells the caller.
pub(crate) async fn run(plan: Plan, caller: Caller) {
    let attempt = Attempt {
        give_up_at: plan.patience.map(|patience| now() + patience),
        link: plan.client.background().clone(),
        ttl: plan.ttl,
        waiting: caller.waiting,
    };
    // Even for a caller who is gone the answer is waited for, else nobody would know the peer to be deleted.
    let lease = match attempt.create_peer(&caller.gone).await {
        Ok(lease) => Arc::new(lease),
        Err(error) => {
            let error = match plan.wanted.first() {
                Some((semaphore, count)) => attempt.explain(error, semaphore, *count),
                None => error.into(),
            };
            let _ = caller.reply.send(Err(error));
            return;
        }
    };
    let outcome = tokio::select! {
        biased;
        () = caller.gone.cancelled() => None,
        outcome = attempt.acquire_in_order(&lease, &plan.wanted) => Some(outcome),
    };
    match outcome {
        // A guard that nobody takes releases the lock.
        Some(Ok(tokens)) => drop(caller.reply.send(Ok(Guard::new(lease, tokens)))),
        Some(Err(error)) => {
            let cleanup = release::in_background(lease, caller.release);
            let _ = tokio::time::timeout(CLEANUP, cleanup).await;
            let _ = caller.reply.send(Err(error));
        }
        None => drop(release::in_background(lease, caller.release)),
    }
}

struct Attempt {
    give_up_at: Option<Moment>,
    link: Link,
    ttl: Duration,
    waiting: Option<UnboundedSender<WaitingFor>>,
}

impl Attempt {
    async fn create_peer(&self, stop: &CancellationToken) -> Result<Lease, Error> {
        let request = protocol::new_peer(self.ttl);
        let effort = self.effort(Duration::ZERO);
        let Exchanged { answer, sent_at, .. } = self.link.exchange_until(&request, effort, stop).await?;
        let peer = answer.parse(&request)?;
        Ok(Lease::new(self.link.clone(), peer, self.ttl, sent_at, answer.instance))
    }

    /// Acquires several semaphores one after the other, in the caller's order, and returns their tokens.
    ///
    /// Kept apart because a server with `/v1` can grant all of them in one step.
    async fn acquire_in_order(
        &self,
        lease: &Arc<Lease>,
        wanted: &[(String, u64)],
    ) -> Result<Vec<(String, Option<u64>)>, AcquireError> {
        let mut tokens = Vec::with_capacity(wanted.len());
        for (semaphore, count) in wanted {
            let token = self.acquire_one(lease, semaphore, *count).await?;
            tokens.push((semaphore.clone(), token));
        }
        Ok(tokens)
    }

    async fn acquire_one(
        &self,
        lease: &Arc<Lease>,
        semaphore: &str,
        count: u64,
    ) -> Result<Option<u64>, AcquireError> {
        // Whoever wants to hear of a wait asks without waiting first.
        let mut to_announce = self.waiting.as_ref();
        loop {
            lease.check()?;
            let block_for = if to_announce.is_some() { Duration::ZERO } else { self.block_for() };
            let request = protocol::acquire(lease.peer, semaphore, count, Some(self.ttl), Some(block_for));
            let asked_at = now();
            let exchanged = self.link.exchange(&request, self.effort(block_for)).await;
            let Exchanged { answer, sent_at, .. } = match exchanged {
                Ok(exchanged) => exchanged,
                Err(Error::UnknownPeer { instance }) => {
                    self.recover(lease, Doubt::Unknown { instance, sent_at: asked_at }).await?;
                    continue;
                }
                Err(error) => return Err(self.explain(error, semaphore, count)),
            };
            if lease.moved(answer.instance.as_deref()) {
                let instance = answer.instance.clone();
                self.recover(lease, Doubt::Moved { instance, sent_at: asked_at }).await?;
            }
            if answer.is_granted() && !(sent_at + self.ttl).has_passed() {
                lease.check()?;
                let is_first = !lease.holds_anything();
                lease.confirm(sent_at, answer.instance);
                lease.grant(semaphore, count, answer.token);
                if is_first {
                    renewal::start(lease);
                }
                return Ok(answer.token);
            }
            if self.give_up_at.is_some_and(Moment::has_passed) {
                return Err(self.not_acquired(semaphore, count, None));
            }
            if let Some(waiting) = to_announce.take() {
                let since = SystemTime::now();
                // A caller who is gone hears nothing.
                let _ = waiting.send(WaitingFor::new(semaphore, count, lease.peer, since));
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
        let longest = LONGEST_BLOCK.min(self.ttl / 3);
        self.give_up_at.map_or(longest, |give_up_at| longest.min(give_up_at.remaining()))
    }

    fn effort(&self, block_for: Duration) -> Effort {
        let settings = &self.link.settings;
        let until = now() + block_for + settings.retry_for;
        let limit = block_for + settings.timeout.min(GRACE.max(self.ttl / 3));
        match self.give_up_at {
            None => Effort { until, limit },
            Some(give_up_at) => Effort {
                until: until.min(give_up_at.max(now() + TIME_FOR_ONE_RETRY)),
                limit: limit.min(give_up_at.remaining().saturating_add(GRACE)),
            },
        }
    }

    /// Trouble with the server until the time was over means that the lock was not acquired in time.
    fn explain(&self, error: Error, semaphore: &str, count: u64) -> AcquireError {
        let is_over = self.give_up_at.is_some_and(|give_up_at| give_up_at.remaining() <= TIME_FOR_ONE_RETRY);
        match error {
            Error::Unreachable { .. } if is_over => self.not_acquired(semaphore, count, Some(error)),
            error => error.into(),
        }
    }

    fn not_acquired(&self, semaphore: &str, count: u64, source: Option<Error>) -> AcquireError {
        AcquireError::NotAcquired {
            semaphore: semaphore.to_owned(),
            count,
            url: self.link.settings.url.clone(),
            source: source.map(Box::new),
        }
    }
}
