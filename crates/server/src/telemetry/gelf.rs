//! Logs to Graylog, by GELF over UDP.

use std::{
    fmt,
    fmt::Write as _,
    io,
    net::{SocketAddr, ToSocketAddrs as _, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value};
use tokio::time::Instant;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::{chunks, fields::Values, shown_target, text};
use crate::config::Gelf;

/// Messages that wait to be sent. What comes on top of them is dropped and counted.
const QUEUE: usize = 4096;
/// How long an address that a name stands for is used, and how long to wait after it was not found.
const RESOLVE_AGAIN: Duration = Duration::from_mins(5);
const RESOLVE_RETRY: Duration = Duration::from_secs(10);
/// The longest text of one field, in bytes: the backends of Graylog refuse to index more.
const LONGEST_TEXT: usize = 32_766;

/// What became of the messages to Graylog, counted since the start.
#[derive(Debug, Default)]
pub struct GelfStats {
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl GelfStats {
    /// Messages handed to the network.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Messages dropped: too many at once, too large, or refused by the network.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

enum Work {
    Send(Vec<u8>),
    Flush(SyncSender<()>),
}

/// The near end of the thread that sends.
#[derive(Debug)]
pub(super) struct Sender {
    queue: SyncSender<Work>,
    stats: Arc<GelfStats>,
}

impl Sender {
    pub(super) fn stats(&self) -> Arc<GelfStats> {
        Arc::clone(&self.stats)
    }

    pub(super) fn flush(&self, patience: Duration) {
        let (done, wait) = mpsc::sync_channel(1);
        if self.queue.try_send(Work::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(patience);
        }
    }
}

/// Makes each event a message and hands it to the thread that sends. Never waits.
pub(super) struct GelfLayer {
    host: String,
    queue: SyncSender<Work>,
    stats: Arc<GelfStats>,
}

/// Starts the thread that sends.
pub(super) fn start(config: &Gelf) -> io::Result<(Sender, GelfLayer)> {
    let (queue, work) = mpsc::sync_channel(QUEUE);
    let stats = Arc::new(GelfStats::default());
    let thread = Thread {
        host: config.host.clone(),
        port: config.port,
        stats: Arc::clone(&stats),
        target: None,
        resolve_at: Instant::now(),
        lost: false,
        next_id: getrandom::u64().unwrap_or_default(),
    };
    thread::Builder::new().name("gelf".to_owned()).spawn(move || thread.run(&work))?;
    let layer = GelfLayer { host: config.name.clone(), queue: queue.clone(), stats: Arc::clone(&stats) };
    Ok((Sender { queue, stats }, layer))
}

impl<S: Subscriber> Layer<S> for GelfLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let message = message(&self.host, SystemTime::now(), event);
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.queue.try_send(Work::Send(message))
        {
            self.stats.dropped.fetch_add(1, Relaxed);
        }
    }
}

fn message(host: &str, now: SystemTime, event: &Event<'_>) -> Vec<u8> {
    let metadata = event.metadata();
    let Values { message: mut short_message, others } = Values::of(event);
    if short_message.is_empty() {
        // The format does not allow an empty one.
        metadata.name().clone_into(&mut short_message);
    }
    let mut message: Map<String, Value> =
        others.into_iter().map(|(name, value)| (key(&name), allowed(value))).collect();
    message.insert("version".to_owned(), "1.1".into());
    message.insert("host".to_owned(), host.into());
    message.insert("short_message".to_owned(), allowed(short_message.into()));
    let time = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    message.insert("timestamp".to_owned(), ((time * 1000.0).round() / 1000.0).into());
    message.insert("level".to_owned(), severity(*metadata.level()).into());
    message.insert("_target".to_owned(), shown_target(metadata.target()).into());
    Value::Object(message).to_string().into_bytes()
}

/// The number that syslog gives to a level.
fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

// The format reserves `_id`, and allows word characters, dots and dashes.
fn key(name: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '_' };
    let key: String = std::iter::once('_').chain(name.chars().map(allowed)).collect();
    if key == "_id" { "_id_".to_owned() } else { key }
}

// The format allows numbers and texts.
fn allowed(value: Value) -> Value {
    match value {
        Value::String(mut text) if text.len() > LONGEST_TEXT => {
            let end = (0..=LONGEST_TEXT).rev().find(|&end| text.is_char_boundary(end));
            text.truncate(end.unwrap_or_default());
            text.into()
        }
        Value::String(_) | Value::Number(_) => value,
        other => other.to_string().into(),
    }
}

struct Thread {
    host: String,
    port: u16,
    stats: Arc<GelfStats>,
    target: Option<(UdpSocket, SocketAddr)>,
    resolve_at: Instant,
    /// Whether it was said that the host was not found.
    lost: bool,
    next_id: u64,
}

impl Thread {
    fn run(mut self, work: &Receiver<Work>) {
        loop {
            // Without an address, messages wait in the queue rather than here.
            while self.target.is_none() {
                self.resolve();
                if self.target.is_none() {
                    thread::sleep(RESOLVE_RETRY);
                }
            }
            match work.recv_timeout(RESOLVE_AGAIN) {
                Ok(Work::Send(message)) => self.send(&message),
                Ok(Work::Flush(done)) => drop(done.try_send(())),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if Instant::now() >= self.resolve_at {
                self.resolve();
            }
        }
    }

    fn resolve(&mut self) {
        let host = self.host.as_str();
        match open(host, self.port) {
            Ok(target) => {
                if self.lost {
                    tell(Level::INFO, format_args!("Log messages reach {host} again."));
                }
                self.lost = false;
                self.target = Some(target);
                self.resolve_at = Instant::now() + RESOLVE_AGAIN;
            }
            Err(error) => {
                if !self.lost {
                    let seconds = RESOLVE_RETRY.as_secs();
                    tell(
                        Level::WARN,
                        format_args!(
                            "No log messages reach logging.gelf.host {host:?} for now: {error}. Next try in \
                             {seconds} s."
                        ),
                    );
                }
                self.lost = true;
                self.resolve_at = Instant::now() + RESOLVE_RETRY;
            }
        }
    }

    fn send(&mut self, message: &[u8]) {
        let Some((socket, address)) = &self.target else { return };
        self.next_id = self.next_id.wrapping_add(1);
        let datagrams =
            chunks::compress(message).ok().and_then(|message| chunks::divide(message, self.next_id));
        let sent = datagrams.is_some_and(|datagrams| {
            datagrams.iter().all(|datagram| socket.send_to(datagram, address).is_ok())
        });
        let counter = if sent { &self.stats.sent } else { &self.stats.dropped };
        counter.fetch_add(1, Relaxed);
    }
}

fn open(host: &str, port: u16) -> io::Result<(UdpSocket, SocketAddr)> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        match UdpSocket::bind(any) {
            Ok(socket) => return Ok((socket, address)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

// Straight to stderr: with Graylog as the only place for records, nobody would ever see this one there.
fn tell(level: Level, message: fmt::Arguments<'_>) {
    let mut line = String::new();
    if text::start(&mut line, SystemTime::now(), level, "throttle").is_ok() {
        let _ = writeln!(line, "{message}");
        let _ = io::Write::write_all(&mut io::stderr(), line.as_bytes());
    }
}
