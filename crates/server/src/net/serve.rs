//! The accept loop: bounds on connections, and an orderly end.

use std::{
    io,
    net::IpAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hyper::{
    HeaderMap, Method, Request, Response,
    body::{Body, Incoming},
    server::conn::http1::Builder,
    service::Service,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite},
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};

use super::{
    accept::{Acceptor, Admission, Arrival, REFUSALS},
    budget::Budget,
    drive::{BoxError, Drain, End, Patience, Shared, drive},
    own_answers::OwnAnswers,
    refuse::{LINE_BYTES, PATIENCE, asks_as_probe, say},
    stream::{Listener, Reading, Stream, Writing},
    tls::{ClientName, Encrypted, NoTls, Tls},
    watched::Remote,
};
use crate::config::Limits;

/// Files that this process needs besides its connections.
const OTHER_FILES: u64 = 64 + REFUSALS as u64;
/// The least buffer that a connection may fill, in bytes.
const MIN_BUFFER: usize = 32 * 1024;

/// How connections are served.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Connections that are served at the same time; one more is answered 503. See [`capacity`].
    pub connections: usize,
    /// Connections of one address that are served at the same time; 0: as many as there may be.
    pub connections_per_address: usize,
    /// The largest head, in bytes.
    pub head_bytes: usize,
    /// The time in which a head must arrive, and a new connection must send one.
    pub head_timeout: Duration,
    /// What all requests and answers on their way may have beyond 2 KiB each.
    pub buffers: Arc<Budget>,
    /// The time in which an answer must be taken, or each part of one that goes on.
    pub answer_timeout: Duration,
    /// The time a connection may be open between requests.
    pub idle_timeout: Duration,
    /// The time that requests get to end at shutdown.
    pub grace: Duration,
    /// Which requests are answered though all connections are in use: those that ask whether the server lives.
    pub is_probe: fn(&Method, &str) -> bool,
    /// How connections are encrypted, if they are.
    pub tls: Option<Arc<Tls>>,
    /// Whether requests are told where they come from.
    pub tells_address: bool,
    /// Headers of the answers that are given here, before a request has reached the service.
    pub headers: HeaderMap,
    /// What happens is counted here.
    pub stats: Arc<NetStats>,
}

impl From<&Limits> for Settings {
    fn from(limits: &Limits) -> Self {
        Self {
            connections: limits.connections,
            connections_per_address: limits.connections_per_address,
            head_bytes: limits.head_bytes,
            head_timeout: limits.head_timeout,
            buffers: Budget::new(limits.buffer_bytes),
            answer_timeout: limits.answer_timeout,
            idle_timeout: limits.idle_timeout,
            grace: Duration::from_millis(800),
            is_probe: |_, _| false,
            tls: None,
            tells_address: false,
            headers: HeaderMap::new(),
            stats: Arc::default(),
        }
    }
}

/// What happened on the network since the start.
#[derive(Debug, Default)]
pub struct NetStats {
    accepted: AtomicU64,
    closed: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) refused_by_address: AtomicU64,
    malformed: AtomicU64,
    head_timeouts: AtomicU64,
    answer_timeouts: AtomicU64,
    too_much: AtomicU64,
    handshakes_failed: AtomicU64,
    pub(super) accept_errors: AtomicU64,
}

impl NetStats {
    /// Connections that are open now, without those that are being refused.
    pub fn open(&self) -> u64 {
        let closed = self.closed.load(Relaxed);
        self.accepted.load(Relaxed).saturating_sub(closed)
    }

    /// Connections that were served.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Connections that were refused because too many were open.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Connections that were refused because too many of their address were open.
    pub fn refused_by_address(&self) -> u64 {
        self.refused_by_address.load(Relaxed)
    }

    /// Connections that ended with a request that is not HTTP.
    pub fn malformed(&self) -> u64 {
        self.malformed.load(Relaxed)
    }

    /// Connections that ended because a head did not arrive in time.
    pub fn head_timeouts(&self) -> u64 {
        self.head_timeouts.load(Relaxed)
    }

    /// Connections that ended because an answer was not taken in time.
    pub fn answer_timeouts(&self) -> u64 {
        self.answer_timeouts.load(Relaxed)
    }

    /// Connections that ended because there was no room for a request or its answer.
    pub fn too_much(&self) -> u64 {
        self.too_much.load(Relaxed)
    }

