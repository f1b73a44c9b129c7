//! The sections of the file: which settings each has, and how they are read.

use std::{ops::RangeInclusive, path::PathBuf, str::FromStr, time::Duration};

use throttle_core::{Deadlock, Order, RestorePolicy};
use toml::{
    Spanned,
    de::{DeString, DeValue},
};
use tracing::level_filters::LevelFilter;

use crate::{
    audit::Kind,
    net::TlsFiles,
    printable::printable,
    security::{JwtConfig, QuotaEntry, Rate},
};

use super::{
    AuditLog, Config, ConfigError, Durability, Encryption, Expiry, Gelf, Http, Limits, LogFormat, Logging,
    Otlp, Queue, Recovery, Security, SemaphoreConfig, Stderr, Telemetry,
    cluster::cluster,
    model::{PER, TEN_YEARS},
    names::is_dot_segment,
    table::{Table, integer, integers},
};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const MAX: RangeInclusive<i64> = 0..=i64::MAX;
const PORT: RangeInclusive<i64> = 0..=u16::MAX as i64;

const LEVELS: &[(&str, LevelFilter)] = &[
    ("ERROR", LevelFilter::ERROR),
    ("WARN", LevelFilter::WARN),
    ("INFO", LevelFilter::INFO),
    ("DEBUG", LevelFilter::DEBUG),
    ("TRACE", LevelFilter::TRACE),
    ("OFF", LevelFilter::OFF),
];

const FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];

/// The words for what is done against deadlocks.
pub(crate) const DEADLOCK: &[(&str, Deadlock)] =
    &[("hierarchy", Deadlock::Hierarchy), ("detect", Deadlock::Detect)];

/// The words for the orders of queues.
pub(crate) const ORDER: &[(&str, Order)] = &[("strict", Order::Strict), ("pass", Order::Pass)];

const RESTORE: &[(&str, RestorePolicy)] =
    &[("allow", RestorePolicy::Allow), ("if_free", RestorePolicy::IfFree), ("deny", RestorePolicy::Deny)];

pub(super) fn config(top: &Table<'_>) -> Result<Config, ConfigError> {
    top.only(&[
        "address",
        "port",
        "name",
        "litter_collection_interval",
        "semaphores",
        "logging",
        "limits",
        "expiry",
        "queue",
        "durability",
        "recovery",
        "http",
        "telemetry",
        "security",
        "tls",
        "audit",
        "cluster",
    ])?;
    let durability =
        top.table("durability")?.map_or(Ok(Durability::default()), |table| durability(&table))?;
    let cluster = top.table("cluster")?.map(|table| cluster(top, &table)).transpose()?;
    if let (Some(path), Some(_)) = (&durability.data_dir, &cluster) {
        let message = format!(
            "cluster: the semaphores are kept in etcd, and durability.data_dir = {:?} says that they are kept in a \
             directory; remove one of them.",
            path.display().to_string()
        );
        return Err(top.source().error(top.start_of("cluster").unwrap_or(0), message));
    }
    Ok(Config {
        address: top.string("address", "an address or host name to listen on")?,
        port: port(top, "port", PORT)?,
        name: top.parsed("name", SERVER_NAME)?.map(|ServerName(name)| name),
        litter_collection_interval: top
            .duration("litter_collection_interval", Duration::ZERO..=TEN_YEARS * 10)?,
        semaphores: top.table("semaphores")?.map_or(Ok(Vec::new()), |table| semaphores(&table))?,
        logging: top.table("logging")?.map_or(Ok(Logging::default()), |table| logging(top, &table))?,
        limits: top.table("limits")?.map_or(Ok(Limits::default()), |table| limits(&table))?,
        expiry: top.table("expiry")?.map_or(Ok(Expiry::default()), |table| expiry(&table))?,
        queue: top.table("queue")?.map_or(Ok(Queue::default()), |table| queue(&table))?,
        durability,
        recovery: top.table("recovery")?.map_or(Ok(Recovery::default()), |table| recovery(&table))?,
        http: top.table("http")?.map_or(Ok(Http::default()), |table| http(&table))?,
        telemetry: top.table("telemetry")?.map_or(Ok(Telemetry::default()), |table| telemetry(&table))?,
        security: top.table("security")?.map_or(Ok(Security::default()), |table| security(&table))?,
        tls: top.table("tls")?.map(|table| tls(top, &table)).transpose()?,
        audit: top.table("audit")?.map(|table| audit(top, &table)).transpose()?,
        cluster,
    })
}

