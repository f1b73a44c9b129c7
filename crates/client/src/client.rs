//! The HTTP interface itself, one method for each route.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    ClientBuilder, Error, Events, LockRequest, dialect::Dialect, protocol, servers::Favourite,
    settings::Settings, tls, transport::Link, v1,
};

/// A client of one server, or of the servers of one cluster.
///
/// [`Client::lock`] is what nearly every program needs: it holds a lock, renews it and releases it. The other
/// methods are the server's routes; nothing renews a peer that was made with them.
///
/// Of several servers ([`ClientBuilder::url`]) the one that answered last is asked. One that is out of reach, or
/// answers that it does not serve at this moment (503), is passed over at once; once each was asked in vain there is a
/// pause. A server that redirects to another one of the list (307) is followed there.
///
/// Clones share their connections, and what they know of the servers. Each method repeats its request while the server
/// is out of reach or busy ([`ClientBuilder::retry_for`]), if it can be repeated safely. They need a tokio runtime;
/// [`Client::lock`] does not.
///
/// What only `/v1` of a server has is used where it is there; a server up to 0.5 is asked in its own dialect, and
/// the client remembers that it is one.
#[derive(Clone)]
pub struct Client {
    link: Link,
    /// The connections of the thread that renews: those above would not be served by a runtime that is blocked.
    background: Link,
}

/// A peer, as the server lists it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct PeerDescription {
    /// The id.
    pub id: u64,
}

impl Client {
    /// A client of the server at `url`; `localhost:8000` means `http://localhost:8000`, and servers of one cluster have
    /// commas between them. All else comes from the environment, see [`Client::builder`].
    pub fn new(url: impl AsRef<str>) -> Result<Self, Error> {
        Self::builder().url(url).build()
    }

    /// A client of the server that `THROTTLE_URL` names, with `THROTTLE_TOKEN` or `THROTTLE_TOKEN_FILE` and
    /// `THROTTLE_CACERT` if they are set.
    pub fn from_env() -> Result<Self, Error> {
        Self::builder().build()
    }

