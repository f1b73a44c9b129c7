//! The audit log: who did what, a line of JSON each, in a file of its own.
//!
//! Lines go to a thread that writes them, so that no request waits for a disk. If it cannot keep up, lines are lost,
//! and counted: the log is for those who look later, and locks are for those who wait now.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    net::IpAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use serde::Serialize;
use throttle_api::{Code, Stamp};
use throttle_core::PeerId;
use tracing::error;

use crate::{
    runtime::wall_now,
    security::Right,
    telemetry::{
        ShownPeer,
        trace::{self, Subject},
    },
};

/// How many lines may wait to be written.
const WAITING: usize = 10_000;
/// How many semaphores a line names.
const SEMAPHORES: usize = 32;
/// The file name that stands for standard output.
const STANDARD_OUTPUT: &str = "-";

/// What is worth a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Requests that make peers, take, renew and release locks.
    Acquire,
    /// Those of operators.
    Operate,
    /// Reloading and resuming.
    Admin,
    /// Requests that are refused for who sends them.
    Refused,
}

impl Kind {
    /// All of them, by their names.
    pub const ALL: &[(&str, Self)] = &[
        ("acquire", Self::Acquire),
        ("operate", Self::Operate),
        ("admin", Self::Admin),
        ("refused", Self::Refused),
    ];

    /// What a request is that needs this right, sent by somebody who may operate or not.
    fn of(right: Right, is_operator: bool, status: u16) -> Option<Self> {
        match right {
            _ if status == 401 || status == 403 => Some(Self::Refused),
            Right::Release if is_operator => Some(Self::Operate),
            Right::Acquire | Right::Release => Some(Self::Acquire),
            Right::Operate => Some(Self::Operate),
            Right::Admin => Some(Self::Admin),
            Right::None | Right::Any | Right::Read => None,
        }
    }
}

tokio::task_local! {
    static SUBJECTS: RefCell<Subjects>;
}

/// Whether there is an audit log.
static IS_ON: AtomicBool = AtomicBool::new(false);

/// What a request is about.
#[derive(Clone, Debug, Default)]
pub struct Subjects {
    peer: Option<PeerId>,
    semaphores: BTreeSet<String>,
}

/// Notes what the request is about that this task works on.
#[inline]
pub fn about(subject: Subject<'_>) {
    if IS_ON.load(Relaxed) {
        note(subject);
    }
}

#[cold]
fn note(subject: Subject<'_>) {
    let _ = SUBJECTS.try_with(|subjects| {
        let mut subjects = subjects.borrow_mut();
        match subject {
            Subject::Peer(peer) => subjects.peer = Some(peer),
            Subject::Peers(_) => {}
            Subject::Semaphore(name) => subjects.name(name),
            Subject::Locks(locks) => locks.iter().for_each(|(name, _)| subjects.name(name)),
        }
    });
}

impl Subjects {
    fn name(&mut self, semaphore: &str) {
        if self.semaphores.len() < SEMAPHORES {
            self.semaphores.insert(semaphore.to_owned());
        }
    }
}

/// Runs a request, and tells what it was about.
pub async fn observed<T>(request: impl Future<Output = T>) -> (T, Subjects) {
    let whole = async {
        let outcome = request.await;
        (outcome, SUBJECTS.with(RefCell::take))
    };
    SUBJECTS.scope(RefCell::default(), whole).await
}

/// A line of the log.
#[derive(Debug, Serialize)]
struct Line<'a> {
    at: Stamp,
    identity: Option<&'a str>,
    address: Option<IpAddr>,
    operation: &'a str,
    peer: Option<String>,
    semaphores: &'a BTreeSet<String>,
    status: u16,
    code: Option<Code>,
    trace: Option<String>,
}

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// Who sent it, if he is known.
    pub identity: Option<&'a str>,
    /// Whether he may operate.
    pub is_operator: bool,
    /// Where it came from: a client, or a proxy.
    pub address: Option<IpAddr>,
    /// The operation id of its route.
    pub operation: &'a str,
    /// The right that its route needs.
    pub right: Right,
    /// What it was about.
    pub subjects: &'a Subjects,
    /// The status of its answer.
    pub status: u16,
    /// The code of its problem, if it is one.
    pub code: Option<Code>,
}

enum Message {
    Line(Vec<u8>),
    Reopen,
}

/// The audit log.
#[derive(Debug)]
pub struct Audit {
    kinds: Vec<Kind>,
    sender: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl Audit {
    /// Into this file, which may be `-` for standard output.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened, or the thread not be started.
    pub fn begin(path: &Path, kinds: Vec<Kind>) -> io::Result<Self> {
        let out = open(path)?;
        let (sender, receiver) = sync_channel(WAITING);
        let lost = Arc::<AtomicU64>::default();
        let (path, of_thread) = (path.to_owned(), lost.clone());
        thread::Builder::new().name("audit".into()).spawn(move || run(&path, out, &receiver, &of_thread))?;
        IS_ON.store(true, Relaxed);
        Ok(Self { kinds, sender, lost })
    }

    /// Opens the file again, as it may have been moved away.
    pub fn reopen(&self) {
        // If the thread is behind, what it writes goes to the old file a little longer.
        let _ = self.sender.try_send(Message::Reopen);
    }

    /// How many lines were lost.
    pub fn lost(&self) -> Arc<AtomicU64> {
        self.lost.clone()
    }

    /// Writes about a request, if that is worth a line.
    pub fn tell(&self, answered: Answered<'_>) {
        let Answered { identity, is_operator, address, operation, right, subjects, status, code } = answered;
        if Kind::of(right, is_operator, status).is_none_or(|kind| !self.kinds.contains(&kind)) {
            return;
        }
        let line = Line {
            at: Stamp::from_micros(wall_now().as_micros()),
            identity,
            address,
            operation,
            peer: subjects.peer.map(|peer| ShownPeer(peer).to_string()),
            semaphores: &subjects.semaphores,
            status,
            code,
            trace: trace::current().map(|ids| ids.trace.to_string()),
        };
        // Strings and numbers can always be written.
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        if self.sender.try_send(Message::Line(text)).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }
}

/// Writes until nobody is left who tells anything.
fn run(path: &Path, mut out: Box<dyn Write + Send>, messages: &Receiver<Message>, lost: &AtomicU64) {
    let mut is_failing = false;
    while let Ok(first) = messages.recv() {
        // As many as there are go together.
        for message in std::iter::once(first).chain(messages.try_iter()) {
            let outcome = match message {
                Message::Line(text) => {
                    let written = out.write_all(&text);
                    lost.fetch_add(written.is_err().into(), Relaxed);
                    written
                }
                Message::Reopen => open(path).map(|new| out = new),
            };
            is_failing = tell_once(path, outcome, is_failing);
        }
        is_failing = tell_once(path, out.flush(), is_failing);
    }
}

/// Says once that the log cannot be written. Tells whether it is failing now.
fn tell_once(path: &Path, outcome: io::Result<()>, was_failing: bool) -> bool {
    match outcome {
        Ok(()) => false,
        Err(error) => {
            if !was_failing {
                error!(target: "throttle", "The audit log {} cannot be written: {error}.", path.display());
            }
            true
        }
    }
}

fn open(path: &Path) -> io::Result<Box<dyn Write + Send>> {
    if path == Path::new(STANDARD_OUTPUT) {
        return Ok(Box::new(BufWriter::new(io::stdout())));
    }
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file: File = options.open(path)?;
    Ok(Box::new(BufWriter::new(file)))
}