/// What people call a server.
struct ServerName(String);

const SERVER_NAME: &str =
    "a name for this server, of 1 to 64 characters that can be printed, such as \"Warehouse\"";

impl FromStr for ServerName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let is_name = !text.trim().is_empty() && text.chars().count() <= 64 && printable(text) == text;
        is_name.then(|| Self(text.to_owned())).ok_or(())
    }
}

fn port(table: &Table<'_>, key: &str, range: RangeInclusive<i64>) -> Result<Option<u16>, ConfigError> {
    Ok(table.integer(key, range)?.and_then(|port| u16::try_from(port).ok()))
}

fn semaphores(table: &Table<'_>) -> Result<Vec<SemaphoreConfig>, ConfigError> {
    table.entries().into_iter().map(|(key, value)| semaphore(table, key, value)).collect()
}

fn semaphore<'a>(
    parent: &Table<'a>,
    key: &'a Spanned<DeString<'a>>,
    value: &'a Spanned<DeValue<'a>>,
) -> Result<SemaphoreConfig, ConfigError> {
    let name = key.get_ref().as_ref();
    if name.is_empty() {
        let message = format!("{}: the name of a semaphore must not be empty.", parent.name_of(name));
        return Err(parent.source().error(key.span().start, message));
    }
    if is_dot_segment(name) {
        let message = format!(
            "{}: no semaphore can be called {name:?}, as it could not stand in a URL.",
            parent.name_of(name)
        );
        return Err(parent.source().error(key.span().start, message));
    }
    if name.matches('*').count() > 1 {
        let message = format!(
            "{}: a pattern has one `*`, which stands for any run of characters.",
            parent.name_of(name)
        );
        return Err(parent.source().error(key.span().start, message));
    }
    match value.get_ref() {
        DeValue::Integer(number) => match integer(number).filter(|max| MAX.contains(max)) {
            Some(max) => Ok(SemaphoreConfig::new(name, max)),
            None => Err(parent.wrong(name, value, &integers(&MAX))),
        },
        DeValue::Table(entries) => {
            let table = parent.below(name, entries);
            table.only(&["max", "level", "per", "deadlock", "order"])?;
            let max = table.integer("max", MAX)?;
            let max = max.ok_or_else(|| table.missing("max", key.span().start, &integers(&MAX)))?;
            let level = table.integer("level", i32::MIN.into()..=i32::MAX.into())?;
            Ok(SemaphoreConfig {
                name: name.to_owned(),
                max,
                level: level.and_then(|level| i32::try_from(level).ok()).unwrap_or_default(),
                per: table.duration("per", PER)?,
                deadlock: table.choice("deadlock", DEADLOCK)?.unwrap_or_default(),
                order: table.choice("order", ORDER)?.unwrap_or_default(),
            })
        }
        _ => {
            let allowed = format!(
                "{}, or a table {{ max = …, level = …, per = …, deadlock = …, order = … }}",
                integers(&MAX)
            );
            Err(parent.wrong(name, value, &allowed))
        }
    }
}

fn logging<'a>(top: &Table<'a>, table: &Table<'a>) -> Result<Logging, ConfigError> {
    table.only(&["stderr", "gelf"])?;
    let stderr = match table.table("stderr")? {
        Some(stderr) => {
            stderr.only(&["level", "format"])?;
            let default = Stderr::default();
            Some(Stderr {
                level: stderr.choice("level", LEVELS)?.unwrap_or(default.level),
                format: stderr.choice("format", FORMATS)?.unwrap_or(default.format),
            })
        }
        None => None,
    };
    let offset = table.start_of("gelf").or_else(|| top.start_of("logging")).unwrap_or_default();
    let gelf = table.table("gelf")?.map(|gelf| self::gelf(&gelf, offset)).transpose()?;
    Ok(Logging { stderr, gelf })
}