    /// Settings by hand. What is not set comes from the environment.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    pub(crate) fn with_settings(settings: Settings) -> Result<Self, Error> {
        let tls = tls::configuration(&settings)?;
        let settings = Arc::new(settings);
        let (dialect, favourite) = (Dialect::default(), Favourite::default());
        Ok(Self {
            link: Link::new(Arc::clone(&settings), dialect.clone(), favourite.clone(), tls.clone())?,
            background: Link::new(settings, dialect, favourite, tls)?,
        })
    }

    /// The server's URL, without a slash at the end, and without a password. Those of several have commas between them.
    pub fn url(&self) -> &str {
        self.link.settings.servers.shown()
    }

    pub(crate) fn background(&self) -> &Link {
        &self.background
    }

    /// A lock on a semaphore, still to be acquired: it renews itself and is released when it is dropped.
    ///
    /// ```no_run
    /// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = throttle_client::Client::new("http://localhost:8000")?;
    /// let guard = client.lock("A").acquire().await?;
    /// // Here are at most as many processes at once as semaphore A allows.
    /// guard.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn lock(&self, semaphore: impl Into<String>) -> LockRequest {
        LockRequest::new(self.clone(), semaphore.into())
    }

    /// Creates a peer that the server removes when it hears nothing of it for `expires_in`, and returns its id.
    ///
    /// To a server up to 0.5 this is not repeated once it was sent, for it may have been done. A peer left behind
    /// that way holds nothing and expires by itself.
    pub async fn new_peer(&self, expires_in: Duration) -> Result<u64, Error> {
        let (effort, never) = (self.link.usual(Duration::ZERO), CancellationToken::new());
        Ok(self.link.create_peer(expires_in, effort, &never).await?.peer)
    }

    /// Ends a peer and releases all it holds and waits for. Succeeds also if the server does not know it.
    pub async fn release(&self, peer_id: u64) -> Result<(), Error> {
        self.link.call(&protocol::release_peer(peer_id)).await?;
        Ok(())
    }

    /// Asks for a lock, and returns whether it is acquired. If it is not, the request stays in the queue.
    ///
    /// With `block_for` the answer comes the moment it is granted, or when that time is over. `expires_in` moves
    /// the expiry of the peer. Asking again for the same count is harmless and tells the state of the lock.
    pub async fn acquire(
        &self,
        peer_id: u64,
        semaphore: &str,
        count: u32,
        expires_in: Option<Duration>,
        block_for: Option<Duration>,
    ) -> Result<bool, Error> {
        protocol::check_name(semaphore)?;
        self.link.acquire_one(peer_id, (semaphore, count.into()), expires_in, block_for).await
    }

    /// Sends one request of `/v1` as it is, and returns the JSON of its answer, null if there is none. `path` begins
    /// with `/v1/`, and its parts are percent-encoded. Names of semaphores belong into its query or the body: a proxy
    /// may decode what is encoded before that.
    ///
    /// # Errors
    ///
    /// [`Error::Problem`] if the server refuses it, [`Error::Unreachable`] if it is out of reach. Nothing is repeated,
    /// but at the next of several servers: a `GET`, or what certainly did not happen.
    pub async fn send(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, Error> {
        let request = protocol::raw(method, path, body)?;
        self.link.once(&request).await?.json(&request)
    }

    /// Asks whether a server is ready for requests (`/readyz`), and returns what it says.
    ///
    /// # Errors
    ///
    /// [`Error::Problem`] if it is not, with the reason; [`Error::Unreachable`] if it is out of reach. Nothing is
    /// repeated, but at the next of several servers: one that is ready is enough.
    pub async fn ready(&self) -> Result<String, Error> {
        self.probe("/readyz").await
    }

    /// Asks whether the process of a server lives (`/livez`), be it ready or not. All else is as for
    /// [`ready`](Self::ready).
    pub async fn live(&self) -> Result<String, Error> {
        self.probe("/livez").await
    }

    async fn probe(&self, path: &str) -> Result<String, Error> {
        let request = protocol::raw("GET", path, None)?;
        self.link.once(&request).await?.line(&request)
    }

    /// Opens a stream of what happens on the server. `path` begins with `/v1/events`, and may have a query.
    ///
    /// # Errors
    ///
    /// [`Error::Problem`] if the server refuses it, [`Error::Unreachable`] if it is out of reach. Nothing is repeated,
    /// but at the next of several servers. A stream that ends is not taken up again: open another one, which begins at
    /// the next server if this one is gone.
    pub async fn events(&self, path: &str) -> Result<Events, Error> {
        self.link.listen(&protocol::raw("GET", path, None)?).await
    }

    /// The time by the server's clock, which the times in its answers go by, as far as its last answer tells: to
    /// about a second. Before that, the time of this machine.
    pub fn server_time(&self) -> SystemTime {
        self.link.server_time.now()
    }

    /// Whether the peer waits for nothing.
    pub async fn is_acquired(&self, peer_id: u64) -> Result<bool, Error> {
        let request = protocol::is_acquired(peer_id);
        self.link.call(&request).await?.parse(&request)
    }

    /// What is left of a semaphore; negative when restored peers overcommit it.
    pub async fn remainder(&self, semaphore: &str) -> Result<i64, Error> {
        let request = protocol::remainder(semaphore);
        self.link.call(&request).await?.parse(&request)
    }

    /// Whether the grant that this fencing token belongs to is live: what a resource asks that is protected by a
    /// semaphore whose `max` is above 1.
    ///
    /// # Errors
    ///
    /// [`Error::Server`] with status 404 from a server up to 0.5, which cannot tell.
    pub async fn is_token_live(&self, semaphore: &str, token: u64) -> Result<bool, Error> {
        protocol::check_name(semaphore)?;
        match self.link.call(&v1::token(semaphore, token)).await {
            Ok(_) => Ok(true),
            Err(Error::Refused { status: 410, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Brings a peer back that the server forgot, with the locks that it holds; they count even beyond `max`.
    ///
    /// Only safe if the server lost its state since they were granted. If it did not, it ended this peer on
    /// purpose and someone else may hold the locks. A [`Guard`](crate::Guard) tells the cases apart.
    pub async fn restore(
        &self,
        peer_id: u64,
        acquired: &HashMap<String, u32>,
        expires_in: Duration,
    ) -> Result<(), Error> {
        let request = protocol::restore(peer_id, acquired, expires_in, &BTreeMap::new(), &BTreeMap::new());
        self.link.call(&request).await?;
        Ok(())
    }

    /// Tells the server that the peer is alive: it expires `expires_in` from now.
    pub async fn heartbeat(&self, peer_id: u64, expires_in: Duration) -> Result<(), Error> {
        self.link.heartbeat(peer_id, expires_in, self.link.usual(Duration::ZERO)).await?;
        Ok(())
    }

    /// Releases one lock of a peer, or withdraws the request for it. Succeeds also if there is none.
    pub async fn release_lock(&self, peer_id: u64, semaphore: &str) -> Result<(), Error> {
        protocol::check_name(semaphore)?;
        self.link.release_lock(peer_id, semaphore).await
    }

    /// All peers that the server knows.
    pub async fn list_of_peers(&self) -> Result<Vec<PeerDescription>, Error> {
        let request = protocol::list_of_peers();
        self.link.call(&request).await?.parse(&request)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the token.
        formatter.debug_struct("Client").field("url", &self.url()).finish_non_exhaustive()
    }
}