    /// Connections that ended because client and server did not agree on keys.
    pub fn handshakes_failed(&self) -> u64 {
        self.handshakes_failed.load(Relaxed)
    }

    /// Times that the system could not give a connection.
    pub fn accept_errors(&self) -> u64 {
        self.accept_errors.load(Relaxed)
    }

    fn count(&self, end: &End) {
        match end {
            End::Malformed => self.malformed.fetch_add(1, Relaxed),
            End::HeadTimeout => self.head_timeouts.fetch_add(1, Relaxed),
            End::AnswerTimeout => self.answer_timeouts.fetch_add(1, Relaxed),
            End::TooMuch => self.too_much.fetch_add(1, Relaxed),
            End::Done | End::Lost | End::IdleTimeout => 0,
        };
    }
}

/// The connections to serve at most, if `configured` are wanted and the process may open `open_files` files.
pub fn capacity(configured: usize, open_files: Option<u64>) -> usize {
    let files = open_files.map(|files| files.saturating_sub(OTHER_FILES).max(16));
    let files = files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
    configured.min(files).min(Semaphore::MAX_PERMITS).min(u32::MAX as usize)
}

/// Serves HTTP/1.1 until `shutdown` completes; then stops to accept, ends what is idle, and gives the requests
/// that are being answered the grace of the settings. Returns when all are done or the grace is over.
///
/// A `tower` service such as an axum router goes into `hyper_util::service::TowerToHyperService`.
pub async fn serve<S, B>(
    listener: impl Into<Listener>,
    service: S,
    settings: Settings,
    shutdown: impl Future<Output = ()>,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let listener = listener.into();
    let total = capacity(settings.connections, None);
    let all = Arc::new(Connections::new(&settings));
    let mut acceptor = Acceptor::new(total, settings.connections_per_address);
    let mut shutdown = pin!(shutdown);
    loop {
        let arrived = tokio::select! {
            biased;
            () = &mut shutdown => break,
            arrived = acceptor.next(&listener, &all.stats) => arrived,
        };
        let Some(Arrival { stream, address, terms, place }) = arrived else { continue };
        let (service, all, is_probe) = (service.clone(), Arc::clone(&all), settings.is_probe);
        if terms == Admission::Served {
            all.stats.accepted.fetch_add(1, Relaxed);
            tokio::spawn(async move {
                connection(stream, address, service, &all).await;
                drop(place);
            });
        } else {
            tokio::spawn(async move {
                refused(stream, address, terms, service, is_probe, &all).await;
                drop(place);
            });
        }
    }
    drop(listener);
    all.shared.drain.begin();
    let all = u32::try_from(total).unwrap_or(u32::MAX);
    let _ = timeout(settings.grace, acceptor.slots.acquire_many(all)).await;
}

/// Serves one connection that is there already, to its end.
pub async fn converse<R, W, S, B>(read: R, write: W, service: S, settings: &Settings)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    let Connections { usual, shared, stats, .. } = &Connections::new(settings);
    stats.count(&drive(read, write, service, Remote::default(), &usual.http, usual.patience, shared).await);
}

/// A connection that has begun, and whose certificate came with it.
struct Opened {
    read: Reading,
    write: Writing,
    client: Option<ClientName>,
}

/// How a connection is served.
struct Terms {
    http: Builder,
    patience: Patience,
}

struct Connections {
    usual: Terms,
    /// For one request, while all connections are in use.
    brief: Terms,
    shared: Shared,
    tls: Option<Arc<Tls>>,
    tells_address: bool,
    stats: Arc<NetStats>,
}

impl Connections {
    /// The other end of a connection, as far as requests are to tell of it.
    fn remote(&self, name: Option<ClientName>, address: Option<IpAddr>) -> Remote {
        Remote { name, address: address.filter(|_| self.tells_address) }
    }

