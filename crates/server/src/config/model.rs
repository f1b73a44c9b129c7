//! The configuration as values, with defaults and units.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use throttle_core::{Deadlock, Order, Quota, RestorePolicy};
use tracing::level_filters::LevelFilter;

use super::Cluster;
use crate::{
    audit::Kind,
    net::TlsFiles,
    security::{JwtConfig, QuotaEntry, Quotas, Rate},
};

/// Everything that `throttle.toml` can say. The default is what an empty or missing file means.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// `address`: the address or host name to listen on. The command line and its default decide if it is `None`.
    pub address: Option<String>,
    /// `port`: the TCP port to listen on; 0 lets the system choose one.
    pub port: Option<u16>,
    /// `name`: what people call this server. The dashboard shows it.
    pub name: Option<String>,
    /// `litter_collection_interval`: accepted from older files. It changes nothing, for expiry is exact.
    pub litter_collection_interval: Option<Duration>,
    /// `[semaphores]`, in the order of the file.
    pub semaphores: Vec<SemaphoreConfig>,
    /// `[logging]`.
    pub logging: Logging,
    /// `[limits]`.
    pub limits: Limits,
    /// `[expiry]`.
    pub expiry: Expiry,
    /// `[queue]`.
    pub queue: Queue,
    /// `[durability]`.
    pub durability: Durability,
    /// `[recovery]`.
    pub recovery: Recovery,
    /// `[http]`.
    pub http: Http,
    /// `[telemetry]`.
    pub telemetry: Telemetry,
    /// `[security]`.
    pub security: Security,
    /// `[tls]`: HTTPS instead of HTTP.
    pub tls: Option<Encryption>,
    /// `[audit]`: who did what.
    pub audit: Option<AuditLog>,
    /// `[cluster]`: several servers with one set of semaphores.
    pub cluster: Option<Cluster>,
}

impl Config {
    /// Adds a semaphore, or gives the entry of that name a new `max` and leaves its other settings alone.
    pub fn set_semaphore(&mut self, name: &str, max: i64) {
        match self.semaphores.iter_mut().find(|semaphore| semaphore.name == name) {
            Some(semaphore) => semaphore.max = max,
            None => self.semaphores.push(SemaphoreConfig::new(name, max)),
        }
    }
}

/// One entry of `[semaphores]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SemaphoreConfig {
    /// The name, or a pattern if it contains `*`.
    pub name: String,
    /// The full count, at least 0; 0 pauses the semaphore.
    pub max: i64,
    /// The place in the lock hierarchy.
    pub level: i32,
    /// The time after a grant before which its count does not come back: a rate.
    pub per: Option<Duration>,
    /// What protects against deadlocks.
    pub deadlock: Deadlock,
    /// Whether a request may pass one that waits for another semaphore.
    pub order: Order,
}

impl SemaphoreConfig {
    /// A semaphore with nothing but a full count.
    pub fn new(name: impl Into<String>, max: i64) -> Self {
        Self {
            name: name.into(),
            max,
            level: 0,
            per: None,
            deadlock: Deadlock::default(),
            order: Order::default(),
        }
    }

    /// Whether the name is a pattern: each name that matches it is a semaphore of its own.
    pub fn is_pattern(&self) -> bool {
        self.name.contains('*')
    }
}

/// `[logging]`: where records go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Logging {
    /// `[logging.stderr]`; without it records go to stderr at WARN, unless `[logging.gelf]` is there.
    pub stderr: Option<Stderr>,
    /// `[logging.gelf]`.
    pub gelf: Option<Gelf>,
}

/// `[logging.stderr]`: lines on standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stderr {
    /// The least severe level that is written.
    pub level: LevelFilter,
    /// What a line looks like.
    pub format: LogFormat,
}

impl Default for Stderr {
    fn default() -> Self {
        Self { level: LevelFilter::WARN, format: LogFormat::Text }
    }
}

/// What a line of the log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: the time, the level, the message, then the fields.
    Text,
    /// For programs: one JSON object.
    Json,
}

/// `[logging.gelf]`: records as GELF 1.1 over UDP, for Graylog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gelf {
    /// The `host` field of each message: the name of this server.
    pub name: String,
    /// The host name or address that the messages are sent to.
    pub host: String,
    /// The UDP port that the messages are sent to.
    pub port: u16,
    /// The least severe level that is sent.
    pub level: LevelFilter,
}

