//! Asking for a lock.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    AcquireError, Blocker, Client, Error, Guard, Trouble,
    acquisition::{self, Caller, Plan},
    background, protocol,
};

const DEFAULT_TTL: Duration = Duration::from_mins(5);

/// What is called with the reason why a peer cannot be shared.
type OnNewPeer = Box<dyn FnMut(&str) + Send>;

/// What is called with the reason why a request is repeated, and with `None` when that is over.
type OnTrouble = Box<dyn FnMut(Option<Trouble>) + Send>;

/// A lock to be acquired: made by [`Client::lock`], completed by its methods, sent by [`LockRequest::acquire`].
#[must_use = "nothing is asked for until `acquire` is awaited"]
pub struct LockRequest {
    client: Client,
    wanted: Vec<(String, u64)>,
    ttl: Duration,
    patience: Option<Duration>,
    priority: i32,
    trace_parent: Option<Arc<str>>,
    on_wait: Option<Box<dyn FnMut(WaitingFor) + Send>>,
    on_new_peer: Option<OnNewPeer>,
    on_trouble: Option<OnTrouble>,
}

/// What a [`LockRequest`] waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitingFor {
    /// The semaphore.
    pub semaphore: String,
    /// The count that is asked for.
    pub count: u64,
    /// The id of the peer that waits, as the server knows it.
    pub peer_id: u64,
    /// When the wait began, by the clock of this machine.
    pub since: SystemTime,
    /// The place in the queue, counted from 1. `None` from servers up to 0.5.
    pub position: Option<u64>,
    /// How much longer it may take, judged by how long locks were held lately. `None` if there is nothing to judge
    /// by.
    pub estimated_wait: Option<Duration>,
    /// Who is in the way: the first ten. Empty from servers up to 0.5.
    pub blocked_by: Vec<Blocker>,
}

impl LockRequest {
    pub(crate) fn new(client: Client, semaphore: String) -> Self {
        let priority = client.background().settings.priority;
        let wanted = vec![(semaphore, 1)];
        Self {
            client,
            wanted,
            ttl: DEFAULT_TTL,
            patience: None,
            priority,
            trace_parent: None,
            on_wait: None,
            on_new_peer: None,
            on_trouble: None,
        }
    }

    /// How much of the semaphore that was named last to take; the default is 1.
    pub fn count(mut self, count: u64) -> Self {
        if let Some((_, last)) = self.wanted.last_mut() {
            *last = count;
        }
        self
    }

    /// Another semaphore, to be held together with the others: all of them are acquired, or none.
    ///
    /// They are one request, which holds nothing while it waits, so their order and their levels do not matter.
    ///
    /// A server up to 0.5 is asked for one after the other, in the order in which they are named: name them from
    /// high to low levels. There, two of one level cannot be held together, and the first is held while the second
    /// is waited for.
    pub fn and(mut self, semaphore: impl Into<String>, count: u64) -> Self {
        self.wanted.push((semaphore.into(), count));
        self
    }