fn gelf(table: &Table<'_>, offset: usize) -> Result<Gelf, ConfigError> {
    const NAME: &str = "the name of this server in Graylog";
    const HOST: &str = "the host name or address of Graylog";
    const PORT: RangeInclusive<i64> = 1..=u16::MAX as i64;
    table.only(&["name", "host", "port", "level"])?;
    Ok(Gelf {
        name: table.string("name", NAME)?.ok_or_else(|| table.missing("name", offset, NAME))?,
        host: table.string("host", HOST)?.ok_or_else(|| table.missing("host", offset, HOST))?,
        port: port(table, "port", PORT)?.ok_or_else(|| table.missing("port", offset, &integers(&PORT)))?,
        level: table.choice("level", LEVELS)?.unwrap_or(LevelFilter::WARN),
    })
}

fn limits(table: &Table<'_>) -> Result<Limits, ConfigError> {
    table.only(&[
        "head_bytes",
        "body_bytes",
        "buffer_bytes",
        "long_answers",
        "connections",
        "connections_per_address",
        "rate_per_address",
        "blocked_requests",
        "peers",
        "locks_per_peer",
        "locks_per_request",
        "locks_per_queue",
        "waiters_per_semaphore",
        "semaphores",
        "members_per_pattern",
        "deadlock_walk",
        "labels_per_peer",
        "label_length",
        "label_bytes",
        "remembered_peers",
        "idempotency_keys",
        "events",
        "event_streams",
        "event_keep_alive",
        "metric_series",
        "histories",
        "history_step",
        "expires_in_max",
        "head_timeout",
        "body_timeout",
        "answer_timeout",
        "idle_timeout",
    ])?;
    let default = Limits::default();
    let count = |key, range: RangeInclusive<i64>, default: usize| {
        table.integer(key, range).map(|n| n.and_then(|n| usize::try_from(n).ok()).unwrap_or(default))
    };
    let time = |key, range: RangeInclusive<Duration>, default: Duration| {
        table.duration(key, range).map(|found| found.unwrap_or(default))
    };
    Ok(Limits {
        head_bytes: count("head_bytes", 8192..=1 << 20, default.head_bytes)?,
        body_bytes: count("body_bytes", 1024..=64 << 20, default.body_bytes)?,
        buffer_bytes: count("buffer_bytes", 1 << 20..=1 << 40, default.buffer_bytes)?,
        long_answers: count("long_answers", 1..=1_000_000, default.long_answers)?,
        connections: count("connections", 16..=10_000_000, default.connections)?,
        connections_per_address: count(
            "connections_per_address",
            0..=10_000_000,
            default.connections_per_address,
        )?,
        rate_per_address: table.parsed("rate_per_address", Rate::ALLOWED)?,
        blocked_requests: count("blocked_requests", 1..=100_000_000, default.blocked_requests)?,
        peers: count("peers", 1..=1_000_000_000, default.peers)?,
        locks_per_peer: count("locks_per_peer", 1..=1_000_000, default.locks_per_peer)?,
        locks_per_request: count("locks_per_request", 1..=1_000, default.locks_per_request)?,
        locks_per_queue: count("locks_per_queue", 1_000..=10_000_000, default.locks_per_queue)?,
        waiters_per_semaphore: count(
            "waiters_per_semaphore",
            1..=1_000_000_000,
            default.waiters_per_semaphore,
        )?,
        semaphores: count("semaphores", 1..=100_000_000, default.semaphores)?,
        members_per_pattern: count("members_per_pattern", 1..=100_000_000, default.members_per_pattern)?,
        deadlock_walk: count("deadlock_walk", 100..=10_000_000, default.deadlock_walk)?,
        labels_per_peer: count("labels_per_peer", 0..=1000, default.labels_per_peer)?,
        label_length: count("label_length", 1..=64 << 10, default.label_length)?,
        label_bytes: count("label_bytes", 0..=1 << 20, default.label_bytes)?,
        remembered_peers: count("remembered_peers", 0..=100_000_000, default.remembered_peers)?,
        idempotency_keys: count("idempotency_keys", 1..=100_000_000, default.idempotency_keys)?,
        events: count("events", 1..=10_000_000, default.events)?,
        event_streams: count("event_streams", 0..=1_000_000, default.event_streams)?,
        event_keep_alive: time("event_keep_alive", 10 * MILLISECOND..=HOUR, default.event_keep_alive)?,
        metric_series: count("metric_series", 0..=10_000_000, default.metric_series)?,
        histories: count("histories", 0..=10_000_000, default.histories)?,
        history_step: time("history_step", SECOND..=DAY, default.history_step)?,
        expires_in_max: time("expires_in_max", SECOND..=TEN_YEARS, default.expires_in_max)?,
        head_timeout: time("head_timeout", 100 * MILLISECOND..=HOUR, default.head_timeout)?,
        body_timeout: time("body_timeout", 100 * MILLISECOND..=HOUR, default.body_timeout)?,
        answer_timeout: time("answer_timeout", 100 * MILLISECOND..=DAY, default.answer_timeout)?,
        idle_timeout: time("idle_timeout", SECOND..=30 * DAY, default.idle_timeout)?,
    })
}

