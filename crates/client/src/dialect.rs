//! Which dialect a server speaks. `/v1` is tried first; a server that turns out not to have it is asked as the
//! servers up to 0.5 are. The servers of a cluster are of one kind.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use throttle_api::Peer;
use tokio_util::sync::CancellationToken;

use crate::{
    Error,
    clock::{Moment, now},
    delivery::Exchanged,
    protocol::{self, Request},
    transport::{Effort, Link},
    v1,
};

/// What is known of the server's dialect. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Dialect {
    is_old: Arc<AtomicBool>,
}

impl Dialect {
    /// Whether `/v1` is worth a try.
    pub(crate) fn may_be_v1(&self) -> bool {
        !self.is_old.load(Ordering::Relaxed)
    }

    /// The server has no `/v1`, and answered a request of the older dialect.
    pub(crate) fn is_old(&self) {
        self.is_old.store(true, Ordering::Relaxed);
    }
}

/// A peer that was made.
pub(crate) struct Made {
    pub(crate) peer: u64,
    pub(crate) exchanged: Exchanged,
}

/// What a new peer asks for.
pub(crate) struct Ask<'a> {
    pub(crate) locks: &'a [(String, u64)],
    pub(crate) priority: i32,
    pub(crate) ttl: Duration,
    /// How long the answer may be held back for a grant.
    pub(crate) wait: Option<Duration>,
}

/// What a heartbeat brought.
pub(crate) struct Beat {
    /// The id of the server's state.
    pub(crate) instance: Option<String>,
    /// The peer, from servers that show it.
    pub(crate) peer: Option<Peer>,
    /// When the request was sent that was answered.
    pub(crate) sent_at: Moment,
}

impl Link {
    /// Makes a peer. Stops after the attempt during which `stop` was cancelled.
    pub(crate) async fn create_peer(
        &self,
        ttl: Duration,
        effort: Effort,
        stop: &CancellationToken,
    ) -> Result<Made, Error> {
        if self.dialect.may_be_v1() {
            match self.create_labelled_peer(ttl, effort, stop).await {
                Err(error) if error.is_missing_route() => {}
                outcome => return outcome,
            }
        }
        self.create_classic_peer(ttl, effort, stop).await
    }

    /// Makes a peer as all servers can.
    pub(crate) async fn create_classic_peer(
        &self,
        ttl: Duration,
        effort: Effort,
        stop: &CancellationToken,
    ) -> Result<Made, Error> {
        let request = protocol::new_peer(ttl);
        let exchanged = self.exchange_until(&request, effort, stop).await?;
        let peer = exchanged.answer.parse(&request)?;
        self.dialect.is_old();
        Ok(Made { peer, exchanged })
    }

    async fn create_labelled_peer(
        &self,
        ttl: Duration,
        effort: Effort,
        stop: &CancellationToken,
    ) -> Result<Made, Error> {
        let (request, exchanged) =
            self.labelled(|labels, key| v1::new_peer(ttl, labels, key), effort, stop).await?;
        let peer: Peer = exchanged.answer.parse(&request)?;
        Ok(Made { peer: peer.id.0, exchanged })
    }

    /// Makes a peer with its first request for locks. Stops after the attempt during which `stop` was cancelled.
    /// [`Error::is_missing_route`] tells of a server that cannot do so.
    pub(crate) async fn create_peer_with_locks(
        &self,
        ask: &Ask<'_>,
        effort: Effort,
        stop: &CancellationToken,
    ) -> Result<Made, Error> {
        let Ask { locks, priority, ttl, wait } = *ask;
        let make =
            |labels: &BTreeMap<String, String>, key| v1::session(locks, priority, ttl, wait, labels, key);
        let (request, exchanged) = self.labelled(make, effort, stop).await?;
        let peer: Peer = exchanged.answer.parse(&request)?;
        Ok(Made { peer: peer.id.0, exchanged })
    }

