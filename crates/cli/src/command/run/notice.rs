//! What is said on standard error: lines, and what a person at a terminal sees while the locks are not granted.

use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, SystemTime},
};

use humantime::{format_duration, format_rfc3339_seconds};
use tokio::time::{Instant, sleep};

use throttle_service::printable::printable;

/// Shorter waits are not worth a line that is gone before it is read.
const FIRST: Duration = Duration::from_millis(300);
const EVERY: Duration = Duration::from_secs(1);

/// Writes a line to standard error, which may be closed. It begins with the command that tells it.
pub(crate) fn tell(command: &str, what: &str) {
    let _ = writeln!(io::stderr(), "{command}: {}", printable(what));
}

/// Tells why it failed, and returns the exit code for it.
pub(crate) fn fail(command: &str, why: &str, code: i32) -> i32 {
    tell(command, why);
    code
}

/// A line on standard error that is rewritten, and wiped out when this is dropped. It never is written into a
/// file or a pipe.
pub(super) struct Notice {
    command: &'static str,
    written: bool,
}

impl Notice {
    pub(super) fn new(command: &'static str) -> Self {
        Self { command, written: false }
    }

    /// Reports, again and again, what is waited for, and since when.
    pub(super) async fn keep(&mut self, wanted: impl Display) {
        if !io::stderr().is_terminal() {
            std::future::pending::<()>().await;
        }
        let command = self.command;
        let (since, start) = (format_rfc3339_seconds(SystemTime::now()), Instant::now());
        sleep(FIRST).await;
        loop {
            let so_far = format_duration(Duration::from_secs(start.elapsed().as_secs()));
            self.write(&printable(format_args!("{command}: waiting for {wanted} since {since} ({so_far})")));
            sleep(EVERY).await;
        }
    }

    fn write(&mut self, text: &str) {
        self.written = true;
        // The carriage return and "erase to the end of the line". If a terminal is gone, nobody reads it.
        let _ = write!(io::stderr(), "\r\x1b[K{text}");
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        if self.written {
            self.write("");
        }
    }
}
