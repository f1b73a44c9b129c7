//! A command in a process group of its own.

use std::{
    io, mem,
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    process::Command,
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{
        Pid, Signal as Send, WaitOptions, WaitStatus, kill_current_process_group, kill_process_group,
        test_kill_process_group,
    },
};
use tokio::{
    signal::unix::{self, SignalKind},
    time::timeout,
};

use super::{disposition::Disposition, left_behind::LeftBehind, signals::Signal, terminal::Terminal};

/// How long it takes at first, and at most, until the group of a command that has ended is looked at again: nobody is
/// told of the end of a process whose parent is outside of it.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It ended, but other processes of its group go on.
    Ended,
    /// It ended, and no process of its group is left. Its exit code, or 128 more than the number of the signal that
    /// ended it.
    Gone(i32),
    /// It was suspended from the terminal and this process with it, which goes on now. The command does so only
    /// when it is told to.
    Suspended,
}

/// A running command, the leader of its own process group, to which all signals go.
///
/// On Linux it is killed when the thread that started it ends, so that is a thread for the whole process.
pub struct Child {
    group: Pid,
    /// `None` while it runs.
    end: Option<End>,
    look_again: Duration,
    stopped: bool,
    /// Whether those that it left behind were asked to stop, and this process is to stop with them.
    follows_suspension: bool,
    had_terminal: bool,
    terminal: Option<Terminal>,
    changes: unix::Signal,
    left_behind: LeftBehind,
}

/// The end of the command itself.
struct End {
    code: i32,
    /// Whether it was told of while others of the group went on.
    is_told: bool,
}

impl Child {
    /// Starts a command. Where this process has the terminal, the command gets it.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such program; other kinds if it cannot be executed.
    pub fn start(mut command: Command) -> io::Result<Self> {
        let changes = unix::signal(SignalKind::child())?;
        adopt_orphans();
        // A process group that is not in front would be stopped when it takes the terminal back. And what stops
        // this process, but not the command, stops the renewal of the lock under which the command runs.
        let ignored = [Disposition::ignore(libc::SIGTTIN)?, Disposition::ignore(libc::SIGTTOU)?];
        let terminal = Terminal::controlling();
        let given = terminal.as_ref().filter(|terminal| terminal.suits());
        let given_descriptor = given.map(|terminal| terminal.descriptor().as_raw_fd());
        let parent = rustix::process::getpid();
        let prepare = move || {
            if let Some(descriptor) = given_descriptor {
                // SAFETY: this side of the fork has the descriptor open until it executes the command.
                let tty = unsafe { std::os::fd::BorrowedFd::borrow_raw(descriptor) };
                let _ = rustix::termios::tcsetpgrp(tty, rustix::process::getpid());
            }
            ignored.iter().try_for_each(Disposition::put_back)?;
            die_with(parent)
        };
        // SAFETY: what runs between fork and exec makes system calls only; it neither allocates nor locks.
        unsafe { command.pre_exec(prepare) };
        let started = command.process_group(0).spawn();
        let had_terminal = given.is_some();
        let child = match started {
            Ok(child) => child,
            Err(error) => {
                if let Some(terminal) = given {
                    terminal.give(rustix::process::getpgrp());
                }
                return Err(error);
            }
        };
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let group = group.ok_or_else(|| io::Error::other("the system gave no process id"))?;
        Ok(Self {
            group,
            end: None,
            look_again: LOOK_AGAIN.0,
            stopped: false,
            follows_suspension: false,
            had_terminal,
            terminal,
            changes,
            left_behind: LeftBehind::default(),
        })
    }

    /// Waits until something becomes of the command. Nothing is lost when this is dropped before it is done.
    ///
    /// # Errors
    ///
    /// If the system refuses to tell.
    pub async fn change(&mut self) -> io::Result<Change> {
        loop {
            // Several ends can make one signal, hence the question first.
            if let Some(change) = self.look()? {
                return Ok(change);
            }
            if self.end.is_none() {
                let _ = self.changes.recv().await;
            } else if timeout(self.look_again, self.changes.recv()).await.is_err() {
                self.look_again = (self.look_again * 2).min(LOOK_AGAIN.1);
            }
        }
    }

    /// The exit code, once the command has ended.
    pub fn exit_code(&self) -> Option<i32> {
        self.end.as_ref().map(|end| end.code)
    }