    /// Begins a connection: a port has them encrypted, if so is said; a Unix domain socket never.
    async fn open(&self, stream: Stream, until: Option<Instant>) -> Result<Opened, End> {
        match (stream, &self.tls) {
            (Stream::Tcp(stream), None) => {
                let (read, write) = stream.into_split();
                Ok(Opened { read: Box::new(read), write: Box::new(write), client: None })
            }
            (Stream::Local(stream), _) => {
                let (read, write) = stream.split();
                Ok(Opened { read: Box::new(read), write: Box::new(write), client: None })
            }
            (Stream::Tcp(stream), Some(tls)) => match tls.accept(stream, until).await {
                Ok(Encrypted { read, write, client }) => {
                    Ok(Opened { read: Box::new(read), write: Box::new(write), client })
                }
                Err(failed) => Err(self.without_tls(failed).await),
            },
        }
    }

    /// Ends a connection that is not encrypted; a client that speaks plain HTTP is told so.
    async fn without_tls(&self, failed: NoTls) -> End {
        self.stats.handshakes_failed.fetch_add(1, Relaxed);
        if let NoTls::Plain(stream) = failed {
            let (read, write) = stream.into_split();
            let _ = timeout(PATIENCE, say(read, write, &self.shared.own.https_only())).await;
        }
        End::Lost
    }

    fn new(settings: &Settings) -> Self {
        let mut http = Builder::new();
        // Hyper's own timeout cannot tell an idle connection from a slow head, so the driver has its own.
        http.header_read_timeout(None).max_header_size(settings.head_bytes);
        // By itself hyper would buffer some 400 KB of what it cannot pass on yet.
        http.max_buf_size(settings.head_bytes.max(MIN_BUFFER));
        http.auto_date_header(false);
        let mut brief = http.clone();
        brief.keep_alive(false);
        Self {
            usual: Terms {
                http,
                patience: Patience {
                    head: settings.head_timeout,
                    answer: settings.answer_timeout,
                    idle: settings.idle_timeout,
                },
            },
            brief: Terms {
                http: brief,
                patience: Patience { head: PATIENCE, answer: PATIENCE, idle: PATIENCE },
            },
            shared: Shared {
                drain: Drain::default(),
                budget: settings.buffers.clone(),
                own: OwnAnswers::new(&settings.headers),
            },
            tls: settings.tls.clone(),
            tells_address: settings.tells_address,
            stats: Arc::clone(&settings.stats),
        }
    }
}

/// Serves a connection to its end.
async fn connection<S, B>(stream: Stream, address: Option<IpAddr>, service: S, all: &Connections)
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    let Connections { usual: Terms { http, patience }, shared, stats, .. } = all;
    let end = match (stream, &all.tls) {
        (Stream::Tcp(stream), None) => {
            let (read, write) = stream.into_split();
            drive(read, write, service, all.remote(None, address), http, *patience, shared).await
        }
        // In a box, so that connections of the usual kind need no room for it.
        (stream, _) => match Box::pin(all.open(stream, None)).await {
            Ok(Opened { read, write, client }) => {
                Box::pin(drive(read, write, service, all.remote(client, address), http, *patience, shared))
                    .await
            }
            Err(end) => end,
        },
    };
    stats.count(&end);
    stats.closed.fetch_add(1, Relaxed);
}

/// Answers a connection for which there is no room, if it asks whether the server lives; else it is told so.
async fn refused<S, B>(
    stream: Stream,
    address: Option<IpAddr>,
    admission: Admission,
    service: S,
    is_probe: fn(&Method, &str) -> bool,
    all: &Connections,
) where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    let Connections { brief: Terms { http, patience }, shared, stats, .. } = all;
    let until = Instant::now() + PATIENCE;
    let Ok(Opened { mut read, write, client }) = all.open(stream, Some(until)).await else { return };
    // Clients take an answer that comes before their request for a broken connection.
    let mut first = [0; LINE_BYTES];
    let length = timeout_at(until, read.read(&mut first)).await.map_or(0, Result::unwrap_or_default);
    let first = first.get(..length).unwrap_or_default().to_vec();
    if asks_as_probe(&first, is_probe) {
        stats.accepted.fetch_add(1, Relaxed);
        let read = io::Cursor::new(first).chain(read);
        let end = drive(read, write, service, all.remote(client, address), http, *patience, shared).await;
        stats.count(&end);
        stats.closed.fetch_add(1, Relaxed);
        return;
    }
    let answer = if admission == Admission::FullForAddress {
        shared.own.too_many_of_address()
    } else {
        stats.refused.fetch_add(1, Relaxed);
        shared.own.too_many_connections()
    };
    let _ = timeout_at(until, say(read, write, &answer)).await;
}