    /// Sends a request that makes a peer with these labels, and with this key.
    async fn labelled(
        &self,
        make: impl Fn(&BTreeMap<String, String>, String) -> Request,
        effort: Effort,
        stop: &CancellationToken,
    ) -> Result<(Request, Exchanged), Error> {
        let known = &self.settings.labels;
        let mut labels = &known.all;
        loop {
            let request = make(labels, format!("{:032x}", fastrand::u128(..)));
            match self.exchange_until(&request, effort, stop).await {
                // It may allow fewer or shorter labels than usual, and nobody asked for these.
                Err(Error::Refused { status: 400, .. }) if labels.len() > known.own.len() => {
                    labels = &known.own;
                }
                // What a first request made had ended when a repeat of it arrived.
                Err(Error::UnknownPeer { .. }) => {}
                outcome => return Ok((request, outcome?)),
            }
        }
    }

    /// Moves the expiry of a peer.
    pub(crate) async fn heartbeat(&self, peer: u64, ttl: Duration, effort: Effort) -> Result<Beat, Error> {
        if self.dialect.may_be_v1() {
            let request = v1::heartbeat(peer, ttl);
            match self.exchange(&request, effort).await {
                Err(error) if error.is_missing_route() => {}
                exchanged => {
                    let Exchanged { answer, sent_at, .. } = exchanged?;
                    let peer = Some(answer.parse(&request)?);
                    return Ok(Beat { instance: answer.instance, peer, sent_at });
                }
            }
        }
        let exchanged = self.exchange(&protocol::heartbeat(peer, ttl), effort).await;
        if matches!(exchanged, Ok(_) | Err(Error::UnknownPeer { .. })) {
            self.dialect.is_old();
        }
        let Exchanged { answer, sent_at, .. } = exchanged?;
        Ok(Beat { instance: answer.instance, peer: None, sent_at })
    }

    /// Asks for one lock.
    pub(crate) async fn acquire_one(
        &self,
        peer: u64,
        (semaphore, count): (&str, u64),
        expires_in: Option<Duration>,
        block_for: Option<Duration>,
    ) -> Result<bool, Error> {
        let wanted = [(semaphore.to_owned(), count)];
        let end = now() + block_for.unwrap_or_default();
        let mut pending_in: Option<String> = None;
        loop {
            // What stands between may bear no such long wait, so it is made of several.
            let wait = block_for.map(|_| self.polls.bound(end.remaining()));
            let request =
                v1::acquire(peer, &wanted, 0, expires_in, wait.unwrap_or_default(), pending_in.as_deref());
            let classic = protocol::acquire(peer, semaphore, count, expires_in, wait);
            let asked_at = now();
            let Exchanged { answer, at_first_attempt, .. } = self.exchange_either(&request, &classic).await?;
            // A server that ends a wait early has its reasons, such as a lease that is over.
            let is_part = !at_first_attempt || asked_at.elapsed() >= request.block_for;
            if answer.is_granted() || !is_part || end.has_passed() {
                return Ok(answer.is_granted());
            }
            pending_in = answer.instance;
        }
    }

    /// Releases one lock, or withdraws the request for it.
    pub(crate) async fn release_lock(&self, peer: u64, semaphore: &str) -> Result<(), Error> {
        let request = v1::release(peer, &[semaphore]);
        self.exchange_either(&request, &protocol::release_lock(peer, semaphore)).await?;
        Ok(())
    }

    /// Sends a request of `/v1`, or to a server that does not have it the same in the older dialect.
    async fn exchange_either(&self, request: &Request, classic: &Request) -> Result<Exchanged, Error> {
        if self.dialect.may_be_v1() {
            match self.exchange(request, self.usual(request.block_for)).await {
                Err(error) if error.is_missing_route() => {}
                outcome => return outcome,
            }
        }
        let outcome = self.exchange(classic, self.usual(classic.block_for)).await;
        if matches!(&outcome, Err(error) if error.is_refusal()) || outcome.is_ok() {
            self.dialect.is_old();
        }
        outcome
    }

    /// What the server remembers of how a peer ended.
    pub(crate) async fn ending_of(&self, peer: u64, effort: Effort) -> Option<String> {
        if !self.dialect.may_be_v1() {
            return None;
        }
        match self.exchange(&v1::look(peer), effort).await {
            Err(Error::UnknownPeer { detail, .. }) => detail,
            _ => None,
        }
    }
}
