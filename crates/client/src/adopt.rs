//! Taking over a lock that another process has acquired, and leaving one to another process.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};

use crate::{
    Client, Error, Guard, Trouble, background, clock::now, delivery::Exchanged, dialect::Beat, lease::Lease,
    lock::check_ttl, renewal, transport::Effort, trouble::Telling, v1,
};

/// Takes the peer over and tells the caller. Runs on the background thread.
async fn run(
    client: Client,
    peer: u64,
    ttl: Duration,
    telling: Telling,
    reply: oneshot::Sender<Result<Guard, Error>>,
) {
    // A caller who went away has taken nothing over.
    if let Err(Ok(guard)) = reply.send(adopt(&client, peer, ttl, telling).await) {
        guard.forsake();
    }
}

async fn adopt(client: &Client, peer: u64, ttl: Duration, telling: Telling) -> Result<Guard, Error> {
    let link = client.background().traced(None);
    let request = v1::heartbeat(peer, ttl);
    let asking = link.clone().telling(Some(telling));
    let Exchanged { answer, sent_at, .. } = asking.exchange(&request, link.usual(Duration::ZERO)).await?;
    let held: Vec<_> = v1::all_held(&answer.parse(&request)?).collect();
    if held.is_empty() {
        return Err(Error::NothingHeld { peer_id: peer, url: link.server().shown.clone() });
    }
    let lease = Arc::new(Lease::new(link, peer, ttl, sent_at, answer.instance));
    for (semaphore, held) in &held {
        lease.grant(semaphore, held.count, held.token);
    }
    renewal::start(&lease);
    let known: BTreeMap<_, _> =
        held.iter().filter_map(|(name, held)| Some((name.clone(), held.token?))).collect();
    let tokens = held.into_iter().map(|(name, held)| (name, held.token)).collect();
    Ok(Guard::new(lease, tokens, known))
}

/// Renews a lease for the last time, so that whoever takes it over has all of it.
async fn renew(lease: &Lease) -> Result<(), Error> {
    lease.check()?;
    let patience = lease.deadline().remaining().min(lease.link.settings.retry_for);
    let effort = Effort { until: now() + patience, limit: lease.attempt_limit() };
    let Beat { instance, sent_at, .. } = lease.link.heartbeat(lease.peer, lease.ttl, effort).await?;
    lease.confirm(sent_at, instance);
    Ok(())
}

impl Client {
    /// Takes over the locks that a peer holds, as another process left them ([`Guard::hand_over`], `throttle acquire`):
    /// the peer is renewed from now on, released at the end, and its loss is told. `ttl` is its expiry from now on; the
    /// process that had it before must not renew or release it any more.
    ///
    /// ```no_run
    /// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = throttle_client::Client::from_env()?;
    /// let peer_id = std::env::var("THROTTLE_PEER_ID")?.parse()?;
    /// let guard = client.adopt(peer_id, std::time::Duration::from_secs(30)).await?;
    /// // The work is done here; another process has waited for the lock.
    /// guard.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::UnknownPeer`] if it expired or was released, [`Error::NothingHeld`] if it holds no lock, and
    /// [`Error::Server`] with status 404 from a server up to 0.5, which cannot tell what a peer holds. If the future
    /// is dropped before it is ready, the peer is left as it is, with `ttl` to live at most.
    pub async fn adopt(&self, peer_id: u64, ttl: Duration) -> Result<Guard, Error> {
        self.adopt_telling(peer_id, ttl, drop).await
    }

    /// The same, but calls `tell` while the server is out of reach, as
    /// [`LockRequest::on_trouble`](crate::LockRequest::on_trouble) does.
    ///
    /// # Errors
    ///
    /// As [`Client::adopt`] has them.
    pub async fn adopt_telling(
        &self,
        peer_id: u64,
        ttl: Duration,
        mut tell: impl FnMut(Option<Trouble>),
    ) -> Result<Guard, Error> {
        check_ttl(ttl)?;
        let (reply, mut replied) = oneshot::channel();
        let (telling, mut troubles) = mpsc::unbounded_channel();
        background::handle()?.spawn(run(self.clone(), peer_id, ttl, telling, reply));
        loop {
            tokio::select! {
                biased;
                Some(trouble) = troubles.recv() => tell(trouble),
                outcome = &mut replied => return outcome.unwrap_or_else(|_| Err(background::no_answer())),
            }
        }
    }
}

impl Guard {
    /// Leaves the locks held, for another process to take over ([`Client::adopt`], `throttle run --peer`) or to release
    /// ([`Client::release`], `throttle release`). Returns the id of the peer.
    ///
    /// The peer is renewed once more. Nothing here renews it after that, so the locks are free after [`Guard::ttl`] if
    /// nobody takes over.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`] if the locks were not held any more, [`Error::Configuration`] if the peer belongs to a lock
    /// around this process. After an error the locks are released in the background.
    pub async fn hand_over(self) -> Result<u64, Error> {
        if self.is_shared() {
            return Err(Error::Configuration(
                "the peer belongs to a lock around this process, which releases it; to hand one over, make a client \
                 whose peers are its own (`ClientBuilder::new_peers`)"
                    .to_owned(),
            ));
        }
        let (reply, replied) = oneshot::channel();
        let lease = Arc::clone(self.lease());
        background::handle()?.spawn(async move {
            // Whoever went away has dropped the guard, which releases the locks.
            let _ = reply.send(renew(&lease).await);
        });
        replied.await.unwrap_or_else(|_| Err(background::no_answer()))?;
        let (peer, batches) = (self.peer_id(), self.lease().link.batches.clone());
        self.forsake();
        // What renews it with others must not come after the renewals of whoever takes over.
        batches.settled(peer).await;
        Ok(peer)
    }
}
