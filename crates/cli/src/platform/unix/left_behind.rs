//! What a command left behind outside of its process group. On Linux such processes become children of this one, as it
//! is a subreaper; elsewhere nobody knows of them.

use std::collections::BTreeSet;

use rustix::process::{Pid, Signal, kill_process};

/// Processes that were left behind.
#[derive(Default)]
pub(super) struct LeftBehind {
    /// Those that were asked to end.
    asked: BTreeSet<i32>,
}

impl LeftBehind {
    /// Whether there are any beside a group.
    pub(super) fn any(group: Pid) -> bool {
        !children_outside(group).is_empty()
    }

    /// Asks those to end that were not asked yet.
    pub(super) fn terminate(&mut self, group: Pid) {
        for process in children_outside(group) {
            if self.asked.insert(process.as_raw_nonzero().get()) {
                send(process, Signal::TERM);
                // A stopped process heeds no other signal.
                send(process, Signal::CONT);
            }
        }
    }

    /// Ends them.
    pub(super) fn kill(group: Pid) {
        for process in children_outside(group) {
            send(process, Signal::KILL);
        }
    }
}

fn send(process: Pid, signal: Signal) {
    // It may have ended; only its parent, this process, gives its number free.
    let _ = kill_process(process, signal);
}

/// The children of this process that are not in a group.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn children_outside(group: Pid) -> Vec<Pid> {
    let ours = std::process::id().to_string();
    let Ok(all) = std::fs::read_dir("/proc") else { return Vec::new() };
    let child = |entry: std::fs::DirEntry| {
        let process = entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name before it may have parentheses and spaces: proc_pid_stat(5).
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let (_state, parent, of) = (fields.next()?, fields.next()?, fields.next()?);
        (parent == ours && of.parse() != Ok(group.as_raw_nonzero().get())).then_some(process)
    };
    all.flatten().filter_map(child).collect()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn children_outside(_: Pid) -> Vec<Pid> {
    Vec::new()
}
