//! What the holder of a lock sees of it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{
    Error, Loss, Share, background,
    lease::{Lease, RELEASE_PATIENCE},
    release,
};

/// A lock that is held, or several that were acquired together.
///
/// A thread of its own renews it at a third of its expiry, so that neither a blocked runtime nor a busy one lets
/// it lapse. If it is lost all the same, [`Guard::lost`] resolves and [`Guard::cancellation_token`] is cancelled:
/// stop what you do, someone else may hold the lock.
///
/// Dropping it releases it in the background, also outside of any runtime, and the end of the process waits up to
/// 2 seconds for that (when `main` returns or `exit` is called; not when the process is killed or aborts, nor for
/// a guard that is never dropped: then the lock is free once it expired). [`Guard::release`] does it now and tells
/// whether it worked.
#[must_use = "the lock is released when the guard is dropped"]
pub struct Guard {
    lease: Arc<Lease>,
    tokens: Vec<(String, Option<u64>)>,
    /// Of all that is held here and around this process.
    known: BTreeMap<String, u64>,
    held_since: SystemTime,
    release: Option<Arc<background::Release>>,
}

impl Guard {
    pub(crate) fn new(
        lease: Arc<Lease>,
        tokens: Vec<(String, Option<u64>)>,
        known: BTreeMap<String, u64>,
    ) -> Self {
        Self { lease, tokens, known, held_since: SystemTime::now(), release: Some(Arc::default()) }
    }

    /// The id of the peer that holds the lock, as the server knows it.
    pub fn peer_id(&self) -> u64 {
        self.lease.peer
    }

    /// Whether the peer belongs to a lock around this process, as `throttle run` has it: it lives on when this is
    /// released, and this is lost with it.
    pub fn is_shared(&self) -> bool {
        self.lease.shared.is_some()
    }

    /// The expiry of the peer: what was asked for, or that of the peer which is shared.
    pub fn ttl(&self) -> Duration {
        self.lease.ttl
    }

    /// Shares the peer with processes that the holder starts: so the server sees the order of their locks, and one that
    /// is held here is had at once there.
    ///
    /// The environment variables of the [`Share`] are read by this client, the Python client and `throttle run`.
    ///
    /// # Errors
    ///
    /// [`Error::Thread`] if the thread that renews locks is gone.
    pub fn share(&self) -> Result<Share, Error> {
        Share::new(&self.lease, self.token(), &self.known)
    }

    /// The fencing token of this grant; of the first semaphore if there are several.
    ///
    /// Each token is larger than those of all earlier grants; from a server without a data directory only as long as
    /// its clock is not set back, between two starts, by more than the earlier run took. Send it along with what you
    /// write: storage that remembers the largest it saw can refuse a holder that was overtaken. `None` from servers
    /// before 0.6.
    pub fn token(&self) -> Option<u64> {
        self.tokens.first().and_then(|(_, token)| *token)
    }

    /// The semaphores with the fencing token of each.
    pub fn tokens(&self) -> BTreeMap<&str, Option<u64>> {
        self.tokens.iter().map(|(semaphore, token)| (semaphore.as_str(), *token)).collect()
    }

    /// When it was acquired, by the clock of this machine.
    pub fn held_since(&self) -> SystemTime {
        self.held_since
    }

    /// Whether it is held at this very moment, as far as can be known from here.
    pub fn is_held(&self) -> bool {
        self.lease.loss().is_none()
    }

    /// Fails if the lock is lost. For use before each step that must not happen without it.
    pub fn check(&self) -> Result<(), Loss> {
        self.lease.loss().map_or(Ok(()), Err)
    }

    /// Until when the lock is promised, should no renewal succeed any more: the expiry, counted from before the
    /// last successful renewal was sent. Each renewal moves it.
    pub fn deadline(&self) -> Instant {
        self.lease.deadline().to_instant()
    }

    /// Resolves when the lock is lost, and never if it is released. It does not borrow the guard.
    pub fn lost(&self) -> impl Future<Output = Loss> + Send + 'static + use<> {
        let lease = Arc::clone(&self.lease);
        async move {
            lease.lost.cancelled().await;
            match lease.loss() {
                Some(loss) => loss,
                None => std::future::pending().await,
            }
        }
    }

    /// A token that is cancelled when the lock is lost, to stop the work that depends on it. Cancelling it
    /// yourself has no effect on the lock.
    pub fn cancellation_token(&self) -> CancellationToken {
        self.lease.lost.child_token()
    }

    /// Releases the lock.
    ///
    /// # Errors
    ///
    /// - [`Error::Lost`] if it was not held any more, so that no loss stays hidden.
    /// - [`Error::NotReleased`] if the server could not be told within 5 seconds, or something refuses it for 3
    ///   seconds. It says for how long the lock is still held, as nothing renews it any more; until then the release is
    ///   repeated in the background.
    pub async fn release(mut self) -> Result<(), Error> {
        let loss = self.check();
        let told = self.start_release();
        loss?;
        match told?.await {
            Ok(outcome) => outcome,
            Err(oneshot::error::RecvError { .. }) => Ok(()),
        }
    }

    pub(crate) fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }

    /// Leaves the locks as they are: nothing renews them from now on, and nothing releases them.
    pub(crate) fn forsake(mut self) {
        self.lease.ended.cancel();
        self.release = None;
    }

    fn start_release(&mut self) -> Result<oneshot::Receiver<Result<(), Error>>, Error> {
        let (tell, told) = oneshot::channel();
        if let Some(release) = self.release.take() {
            release.begin();
            self.lease.ended.cancel();
            let lease = Arc::clone(&self.lease);
            background::handle()?.spawn(async move {
                let work = release::in_background(Arc::clone(&lease), release);
                let outcome = match tokio::time::timeout(RELEASE_PATIENCE, work).await {
                    Ok(Ok(outcome)) => outcome,
                    Ok(Err(panicked)) => Err(Error::Thread(panicked.into())),
                    Err(late) => {
                        let url = lease.link.server().shown.clone();
                        let what = format!("the release at {url}");
                        let (sent, proxy, source) = (true, None, late.into());
                        Err(lease.not_released(Error::Unreachable { what, url, sent, proxy, source }))
                    }
                };
                // Whoever dropped the guard does not listen.
                let _ = tell.send(outcome);
            });
        }
        Ok(told)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // If even the thread is missing, the lock expires.
        let _ = self.start_release();
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Guard")
            .field("peer_id", &self.peer_id())
            .field("tokens", &self.tokens())
            .field("is_held", &self.is_held())
            .finish_non_exhaustive()
    }
}
