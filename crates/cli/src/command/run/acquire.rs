//! Getting the locks.

use std::{env, path::Path, time::Duration};

use throttle_client::{AcquireError, Client, Error, Guard};

use super::{
    arguments::Run,
    notice::{Notice, tell},
};
use crate::platform::{Signal, Signals};

/// For how long a server that is out of reach is asked again, where the locks are to be had at once or not at all.
const RETRY_OF_TRY: Duration = Duration::from_secs(5);

/// The environment variable by which OpenTelemetry hands a span on to a process.
const TRACE_PARENT: &str = "TRACEPARENT";

/// The longest label that a server keeps, in characters.
const LABEL_LENGTH: usize = 255;

/// Why the command is not run.
pub(super) enum Failure {
    /// They were not granted in time.
    Conflict(String),
    /// The server is out of reach, or refuses.
    Unavailable(String),
    /// A signal came first.
    Interrupted(Signal),
}

/// Acquires all locks, or nothing.
pub(super) async fn acquire(arguments: &Run, signals: &mut Signals) -> Result<Guard, Failure> {
    let client = client(arguments).map_err(|error| unavailable(&error))?;
    let (first, count) = &arguments.wanted.first;
    let mut lock = client.lock(first).count(*count).ttl(arguments.ttl);
    for (name, count) in &arguments.wanted.others {
        lock = lock.and(name, *count);
    }
    // Whoever starts the command may do so as a part of a trace.
    if let Ok(span) = env::var(TRACE_PARENT) {
        lock = lock.trace_parent(&span);
    }
    if arguments.r#try {
        lock = lock.try_once();
    } else if let Some(time) = arguments.wait {
        lock = lock.wait(time);
    }
    lock = lock.on_new_peer(tell);
    let mut notice = Notice::default();
    tokio::select! {
        biased;
        signal = signals.next() => Err(Failure::Interrupted(signal)),
        outcome = lock.acquire() => outcome.map_err(|error| match error {
            AcquireError::NotAcquired { source: None, .. } => Failure::Conflict(told(&error)),
            error => unavailable(&error),
        }),
        () = notice.keep(&arguments.wanted) => Err(Failure::Unavailable("the notice ended".to_owned())),
    }
}

fn client(arguments: &Run) -> Result<Client, Error> {
    let mut builder = arguments.connection.client().priority(arguments.priority);
    if arguments.r#try {
        builder = builder.retry_for(RETRY_OF_TRY);
    }
    if arguments.new_peer {
        builder = builder.new_peers();
    }
    if arguments.no_labels {
        builder = builder.without_usual_labels();
    } else if let Some(program) = arguments.command.first().and_then(|path| Path::new(path).file_name()) {
        builder = builder
            .label("program", program.to_string_lossy().chars().take(LABEL_LENGTH).collect::<String>());
    }
    for (key, value) in &arguments.label {
        builder = builder.label(key, value);
    }
    builder.build()
}

fn unavailable(error: &dyn std::error::Error) -> Failure {
    Failure::Unavailable(told(error))
}

/// An error with all that caused it.
pub(super) fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
