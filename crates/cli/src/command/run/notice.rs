//! What is said on standard error: lines, and what a person at a terminal sees while the locks are not granted.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use humantime::format_duration;
use throttle_client::{BlockerKind, Trouble, WaitingFor, who};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::target::Target;
use crate::command::operator::{cut, name_of, width_of};
use throttle_service::printable::printable;

/// Shorter waits are not worth a line that is gone before it is read.
const FIRST: Duration = Duration::from_millis(300);
const EVERY: Duration = Duration::from_secs(1);
/// Shorter trouble is not worth a line that stays: a server that is started anew is back by then.
const PATIENCE: Duration = Duration::from_secs(2);
/// Fewer columns say nothing of a name.
const NARROWEST: usize = 8;

/// Writes a line to standard error, which may be closed. It begins with the command that tells it.
pub(crate) fn tell(command: &str, what: &str) {
    let _ = writeln!(io::stderr(), "{command}: {}", printable(what));
}

/// Tells why it failed, and returns the exit code for it.
pub(crate) fn fail(command: &str, why: &str, code: i32) -> i32 {
    tell(command, why);
    code
}

/// Trouble that goes on: since when, and until when it is tried again.
pub(super) struct Lasting {
    trouble: Trouble,
    since: Instant,
    until: Instant,
}

impl Lasting {
    /// What is known after this was told; `None` tells that it is over.
    pub(super) fn after(before: Option<&Self>, told: Option<Trouble>) -> Option<Self> {
        let trouble = told?;
        let now = Instant::now();
        let until = now.checked_add(trouble.left).unwrap_or(now);
        Some(Self { since: before.map_or(now, |before| before.since), until, trouble })
    }

    /// For how long it is still tried, in whole seconds.
    fn left(&self) -> String {
        let left = self.until.saturating_duration_since(Instant::now());
        format_duration(Duration::from_secs(left.as_secs())).to_string()
    }
}

/// What is said while the locks are not granted. On a terminal that is a line which is rewritten, and wiped out when
/// this is dropped; it never is written into a file or a pipe. Trouble with the server is a line that stays.
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
    pub(super) async fn keep(
        &mut self,
        wanted: &Target,
        stands: watch::Receiver<Option<WaitingFor>>,
        trouble: watch::Receiver<Option<Lasting>>,
    ) {
        let (start, mut is_told) = (Instant::now(), false);
        sleep(FIRST).await;
        loop {
            is_told = self.tell_of(trouble.borrow().as_ref(), is_told);
            if Self::is_seen() {
                let so_far = format_duration(Duration::from_secs(start.elapsed().as_secs())).to_string();
                let again = trouble.borrow().as_ref().filter(|_| is_told).map(|lasting| {
                    format!("waiting for {wanted} ({so_far}): trying again, for {} more", lasting.left())
                });
                let forms = match again {
                    Some(again) => vec![again],
                    None => forms(wanted, &so_far, stands.borrow().as_ref()),
                };
                self.write(&self.fitting(forms, width_of(&io::stderr())));
            }
            sleep(EVERY).await;
        }
    }

    /// Tells of trouble that lasts, once. Returns whether that is told.
    fn tell_of(&mut self, trouble: Option<&Lasting>, is_told: bool) -> bool {
        let Some(lasting) = trouble else { return false };
        if is_told || lasting.since.elapsed() < PATIENCE {
            return is_told;
        }
        if self.written {
            self.write("");
        }
        let left = lasting.left();
        tell(self.command, &format!("{}. It is tried again and again, for {left} more", lasting.trouble));
        true
    }

    /// The first of these lines that has room, in a row of so many columns: what goes on in the next one could not be
    /// wiped out.
    fn fitting(&self, forms: Vec<String>, columns: Option<usize>) -> String {
        let mut lines = forms.into_iter().map(|form| printable(format_args!("{}: {form}", self.command)));
        let mut line = lines.next().unwrap_or_default();
        let Some(room) = columns.map(|columns| columns - 1) else { return line };
        for shorter in lines {
            if cut(&line, room) == line {
                return line;
            }
            line = shorter;
        }
        cut(&line, room)
    }

    fn write(&mut self, text: &str) {
        self.written = true;
        // The carriage return and "erase to the end of the line". If a terminal is gone, nobody reads it.
        let _ = write!(io::stderr(), "\r\x1b[K{text}");
    }
}

/// What is waited for, for how long, and who is in the way: with all that is known, and then with less and less. Who it
/// is stays longest.
fn forms(wanted: &Target, so_far: &str, waiting: Option<&WaitingFor>) -> Vec<String> {
    let begin = format!("waiting for {wanted} ({so_far})");
    let Some(waiting) = waiting else { return vec![begin] };
    let place = waiting.position.map(|place| format!(", place {place}")).unwrap_or_default();
    let Some(blocker) = waiting.blocked_by.first() else {
        let why = if waiting.position.is_some() {
            ": the max is smaller, or nothing is granted just now"
        } else {
            ""
        };
        return vec![format!("{begin}{why}{place}"), begin];
    };
    let is_one = matches!(wanted, Target::Locks(wanted) if wanted.others.is_empty());
    let of = if is_one { String::new() } else { format!("{:?} ", blocker.semaphore) };
    let closed = |why: &str| (why.to_owned(), why.to_owned(), String::new());
    let by = |does: &str, peer: u64| {
        let peer = format!("peer {peer}");
        let full = who(&blocker.labels).map_or_else(|| peer.clone(), |who| format!("{who} ({peer})"));
        let name = name_of(&blocker.labels).unwrap_or(peer);
        let others = match waiting.blocked_by.len() {
            0 | 1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        (format!("{does} {full}"), format!("{does} {name}"), others)
    };
    let (full, short, others) = match (blocker.kind, blocker.peer_id) {
        (Some(BlockerKind::Paused), _) => closed("paused"),
        (Some(BlockerKind::Rate), _) => {
            let until = blocker.until.map(|at| format!(" until {}", humantime::format_rfc3339_seconds(at)));
            closed(&format!("held back by its rate{}", until.unwrap_or_default()))
        }
        (_, None) => closed("not to be had yet"),
        (Some(BlockerKind::Holder), Some(peer)) => by("held by", peer),
        (Some(BlockerKind::Ahead), Some(peer)) => by("behind", peer),
        (_, Some(peer)) => by("held up by", peer),
    };
    let shorter = cut(&wanted.to_string(), NARROWEST);
    vec![
        format!("{begin}: {of}{full}{others}{place}"),
        format!("{begin}: {of}{short}{others}{place}"),
        format!("{begin}: {of}{short}"),
        format!("waiting for {shorter} ({so_far}): {of}{short}"),
        format!("{so_far}, {of}{short}"),
    ]
}

impl Drop for Notice {
    fn drop(&mut self) {
        if self.written {
            self.write("");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_chosen_that_has_room() {
        let notice = Notice::new("throttle run");
        let line =
            |columns| notice.fitting(["a: b, and more", "a: b", "b"].map(str::to_owned).into(), columns);
        assert_eq!(line(None), "throttle run: a: b, and more");
        assert_eq!(line(Some(29)), "throttle run: a: b, and more");
        assert_eq!(line(Some(28)), "throttle run: a: b");
        assert_eq!(line(Some(18)), "throttle run: b");
        assert_eq!(line(Some(10)), "throttle…");
    }
}
