//! That this server of several still leads: the answers that wait for a confirmation, and the time that goes on with
//! them. What is decided of that is in [`Tenure`]; here are clocks and tasks.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use throttle_node::{Confirmation, Tenure};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};

/// How often a confirmation is asked for if no answer waits for one, so that time goes on.
const CONFIRM_EVERY: Duration = Duration::from_millis(300);
/// The pause after one that had no answer.
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// Whether a server still led after it had asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// It did.
    Yes,
    /// Another one leads, or nobody.
    Deposed,
    /// Nobody knows.
    Unknown,
}

/// This server does not lead any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deposed;

/// The term of a server that leads.
pub struct Lead {
    origin: Instant,
    tenure: Mutex<Tenure>,
    /// Told when somebody waits for a confirmation.
    asked: Notify,
    /// The last one that succeeded.
    succeeded: watch::Sender<Confirmation>,
    is_over: watch::Sender<bool>,
    /// How long an answer waits.
    pub(super) patience: Duration,
}

impl Lead {
    /// A server that leads from now on. Its answers wait for a confirmation as long as `patience`.
    pub fn new(patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            origin: Instant::now(),
            tenure: Mutex::new(Tenure::new(Duration::ZERO)),
            asked: Notify::new(),
            succeeded: watch::Sender::new(Confirmation::default()),
            is_over: watch::Sender::new(false),
            patience,
        })
    }

    fn tenure(&self) -> MutexGuard<'_, Tenure> {
        self.tenure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much of the time since it leads counts for leases.
    pub(super) fn counted(&self) -> Duration {
        self.tenure().counted(self.origin.elapsed())
    }

    /// How long it is since it was known that it leads.
    pub fn unconfirmed(&self) -> Duration {
        self.tenure().unconfirmed(self.origin.elapsed())
    }

    /// Waits until it is confirmed that this server led when this was called.
    ///
    /// # Errors
    ///
    /// If it does not lead any more.
    pub(super) async fn confirmed(&self) -> Result<(), Deposed> {
        let number = self.tenure().ask();
        self.asked.notify_one();
        let mut succeeded = self.succeeded.subscribe();
        tokio::select! {
            biased;
            confirmed = succeeded.wait_for(|last| *last >= number) => confirmed.map(drop).map_err(|_| Deposed),
            Deposed = self.over() => Err(Deposed),
        }
    }

    /// Asks for confirmations for as long as it leads. `confirm` asks for one.
    pub async fn run<F: Future<Output = Confirmed> + Send>(&self, mut confirm: impl FnMut() -> F + Send) {
        loop {
            if timeout(CONFIRM_EVERY, self.asked.notified()).await.is_err() {
                self.tenure().ask();
            }
            // In a statement of its own, so that the lock is let go.
            let mut begins = self.tenure().begin();
            while begins {
                let confirmed = confirm().await;
                if confirmed == Confirmed::Deposed {
                    return self.end();
                }
                let succeeded = {
                    let mut tenure = self.tenure();
                    tenure.end(self.origin.elapsed(), confirmed == Confirmed::Yes);
                    tenure.succeeded()
                };
                if confirmed == Confirmed::Yes {
                    self.succeeded.send_replace(succeeded);
                } else {
                    sleep(RETRY_AFTER).await;
                }
                begins = self.tenure().begin();
            }
        }
    }

    /// It does not lead any more, as somebody found out.
    pub fn end(&self) {
        self.is_over.send_replace(true);
    }

    /// Completes when it does not lead any more.
    pub async fn over(&self) -> Deposed {
        // The sender lives as long as this does.
        let _ = self.is_over.subscribe().wait_for(|is_over| *is_over).await;
        Deposed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn those_who_wait_at_the_same_time_share_a_confirmation() {
        let lead = Lead::new(Duration::from_secs(1));
        let (sent, answered) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (ran, count, answers) = (lead.clone(), sent.clone(), answered.clone());
        let task = tokio::spawn(async move {
            ran.run(|| async {
                count.fetch_add(1, Relaxed);
                answers.acquire().await.expect("open").forget();
                Confirmed::Yes
            })
            .await;
        });
        // The first one is under way, and says nothing of those who come then.
        while sent.load(Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        let waiting: Vec<_> = (0..100)
            .map(|_| {
                let lead = lead.clone();
                tokio::spawn(async move { lead.confirmed().await })
            })
            .collect();
        while lead.succeeded.receiver_count() < 100 {
            tokio::task::yield_now().await;
        }
        answered.add_permits(1);
        while sent.load(Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
        assert!(waiting.iter().all(|one| !one.is_finished()), "a confirmation that was sent before");
        answered.add_permits(1);
        for one in waiting {
            assert_eq!(one.await.expect("it ends"), Ok(()));
        }
        task.abort();
    }

    #[tokio::test]
    async fn once_it_is_deposed_nobody_waits() {
        let lead = Lead::new(Duration::from_secs(1));
        let waiting = lead.confirmed();
        let run = lead.run(|| async { Confirmed::Deposed });
        let (confirmed, ()) = tokio::join!(waiting, run);
        assert_eq!(confirmed, Err(Deposed));
        assert_eq!(lead.confirmed().await, Err(Deposed));
    }
}