fn expiry(table: &Table<'_>) -> Result<Expiry, ConfigError> {
    table.only(&["margin"])?;
    let margin = table.duration("margin", Duration::ZERO..=HOUR)?;
    Ok(margin.map_or_else(Expiry::default, |margin| Expiry { margin }))
}

fn queue(table: &Table<'_>) -> Result<Queue, ConfigError> {
    table.only(&["ageing_step", "absent_after", "pass_within"])?;
    let default = Queue::default();
    let step = table.duration("ageing_step", MILLISECOND..=365 * DAY)?;
    let absent_after = table.duration("absent_after", Duration::ZERO..=365 * DAY)?;
    let pass_within = table.duration("pass_within", Duration::ZERO..=365 * DAY)?;
    Ok(Queue {
        ageing_step: step.unwrap_or(default.ageing_step),
        absent_after: absent_after.unwrap_or(default.absent_after),
        pass_within: pass_within.unwrap_or(default.pass_within),
    })
}

fn durability(table: &Table<'_>) -> Result<Durability, ConfigError> {
    const BYTES: RangeInclusive<i64> = 64 << 10..=1 << 40;
    table.only(&["data_dir", "snapshot_bytes", "pending_bytes"])?;
    let default = Durability::default();
    let bytes = |key, default: usize| {
        table.integer(key, BYTES).map(|n| n.and_then(|n| usize::try_from(n).ok()).unwrap_or(default))
    };
    Ok(Durability {
        data_dir: table.string("data_dir", "the directory of the journal")?.map(PathBuf::from),
        snapshot_bytes: bytes("snapshot_bytes", default.snapshot_bytes)?,
        pending_bytes: bytes("pending_bytes", default.pending_bytes)?,
    })
}

fn recovery(table: &Table<'_>) -> Result<Recovery, ConfigError> {
    table.only(&["hold_grants", "restore"])?;
    Ok(Recovery {
        hold_grants: table.duration("hold_grants", Duration::ZERO..=DAY)?.unwrap_or_default(),
        restore: table.choice("restore", RESTORE)?,
    })
}

fn http(table: &Table<'_>) -> Result<Http, ConfigError> {
    const HOST: &str = "a host name without a scheme or port, such as \"throttle.example.com\"";
    const MODE: &str = "a mode in octal digits, such as \"0660\"";
    table.only(&["hosts", "socket_mode"])?;
    let is_host = |name: &str| !name.is_empty() && !name.contains(['/', ':', '*', ' ', '@']);
    let mode = table.parsed::<Mode>("socket_mode", MODE)?;
    Ok(Http {
        hosts: table.strings("hosts", is_host, HOST)?.unwrap_or_default(),
        socket_mode: mode.map(|Mode(mode)| mode),
    })
}

/// Who may use a file.
struct Mode(u32);

impl FromStr for Mode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777).map(Self).ok_or(())
    }
}

fn audit(top: &Table<'_>, table: &Table<'_>) -> Result<AuditLog, ConfigError> {
    const FILE: &str = "the path of a file, or \"-\" for standard output";
    const KIND: &str = "one of \"acquire\", \"operate\", \"admin\" and \"refused\"";
    table.only(&["file", "log"])?;
    let file = table.string("file", FILE)?;
    let file = file.ok_or_else(|| table.missing("file", top.start_of("audit").unwrap_or(0), FILE))?;
    let kind = |name: &str| Kind::ALL.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
    let kinds = table.strings("log", |name| kind(name).is_some(), KIND)?;
    let kinds = kinds.unwrap_or_else(|| ["operate", "admin", "refused"].map(str::to_owned).into());
    Ok(AuditLog { file: file.into(), kinds: kinds.iter().filter_map(|name| kind(name)).collect() })
}