/// `[limits]`: what a single client, or all of them together, may use of this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The largest head of a request, in bytes.
    pub head_bytes: usize,
    /// What all requests that are not answered, and all answers that are not taken, have beyond 2 KiB each, in bytes.
    pub buffer_bytes: usize,
    /// Requests for lists that wait for their turn: one list is made at a time.
    pub long_answers: usize,
    /// The largest request body, in bytes. `POST /v1/heartbeats` has its own limit of 1 MiB.
    pub body_bytes: usize,
    /// Open connections. The number of files that the system lets this process open may lower it.
    pub connections: usize,
    /// Open connections of one address; 0: as many as there may be.
    pub connections_per_address: usize,
    /// Requests of one address in a time; probes are not counted.
    pub rate_per_address: Option<Rate>,
    /// Requests that wait for a lock at the same time.
    pub blocked_requests: usize,
    /// Peers that live at the same time.
    pub peers: usize,
    /// Semaphores that one peer holds or asks for at the same time.
    pub locks_per_peer: usize,
    /// Semaphores that one request asks for.
    pub locks_per_request: usize,
    /// What requests over several semaphores in the queue of one ask for, all together.
    pub locks_per_queue: usize,
    /// Pending requests in the queue of one semaphore.
    pub waiters_per_semaphore: usize,
    /// Semaphores, members of patterns and those made by requests among them.
    pub semaphores: usize,
    /// Members of one pattern.
    pub members_per_pattern: usize,
    /// Steps of the search for a deadlock that one request may cause.
    pub deadlock_walk: usize,
    /// Labels of one peer.
    pub labels_per_peer: usize,
    /// The longest value of a label, in characters.
    pub label_length: usize,
    /// The labels of one peer, names and values together, in bytes.
    pub label_bytes: usize,
    /// Peers that ended, and of which the server still knows how.
    pub remembered_peers: usize,
    /// `Idempotency-Key`s that the server knows again.
    pub idempotency_keys: usize,
    /// Events kept for readers that resume.
    pub events: usize,
    /// Event streams open at the same time; as many readers of `/v1/updates` beside them.
    pub event_streams: usize,
    /// How long an event stream is silent at most: proxies and clients give up on silent connections.
    pub event_keep_alive: Duration,
    /// Semaphores made by requests that have series of their own in `/metrics`; the others share one.
    pub metric_series: usize,
    /// Semaphores of which a history is kept.
    pub histories: usize,
    /// The time between two samples of a history, which has sixty.
    pub history_step: Duration,
    /// The longest `expires_in` that a client may ask for.
    pub expires_in_max: Duration,
    /// The time in which a request's head must arrive, and a new connection must send one.
    pub head_timeout: Duration,
    /// The time in which a request's body must arrive once its head is there.
    pub body_timeout: Duration,
    /// The time in which a client must have taken an answer, or each 64 KiB of one that goes on, such as a stream.
    pub answer_timeout: Duration,
    /// The time that a connection may stay open between two requests.
    pub idle_timeout: Duration,
}

/// How long the rate of a semaphore may be.
pub const PER: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24 * 365);

/// Ten years of 365.25 days, as humantime counts them: no lease is longer.
pub const TEN_YEARS: Duration = Duration::from_hours(10 * 8766);

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 16 * 1024,
            buffer_bytes: 64 << 20,
            long_answers: 1000,
            body_bytes: 16 * 1024,
            connections: 20_000,
            connections_per_address: 0,
            rate_per_address: None,
            blocked_requests: 100_000,
            peers: 10_000_000,
            locks_per_peer: 1024,
            locks_per_request: 32,
            locks_per_queue: 20_000,
            waiters_per_semaphore: 1_000_000,
            semaphores: 1_000_000,
            members_per_pattern: 100_000,
            deadlock_walk: 10_000,
            labels_per_peer: 16,
            label_length: 255,
            label_bytes: 2048,
            remembered_peers: 100_000,
            idempotency_keys: 100_000,
            events: 10_000,
            event_streams: 1000,
            event_keep_alive: Duration::from_secs(15),
            metric_series: 2000,
            histories: 20_000,
            history_step: Duration::from_mins(1),
            expires_in_max: TEN_YEARS,
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            answer_timeout: Duration::from_mins(1),
            idle_timeout: Duration::from_mins(10),
        }
    }
}

/// `[expiry]`: when a lease really ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// The most that a peer lives on after the time it was promised; a twentieth of `expires_in` if that is less.
    /// Zero turns the margin off.
    pub margin: Duration,
}

impl Default for Expiry {
    fn default() -> Self {
        Self { margin: Duration::from_secs(30) }
    }
}