    /// The expiry: how long the lock outlives a holder that died, and how long it can be held while the server
    /// is out of reach. It is renewed at a third of it. The default is 5 minutes. In a process that was started under
    /// a lock whose peer is shared, that one's counts.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// How long to wait for the grant; then [`AcquireError::NotAcquired`]. The default is to wait without end.
    pub fn wait(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// Do not wait: take it if it is free now.
    pub fn try_once(self) -> Self {
        self.wait(Duration::ZERO)
    }

    /// Who goes first of those who wait: the higher priority. Waiting outranks it with time, so nobody waits for
    /// ever. The default is that of the client, 0 if it has none; a server up to 0.5 has no priorities.
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// The span on whose behalf the lock is asked for, as [W3C Trace Context] writes it in the header `traceparent`:
    /// a server that sends traces lets its spans begin there. What is not written so is not sent.
    ///
    /// [W3C Trace Context]: https://www.w3.org/TR/trace-context/
    pub fn trace_parent(mut self, trace_parent: &str) -> Self {
        let is_sendable = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        self.trace_parent = trace_parent.bytes().all(is_sendable).then(|| trace_parent.into());
        self
    }

    /// Calls `tell` when the lock is not free at once, before the wait for it begins, and again when its place in the
    /// queue is found to be another, within about 10 seconds. It runs where `acquire` is awaited. With a server up to
    /// 0.5 it is called once for each semaphore that has to be waited for.
    pub fn on_wait(mut self, tell: impl FnMut(WaitingFor) + Send + 'static) -> Self {
        self.on_wait = Some(Box::new(tell));
        self
    }

    /// Calls `tell` with the reason if the environment names the peer of a lock around this process, but it cannot be
    /// shared, as it is gone. It runs where `acquire` is awaited, before the lock is asked for with a peer of its own.
    pub fn on_new_peer(mut self, tell: impl FnMut(&str) + Send + 'static) -> Self {
        self.on_new_peer = Some(Box::new(tell));
        self
    }

    /// Calls `tell` each time that the request is to be repeated because the server is out of reach or does not
    /// serve it at this moment, and with `None` once it does again. A wait that something between cuts is such a
    /// repeat, too, and is over a moment later. It runs where `acquire` is awaited.
    pub fn on_trouble(mut self, tell: impl FnMut(Option<Trouble>) + Send + 'static) -> Self {
        self.on_trouble = Some(Box::new(tell));
        self
    }

    /// Asks for the lock and waits for it. Needs no particular runtime.
    ///
    /// While the server is out of reach it is asked again, for as long as [`wait`](Self::wait) says, but for 2
    /// minutes at most ([`ClientBuilder::retry_for`](crate::ClientBuilder::retry_for)).
    ///
    /// Dropping the future withdraws the request, and releases what was granted, in the background.
    ///
    /// # Errors
    ///
    /// [`AcquireError::NotAcquired`] if the time is over, and [`AcquireError::Failed`] if the request failed. In
    /// both cases nothing is held and nothing is waited for any more.
    pub async fn acquire(self) -> Result<Guard, AcquireError> {
        self.validate()?;
        let Self { client, wanted, ttl, patience, priority, trace_parent, .. } = self;
        let (mut on_wait, mut on_new_peer, mut on_trouble) =
            (self.on_wait, self.on_new_peer, self.on_trouble);
        let (reply, mut replied) = oneshot::channel();
        let (waiting, mut waits) = mpsc::unbounded_channel();
        let (new_peer, mut new_peers) = mpsc::unbounded_channel();
        let (telling, mut troubles) = mpsc::unbounded_channel();
        let gone = CancellationToken::new();
        let release = Arc::default();
        let caller = Caller {
            reply,
            waiting: on_wait.is_some().then_some(waiting),
            new_peer: on_new_peer.is_some().then_some(new_peer),
            telling: on_trouble.is_some().then_some(telling),
            gone: gone.clone(),
            release: Arc::clone(&release),
        };
        let mut presence = Presence { gone, release: Some(release) };
        let plan = Plan { client, wanted, ttl, patience, priority, trace_parent };
        background::handle()?.spawn(acquisition::run(plan, caller));
        let outcome = loop {
            tokio::select! {
                biased;
                Some(why) = new_peers.recv() => {
                    if let Some(tell) = &mut on_new_peer {
                        tell(&why);
                    }
                }
                Some(waiting_for) = waits.recv() => {
                    if let Some(tell) = &mut on_wait {
                        tell(waiting_for);
                    }
                }
                Some(trouble) = troubles.recv() => {
                    if let Some(tell) = &mut on_trouble {
                        tell(trouble);
                    }
                }
                outcome = &mut replied => break outcome,
            }
        };
        presence.release = None;
        outcome.unwrap_or_else(|_| Err(background::no_answer().into()))
    }

    fn validate(&self) -> Result<(), Error> {
        check_ttl(self.ttl)?;
        for (index, (semaphore, count)) in self.wanted.iter().enumerate() {
            protocol::check_name(semaphore)?;
            if *count == 0 {
                return Err(Error::Configuration(format!(
                    "the count for {semaphore:?} is 0; a whole number from 1 on is needed"
                )));
            }
            if self.wanted.iter().skip(index + 1).any(|(other, _)| other == semaphore) {
                return Err(Error::Configuration(format!(
                    "{semaphore:?} is named twice; name it once, with the sum of the counts"
                )));
            }
        }
        Ok(())
    }
}

/// Checks that a lease has time to be renewed.
pub(crate) fn check_ttl(ttl: Duration) -> Result<(), Error> {
    if ttl.is_zero() {
        return Err(Error::Configuration(
            "the ttl is 0, so the lock would be gone at once; 30 s, say, keeps it for that long".to_owned(),
        ));
    }
    Ok(())
}

/// Tells the background thread when the caller goes away.
struct Presence {
    gone: CancellationToken,
    /// Of an attempt that is not over.
    release: Option<Arc<background::Release>>,
}

impl Drop for Presence {
    fn drop(&mut self) {
        if let Some(release) = &self.release {
            release.begin();
            self.gone.cancel();
        }
    }
}

impl fmt::Debug for LockRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LockRequest")
            .field("wanted", &self.wanted)
            .field("ttl", &self.ttl)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}