fn tls(top: &Table<'_>, table: &Table<'_>) -> Result<Encryption, ConfigError> {
    const FILE: &str = "the path of a file in PEM format";
    let offset = top.start_of("tls").unwrap_or(0);
    table.only(&["cert", "key", "client_ca", "handshake_timeout"])?;
    let file = |key: &str| table.string(key, FILE).map(|path| path.map(PathBuf::from));
    let needed = |key: &str| file(key)?.ok_or_else(|| table.missing(key, offset, FILE));
    let timeout = table.duration("handshake_timeout", 100 * MILLISECOND..=HOUR)?;
    Ok(Encryption {
        files: TlsFiles { cert: needed("cert")?, key: needed("key")?, client_ca: file("client_ca")? },
        handshake_timeout: timeout.unwrap_or(10 * SECOND),
    })
}

fn security(table: &Table<'_>) -> Result<Security, ConfigError> {
    const PATH: &str = "a path that is for looking, such as \"/metrics\"";
    table.only(&["tokens", "required", "public", "quota", "jwt"])?;
    Ok(Security {
        tokens: table
            .string("tokens", "the path of a file of tokens, such as \"tokens.toml\"")?
            .map(PathBuf::from),
        required: table.boolean("required")?.unwrap_or_default(),
        public: table.strings("public", |path| path.starts_with('/'), PATH)?.unwrap_or_default(),
        quota: table.table("quota")?.map_or(Ok(QuotaEntry::default()), |table| quota(&table))?,
        jwt: table.table("jwt")?.map(|below| jwt(table, &below)).transpose()?,
    })
}

fn quota(table: &Table<'_>) -> Result<QuotaEntry, ConfigError> {
    table.only(&["peers", "pending", "blocked", "semaphores", "rate"])?;
    let count = |key| table.integer(key, MAX).map(|n| n.and_then(|n| usize::try_from(n).ok()));
    Ok(QuotaEntry {
        peers: count("peers")?,
        pending: count("pending")?,
        blocked: count("blocked")?,
        semaphores: count("semaphores")?,
        rate: table.parsed("rate", Rate::ALLOWED)?,
    })
}

fn jwt(above: &Table<'_>, table: &Table<'_>) -> Result<JwtConfig, ConfigError> {
    const ISSUER: &str = "who issues the tokens, as their claim \"iss\" says it";
    const AUDIENCE: &str =
        "for whom the tokens must be, as their claim \"aud\" says it, such as \"throttle\"";
    const KEYS: &str =
        "the path of a file with the keys of the issuer (a JSON Web Key Set), or its https URL";
    table.only(&["issuer", "audience", "keys", "identity", "ca"])?;
    let offset = above.start_of("jwt").unwrap_or(0);
    let needed =
        |key: &str, what: &str| table.string(key, what)?.ok_or_else(|| table.missing(key, offset, what));
    Ok(JwtConfig {
        issuer: needed("issuer", ISSUER)?,
        audience: needed("audience", AUDIENCE)?,
        keys: table.parsed("keys", KEYS)?.ok_or_else(|| table.missing("keys", offset, KEYS))?,
        identity: table
            .string("identity", "the claim that is the name of the identity")?
            .unwrap_or_else(|| "sub".to_owned()),
        ca: table.string("ca", "the path of a file of certificates in PEM format")?.map(PathBuf::from),
    })
}

fn telemetry(table: &Table<'_>) -> Result<Telemetry, ConfigError> {
    table.only(&["otlp"])?;
    Ok(Telemetry { otlp: table.table("otlp")?.map_or(Ok(Otlp::default()), |table| otlp(&table))? })
}

fn otlp(table: &Table<'_>) -> Result<Otlp, ConfigError> {
    table.only(&["endpoint", "sample_ratio", "timeout", "queue_size"])?;
    let default = Otlp::default();
    let timeout = table.duration("timeout", 100 * MILLISECOND..=HOUR)?;
    let queue_size = table.integer("queue_size", 1..=1_000_000)?;
    Ok(Otlp {
        endpoint: table.string("endpoint", "the URL of a collector, such as http://127.0.0.1:4318")?,
        sample_ratio: table.ratio("sample_ratio")?.unwrap_or(default.sample_ratio),
        timeout: timeout.unwrap_or(default.timeout),
        queue_size: queue_size.and_then(|n| usize::try_from(n).ok()).unwrap_or(default.queue_size),
    })
}