/// `[queue]`: the order of those who wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// How much later a request may arrive for each step of priority and still go first.
    pub ageing_step: Duration,
    /// How long after its connection is gone a waiter is passed over.
    pub absent_after: Duration,
    /// For how long a request that waits for another semaphore too may be passed, where that is allowed.
    pub pass_within: Duration,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            ageing_step: Duration::from_hours(1),
            absent_after: Duration::from_secs(10),
            pass_within: Duration::from_mins(1),
        }
    }
}

/// `[durability]`: what a restart must not forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durability {
    /// The directory of the journal. Without one, nothing is kept.
    pub data_dir: Option<PathBuf>,
    /// How many bytes of journal there are, at least, before it is made short.
    pub snapshot_bytes: usize,
    /// How many bytes may wait to be written; beyond that, requests that change something are refused.
    pub pending_bytes: usize,
}

impl Default for Durability {
    fn default() -> Self {
        Self { data_dir: None, snapshot_bytes: 64 << 20, pending_bytes: 64 << 20 }
    }
}

/// `[recovery]`: how peers come back that the server does not know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// How long after a start with empty state nothing is granted anew, so that peers can restore first.
    pub hold_grants: Duration,
    /// Whether they may. By default `allow` without a data directory, and `if_free` with one.
    pub restore: Option<RestorePolicy>,
}

impl Config {
    /// Whether a peer that is not known may bring locks back. A server that forgets nothing knows that such a peer
    /// has truly lost them.
    pub fn restore_policy(&self) -> RestorePolicy {
        let forgets = self.durability.data_dir.is_none() && self.cluster.is_none();
        let default = if forgets { RestorePolicy::Allow } else { RestorePolicy::IfFree };
        self.recovery.restore.unwrap_or(default)
    }
}

/// `[http]`: how the server is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Http {
    /// Names, beside literal addresses and `localhost`, under which browsers know this server. Without a port.
    pub hosts: Vec<String>,
    /// Who may use a Unix domain socket on which the server listens: the mode of its file.
    pub socket_mode: Option<u32>,
}

/// `[audit]`: a log of who did what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditLog {
    /// The file; `-` is standard output.
    pub file: PathBuf,
    /// What is worth a line.
    pub kinds: Vec<Kind>,
}

/// `[tls]`: HTTPS instead of HTTP on the port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption {
    /// The certificates and their key.
    pub files: TlsFiles,
    /// The time in which client and server must have agreed on keys.
    pub handshake_timeout: Duration,
}

/// `[security]`: who may come in. Without a file of tokens, everybody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Security {
    /// The file of tokens.
    pub tokens: Option<PathBuf>,
    /// Whether the server must not start without one.
    pub required: bool,
    /// Paths of routes to look at that are open to all, beside the probes.
    pub public: Vec<String>,
    /// `[security.quota]`: what an identity may use of which the file of tokens says nothing.
    pub quota: QuotaEntry,
    /// `[security.jwt]`: whose tokens count beside those of the file.
    pub jwt: Option<JwtConfig>,
}

impl Config {
    /// What an identity may use if nothing else is said: half of what the server has for all, so that nobody can take
    /// all of it.
    pub fn usual_quotas(&self) -> Quotas {
        let half = |limit: usize| limit.div_ceil(2);
        let Limits { peers, semaphores, blocked_requests, .. } = self.limits;
        let (peers, members, blocked) = (half(peers), half(semaphores), half(blocked_requests));
        self.security
            .quota
            .or(Quotas { shares: Quota { peers, pending: peers, members, blocked }, rate: None })
    }
}

/// `[telemetry]`: what is sent to those who watch this server, beside logs and metrics.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Telemetry {
    /// `[telemetry.otlp]`.
    pub otlp: Otlp,
}

/// `[telemetry.otlp]`: traces, by OTLP over HTTP.
#[derive(Debug, Clone, PartialEq)]
pub struct Otlp {
    /// The URL of the collector, without `/v1/traces`. `None`: no traces.
    pub endpoint: Option<String>,
    /// The share of the traces that begin here that is recorded. Of others their beginning decides.
    pub sample_ratio: f64,
    /// How long one attempt to send may take.
    pub timeout: Duration,
    /// Spans that wait to be sent. What comes on top of them is dropped and counted.
    pub queue_size: usize,
}

impl Default for Otlp {
    fn default() -> Self {
        Self { endpoint: None, sample_ratio: 1.0, timeout: Duration::from_secs(10), queue_size: 2048 }
    }
}