    fn look(&mut self) -> io::Result<Option<Change>> {
        let options = WaitOptions::NOHANG | WaitOptions::UNTRACED | WaitOptions::CONTINUED;
        loop {
            // All children, as those that the command left behind may be among them: one that ended stays in the
            // group until it is waited for.
            match rustix::process::wait(options) {
                Ok(Some((child, status))) if child == self.group => {
                    if self.became(status)? {
                        return Ok(Some(Change::Suspended));
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(Errno::CHILD) if self.end.is_some() => break,
                Err(error) => return Err(error.into()),
            }
        }
        if mem::take(&mut self.follows_suspension) && self.suspend(libc::SIGTSTP)? {
            return Ok(Some(Change::Suspended));
        }
        let has_others = self.has_others();
        let Some(end) = &mut self.end else { return Ok(None) };
        if !has_others {
            return Ok(Some(Change::Gone(end.code)));
        }
        Ok((!mem::replace(&mut end.is_told, true)).then_some(Change::Ended))
    }

    /// Takes note of what became of the command itself. Returns `true` if this process was suspended with it, and
    /// goes on now.
    fn became(&mut self, status: WaitStatus) -> io::Result<bool> {
        let by_signal = || status.terminating_signal().map(|signal| Signal(signal).exit_code());
        if let Some(code) = status.exit_status().or_else(by_signal) {
            self.end = Some(End { code, is_told: false });
            if let Some(terminal) = &self.terminal {
                terminal.take_from(self.group);
            }
            return Ok(false);
        }
        self.stopped = status.stopped();
        status.stopping_signal().map_or(Ok(false), |signal| self.suspend(signal))
    }

    /// Suspends this process after the command was, by `signal`, if that came from the terminal. Returns `true`
    /// when it goes on.
    fn suspend(&mut self, signal: libc::c_int) -> io::Result<bool> {
        let Some(terminal) = &self.terminal else { return Ok(false) };
        let wants_terminal = matches!(signal, libc::SIGTTIN | libc::SIGTTOU);
        if wants_terminal && terminal.is_ours() {
            self.resume_in_front();
            return Ok(false);
        }
        if !wants_terminal && signal != libc::SIGTSTP {
            return Ok(false);
        }
        self.had_terminal = terminal.take_from(self.group) || wants_terminal;
        // Those of the group that did not heed the other signal must not work on without a lock that is renewed.
        self.send(Send::STOP);
        // By default, and to the whole group: what the shell sees is what it would see without this process. Where
        // nobody could continue it, the system does not stop it.
        let ours = Disposition::default(libc::SIGTSTP)?;
        kill_current_process_group(Send::TSTP)?;
        ours.put_back()?;
        Ok(true)
    }

    /// Resumes a suspended command, with the terminal if it had it and this process has it now.
    pub fn resume(&mut self) {
        let in_front = self.had_terminal && self.terminal.as_ref().is_some_and(Terminal::is_ours);
        if in_front {
            self.resume_in_front();
        } else {
            self.send(Send::CONT);
        }
    }

    fn resume_in_front(&mut self) {
        if let Some(terminal) = &self.terminal {
            terminal.give(self.group);
            self.had_terminal = true;
        }
        self.send(Send::CONT);
    }

    /// Passes a signal on.
    pub fn forward(&mut self, signal: Signal) {
        if let Some(signal) = Send::from_named_raw(signal.0) {
            self.send(signal);
        }
        if signal.0 == libc::SIGTSTP {
            self.follows_suspension = self.end.is_some();
        } else if signal.asks_to_end() || self.stopped {
            self.wake();
        }
    }

    /// Asks the command to end.
    pub fn terminate(&mut self) {
        self.send(Send::TERM);
        self.wake();
    }

    /// Ends the command.
    pub fn kill(&mut self) {
        self.send(Send::KILL);
        self.look_again = LOOK_AGAIN.0;
    }

    /// Whether it left processes behind outside of its group, as far as this system tells.
    pub fn has_left_behind(&mut self) -> bool {
        // One that ended is a child until it is waited for.
        let _ = self.look();
        LeftBehind::any(self.group)
    }

    /// Asks those processes to end, each of them once.
    pub fn terminate_left_behind(&mut self) {
        self.left_behind.terminate(self.group);
    }

    /// Ends those processes.
    pub fn kill_left_behind(&mut self) {
        LeftBehind::kill(self.group);
    }

    /// Whether there are processes in its group, also such as belong to another user.
    fn has_others(&self) -> bool {
        matches!(test_kill_process_group(self.group), Ok(()) | Err(Errno::PERM))
    }

    /// A stopped process heeds no other signal.
    fn wake(&self) {
        self.send(Send::CONT);
    }

    fn send(&self, signal: Send) {
        // The group may have ended.
        let _ = kill_process_group(self.group, signal);
    }
}

/// Makes this process the parent of those that the command leaves behind, so that it learns of their end, and so that
/// they leave the process group then, also in a container without an init process.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn adopt_orphans() {
    // Where the system does not know of this, they go to its init process.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

/// Other systems have no such means.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn adopt_orphans() {}

/// Asks the system to kill this process when its parent ends, however that ends.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn die_with(parent: Pid) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Send::KILL))?;
    // The parent may have ended just before.
    if rustix::process::getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
}

/// Other systems have no such means.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn die_with(_parent: Pid) -> io::Result<()> {
    Ok(())
}
