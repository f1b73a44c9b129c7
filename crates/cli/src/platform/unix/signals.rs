//! The signals that `throttle run` passes on.

use std::{
    io,
    task::{Context, Poll},
};

use tokio::signal::unix::{self, SignalKind};

use super::disposition::Disposition;

/// The signals whose default action ends a process, and that are passed on.
const ENDING: [libc::c_int; 6] =
    [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2];

/// A signal that this process got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(pub(super) libc::c_int);

impl Signal {
    /// The exit code by which a shell reports that a process ended by this signal.
    pub fn exit_code(self) -> i32 {
        128 + self.0
    }

    /// Whether it asks a process to end. A hangup does not: it stands for "read the configuration again" as often.
    pub fn asks_to_end(self) -> bool {
        matches!(self.0, libc::SIGINT | libc::SIGQUIT | libc::SIGTERM)
    }
}

/// The signals that end this process, or that suspend and continue it, as they come.
///
/// A signal that was ignored when this process started stays so: that is how `nohup` and a shell's `&` work, also
/// for the programs that this process starts.
pub struct Signals {
    received: Vec<(Signal, unix::Signal)>,
}

impl Signals {
    /// Takes note of what ends a process from now on, in place of ending.
    ///
    /// # Errors
    ///
    /// If the system does not let this process listen for signals.
    pub fn listen() -> io::Result<Self> {
        let mut signals = Self { received: Vec::new() };
        ENDING.into_iter().try_for_each(|signal| signals.add(signal))?;
        Ok(signals)
    }

    /// Takes note also of what suspends and continues a process, in place of being suspended.
    ///
    /// # Errors
    ///
    /// If the system does not let this process listen for signals.
    pub fn listen_for_job_control(&mut self) -> io::Result<()> {
        self.add(libc::SIGTSTP)?;
        self.add(libc::SIGCONT)
    }

    fn add(&mut self, signal: libc::c_int) -> io::Result<()> {
        if !Disposition::of(signal)?.is_ignored() {
            self.received.push((Signal(signal), unix::signal(SignalKind::from_raw(signal))?));
        }
        Ok(())
    }

    /// The next signal. It loses none when it is dropped before it is done.
    pub async fn next(&mut self) -> Signal {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Signal> {
        for (signal, stream) in &mut self.received {
            if stream.poll_recv(context).is_ready() {
                return Poll::Ready(*signal);
            }
        }
        Poll::Pending
    }
}
