//! Getting the locks.

use std::{env, ffi::OsStr, path::Path, time::Duration};

use throttle_client::{AcquireError, Blocker, Client, Error, Guard, Share};
use tokio::sync::watch;

use super::{
    asking::Asking,
    notice::{Lasting, Notice, fail, tell},
    target::Target,
    wanted::Wanted,
};
use crate::{
    command::{advice::told, connection::located, usage},
    platform::{Signal, Signals},
};

/// The service is unavailable, as `sysexits.h` has it.
pub(crate) const UNAVAILABLE: i32 = 69;

/// For how long a server that is out of reach is asked again, where the locks are to be had at once or not at all.
const RETRY_OF_TRY: Duration = Duration::from_secs(5);

/// The environment variable by which OpenTelemetry hands a span on to a process.
const TRACE_PARENT: &str = "TRACEPARENT";

/// The longest label that a server keeps, in characters.
const LABEL_LENGTH: usize = 255;

/// Why nothing is held.
pub(crate) enum Failure {
    /// They were not granted in time.
    Conflict(String),
    /// Those that were to be taken over are not held any more.
    Gone(String),
    /// The server is out of reach, or refuses.
    Unavailable(String),
    /// The command line or the environment makes no sense.
    Wrong(String),
    /// A signal came first.
    Interrupted(Signal),
}

impl Failure {
    /// Tells of it, unless a signal did that already. Returns the exit code; `gone` is that for locks that are not held
    /// any more.
    pub(crate) fn tell(self, command: &str, asking: &Asking, gone: i32) -> i32 {
        match self {
            Self::Interrupted(signal) => signal.exit_code(),
            Self::Conflict(why) => fail(command, &why, asking.conflict_exit_code.into()),
            Self::Gone(why) => fail(command, &why, gone),
            Self::Unavailable(why) => fail(command, &why, UNAVAILABLE),
            Self::Wrong(why) => {
                let path: Vec<&str> = command.split(' ').skip(1).collect();
                // Standard error may be closed.
                let _ = usage::error(&path, &why).print();
                usage::WRONG
            }
        }
    }
}

/// Who asks, and in which name.
pub(crate) struct Caller<'a> {
    /// What speaks to people, such as `throttle run`.
    pub(crate) command: &'static str,
    /// What people see as the program that holds the locks.
    pub(crate) program: Option<&'a OsStr>,
    /// Whether the peer is its own, also within a `throttle run`.
    pub(crate) is_alone: bool,
}

/// Acquires all locks, or nothing.
pub(crate) async fn acquire(
    wanted: &Wanted,
    ttl: Duration,
    asking: &Asking,
    caller: &Caller<'_>,
    signals: &mut Signals,
) -> Result<Guard, Failure> {
    let client = client(asking, caller).map_err(|error| unavailable(&error))?;
    let (first, count) = &wanted.first;
    let mut lock = client.lock(first).count(*count).ttl(ttl);
    for (name, count) in &wanted.others {
        lock = lock.and(name, *count);
    }
    // Whoever starts the command may do so as a part of a trace.
    if let Ok(span) = env::var(TRACE_PARENT) {
        lock = lock.trace_parent(&span);
    }
    if asking.r#try {
        lock = lock.try_once();
    } else if let Some(time) = asking.wait {
        lock = lock.wait(time);
    }
    let command = caller.command;
    lock = lock.on_new_peer(move |why| tell(command, why));
    let (tell_of_wait, stands) = watch::channel(None);
    if Notice::is_seen() {
        lock = lock.on_wait(move |waiting| drop(tell_of_wait.send(Some(waiting))));
    }
    let (tell_of_trouble, trouble) = watch::channel(None);
    lock = lock.on_trouble(move |told| {
        tell_of_trouble.send_modify(|lasting| *lasting = Lasting::after(lasting.as_ref(), told));
    });
    let (mut notice, target) = (Notice::new(command), Target::Locks(wanted.clone()));
    tokio::select! {
        biased;
        signal = signals.next() => Err(Failure::Interrupted(signal)),
        outcome = lock.acquire() => outcome.map_err(|error| match error {
            AcquireError::NotAcquired { source: None, ref blocked_by, .. } => {
                let own = if caller.is_alone { around(blocked_by) } else { None };
                Failure::Conflict(told(&error) + &own.unwrap_or_default())
            }
            AcquireError::Failed(error) => unavailable(&located(&client, error)),
            error => unavailable(&error),
        }),
        () = notice.keep(&target, stands, trouble) => Err(Failure::Unavailable("the notice ended".to_owned())),
    }
}

/// Takes over what a peer holds.
pub(super) async fn adopt(
    command: &'static str,
    peer: u64,
    ttl: Duration,
    asking: &Asking,
    signals: &mut Signals,
) -> Result<Guard, Failure> {
    let client = asking.connection.client().build().map_err(|error| unavailable(&error))?;
    let (tell_of_trouble, trouble) = watch::channel(None);
    let tell =
        |told| tell_of_trouble.send_modify(|lasting| *lasting = Lasting::after(lasting.as_ref(), told));
    let (_never, stands) = watch::channel(None);
    let (mut notice, target) = (Notice::new(command), Target::Peer(peer));
    tokio::select! {
        biased;
        signal = signals.next() => Err(Failure::Interrupted(signal)),
        () = notice.keep(&target, stands, trouble) => {
            Err(Failure::Unavailable("the notice ended".to_owned()))
        }
        outcome = client.adopt_telling(peer, ttl, tell) => outcome.map_err(|error| match error {
            Error::UnknownPeer { .. } | Error::NothingHeld { .. } => Failure::Gone(told(&error)),
            error => unavailable(&located(&client, error)),
        }),
    }
}

fn client(asking: &Asking, caller: &Caller<'_>) -> Result<Client, Error> {
    let mut builder = asking.connection.client().priority(asking.priority);
    if asking.r#try {
        builder = builder.retry_for(RETRY_OF_TRY);
    }
    if caller.is_alone {
        builder = builder.new_peers();
    }
    if asking.no_labels {
        builder = builder.without_usual_labels();
    } else if let Some(program) = caller.program.and_then(|path| Path::new(path).file_name()) {
        builder = builder
            .label("program", program.to_string_lossy().chars().take(LABEL_LENGTH).collect::<String>());
    }
    for (key, value) in &asking.label {
        builder = builder.label(key, value);
    }
    builder.build()
}

/// What to say if a lock around this process is in its own way.
fn around(blocked_by: &[Blocker]) -> Option<String> {
    let [peer, ..] = Share::VARIABLES;
    let peer: u64 = env::var(peer).ok()?.parse().ok()?;
    let is_own = blocked_by.iter().any(|blocker| blocker.peer_id == Some(peer));
    is_own.then(|| {
        format!(". Peer {peer} is that of a lock around this process: it waits for what it holds itself")
    })
}

fn unavailable(error: &(dyn std::error::Error + 'static)) -> Failure {
    usage::wrong(error).map_or_else(|| Failure::Unavailable(told(error)), Failure::Wrong)
}
