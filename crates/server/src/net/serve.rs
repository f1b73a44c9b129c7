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
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::warn;

use super::{
    budget::Budget,
    drive::{BoxError, Drain, End, Patience, Shared, drive},
    own_answers::OwnAnswers,
    refuse::{LINE_BYTES, PATIENCE, asks_as_probe, is_answered, refuse, say},
    tls::{Encrypted, NoTls, Tls},
    watched::Remote,
};
use crate::config::Limits;

/// Clients that come at the same time while all connections are in use: each is refused within half a second, and a
/// probe has as long again for its request and for its answer.
const REFUSALS: usize = 128;
/// Files that this process needs besides its connections.
const OTHER_FILES: u64 = 64 + REFUSALS as u64;
/// The least buffer that a connection may fill, in bytes.
const MIN_BUFFER: usize = 32 * 1024;
/// A client that is silent, as one that waits, is asked after half a minute whether it is still there. It is gone if it
/// gives no sign of life for another.
const KEEP_ALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(30))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);
/// The pause after the system could not give a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The least time between two records about the same trouble.
const WARNING_PAUSE: Duration = Duration::from_mins(1);

/// How connections are served.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Connections that are served at the same time; one more is answered 503. See [`capacity`].
    pub connections: usize,
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
    refused: AtomicU64,
    malformed: AtomicU64,
    head_timeouts: AtomicU64,
    answer_timeouts: AtomicU64,
    too_much: AtomicU64,
    handshakes_failed: AtomicU64,
    accept_errors: AtomicU64,
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
    listener: TcpListener,
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
    let total = capacity(settings.connections, None);
    let all = Arc::new(Connections::new(&settings));
    let mut acceptor = Acceptor {
        slots: Arc::new(Semaphore::new(total)),
        refusals: Arc::new(Semaphore::new(REFUSALS)),
        total,
        full_warning: Cooldown::default(),
        error_warning: Cooldown::default(),
    };
    let mut shutdown = pin!(shutdown);
    loop {
        let arrived = tokio::select! {
            biased;
            () = &mut shutdown => break,
            arrived = acceptor.next(&listener, &all.stats) => arrived,
        };
        match arrived {
            Some(Arrival::Served(stream, slot)) => {
                all.stats.accepted.fetch_add(1, Relaxed);
                let (service, all) = (service.clone(), Arc::clone(&all));
                tokio::spawn(async move {
                    connection(stream, service, &all.usual, &all).await;
                    drop(slot);
                });
            }
            Some(Arrival::Refused(stream, place)) => {
                let (service, all, is_probe) = (service.clone(), Arc::clone(&all), settings.is_probe);
                tokio::spawn(async move {
                    refused(stream, service, is_probe, &all).await;
                    drop(place);
                });
            }
            None => {}
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
    /// The address of a client, if requests are to tell it.
    fn address_of(&self, stream: &TcpStream) -> Option<IpAddr> {
        stream.peer_addr().ok().filter(|_| self.tells_address).map(|address| address.ip())
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
async fn connection<S, B>(stream: TcpStream, service: S, terms: &Terms, all: &Connections)
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    let Connections { shared, stats, .. } = all;
    let address = all.address_of(&stream);
    let end = match &all.tls {
        None => {
            let (read, write) = stream.into_split();
            drive(read, write, service, Remote { name: None, address }, &terms.http, terms.patience, shared)
                .await
        }
        // In a box, so that connections that are not encrypted need no room for it.
        Some(tls) => match Box::pin(tls.accept(stream, None)).await {
            Ok(Encrypted { read, write, client: name }) => {
                let remote = Remote { name, address };
                Box::pin(drive(read, write, service, remote, &terms.http, terms.patience, shared)).await
            }
            Err(failed) => all.without_tls(failed).await,
        },
    };
    stats.count(&end);
    stats.closed.fetch_add(1, Relaxed);
}

/// Answers a connection for which there is no room, if it asks whether the server lives; else it is told so.
async fn refused<S, B>(stream: TcpStream, service: S, is_probe: fn(&Method, &str) -> bool, all: &Connections)
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    let until = Instant::now() + PATIENCE;
    let Some(tls) = &all.tls else {
        if is_answered(&stream, is_probe, until).await {
            all.stats.accepted.fetch_add(1, Relaxed);
            connection(stream, service, &all.brief, all).await;
        } else {
            all.stats.refused.fetch_add(1, Relaxed);
            refuse(stream, &all.shared.own, until).await;
        }
        return;
    };
    let address = all.address_of(&stream);
    match Box::pin(tls.accept(stream, Some(until))).await {
        Ok(Encrypted { mut read, write, client: name }) => {
            let mut first = [0; LINE_BYTES];
            let length = timeout_at(until, read.read(&mut first)).await.map_or(0, Result::unwrap_or_default);
            let first = first.get(..length).unwrap_or_default().to_vec();
            if asks_as_probe(&first, is_probe) {
                all.stats.accepted.fetch_add(1, Relaxed);
                let read = io::Cursor::new(first).chain(read);
                let Terms { http, patience } = &all.brief;
                all.stats.count(
                    &Box::pin(drive(
                        read,
                        write,
                        service,
                        Remote { name, address },
                        http,
                        *patience,
                        &all.shared,
                    ))
                    .await,
                );
                all.stats.closed.fetch_add(1, Relaxed);
            } else {
                all.stats.refused.fetch_add(1, Relaxed);
                let _ = timeout_at(until, say(read, write, &all.shared.own.too_many_connections())).await;
            }
        }
        Err(failed) => _ = all.without_tls(failed).await,
    }
}

enum Arrival {
    Served(TcpStream, OwnedSemaphorePermit),
    Refused(TcpStream, OwnedSemaphorePermit),
}

/// Takes connections up to a limit, and refuses those beyond it.
struct Acceptor {
    slots: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    total: usize,
    full_warning: Cooldown,
    error_warning: Cooldown,
}

impl Acceptor {
    /// The next connection; `None` if the system had none to give after all.
    async fn next(&mut self, listener: &TcpListener, stats: &NetStats) -> Option<Arrival> {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                self.failed(&error, stats).await;
                return None;
            }
        };
        // Both fail only on a connection that is already gone, which then shows when it is read.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&KEEP_ALIVE);
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Some(Arrival::Served(stream, slot));
        }
        if self.full_warning.is_due() {
            warn!(
                target: "throttle",
                limit = self.total,
                "All connections are in use; further ones are answered 503. Raise limits.connections, and the \
                 limit of open files, if they are needed."
            );
        }
        // With every place taken, whoever connects has to wait for one in the backlog.
        tokio::select! {
            biased;
            Ok(slot) = Arc::clone(&self.slots).acquire_owned() => Some(Arrival::Served(stream, slot)),
            Ok(place) = Arc::clone(&self.refusals).acquire_owned() => Some(Arrival::Refused(stream, place)),
            else => None,
        }
    }

    async fn failed(&mut self, error: &io::Error, stats: &NetStats) {
        // These concern the one connection that is lost, not the next.
        if matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::Interrupted
        ) {
            return;
        }
        stats.accept_errors.fetch_add(1, Relaxed);
        if self.error_warning.is_due() {
            warn!(
                target: "throttle",
                "Connections cannot be accepted for now: {error}. If files ran out, raise the limit of open files \
                 or lower limits.connections."
            );
        }
        sleep(ACCEPT_PAUSE).await;
    }
}

/// The pause between two warnings of one kind.
#[derive(Debug, Default)]
struct Cooldown {
    last: Option<Instant>,
}

impl Cooldown {
    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.last.is_none_or(|last| now.duration_since(last) >= WARNING_PAUSE);
        if due {
            self.last = Some(now);
        }
        due
    }
}
