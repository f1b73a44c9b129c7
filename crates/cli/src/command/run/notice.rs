//! What is said on standard error: lines, and what a person at a terminal sees while the locks are not granted.

use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use humantime::format_duration;
use throttle_client::WaitingFor;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::command::operator::{cut, width_of};
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

    /// Whether there is a person who sees it.
    pub(super) fn is_seen() -> bool {
        io::stderr().is_terminal()
    }

    /// Reports, again and again, what is waited for, for how long, and why, as far as the server tells.
    pub(super) async fn keep(&mut self, wanted: impl Display, stands: watch::Receiver<Option<WaitingFor>>) {
        if !Self::is_seen() {
            std::future::pending::<()>().await;
        }
        let (command, start) = (self.command, Instant::now());
        sleep(FIRST).await;
        loop {
            let so_far = format_duration(Duration::from_secs(start.elapsed().as_secs()));
            let why = stands.borrow().as_ref().map(why).unwrap_or_default();
            let text = printable(format_args!("{command}: waiting for {wanted} ({so_far}){why}"));
            // A line that goes on in the next row could not be wiped out.
            self.write(&match width_of(&io::stderr()) {
                Some(columns) => cut(&text, columns - 1),
                None => text,
            });
            sleep(EVERY).await;
        }
    }

    fn write(&mut self, text: &str) {
        self.written = true;
        // The carriage return and "erase to the end of the line". If a terminal is gone, nobody reads it.
        let _ = write!(io::stderr(), "\r\x1b[K{text}");
    }
}

/// At which place it stands, and who is in the way.
fn why(waiting: &WaitingFor) -> String {
    let place = waiting.position.map(|place| format!(", place {place}")).unwrap_or_default();
    let others = match waiting.blocked_by.len() {
        0 | 1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    let blocker = match waiting.blocked_by.first() {
        Some(blocker) => format!("; {blocker}{others}"),
        None if waiting.position.is_some() => {
            "; the max is smaller, or nothing is granted just now".to_owned()
        }
        None => String::new(),
    };
    place + &blocker
}

impl Drop for Notice {
    fn drop(&mut self) {
        if self.written {
            self.write("");
        }
    }
}
