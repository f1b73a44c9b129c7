//! A command in a process group of its own.

use std::{
    io,
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    process::Command,
};

use rustix::process::{
    Pid, Signal as Send, WaitOptions, kill_current_process_group, kill_process_group,
    test_kill_process_group, waitpid,
};
use tokio::signal::unix::{self, SignalKind};

use super::{disposition::Disposition, signals::Signal, terminal::Terminal};

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It ended with this exit code, or with 128 more than the number of the signal that ended it.
    Ended(i32),
    /// It was suspended from the terminal and this process with it, which goes on now. The command does so only
    /// when it is told to.
    Suspended,
}

/// A running command, the leader of its own process group, to which all signals go.
///
/// On Linux it is killed when the thread that started it ends, so that is a thread for the whole process.
pub struct Child {
    group: Pid,
    stopped: bool,
    had_terminal: bool,
    terminal: Option<Terminal>,
    changes: unix::Signal,
}

impl Child {
    /// Starts a command. Where this process has the terminal, the command gets it.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such program; other kinds if it cannot be executed.
    pub fn start(mut command: Command) -> io::Result<Self> {
        let changes = unix::signal(SignalKind::child())?;
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
        Ok(Self { group, stopped: false, had_terminal, terminal, changes })
    }

    /// Waits until something becomes of the command. Nothing is lost when this is dropped before it is done.
    ///
    /// # Errors
    ///
    /// If the system refuses to tell.
    pub async fn change(&mut self) -> io::Result<Change> {
        loop {
            let options = WaitOptions::NOHANG | WaitOptions::UNTRACED | WaitOptions::CONTINUED;
            let Some((_, status)) = waitpid(Some(self.group), options)? else {
                // Several ends can make one signal, hence the question first.
                let _ = self.changes.recv().await;
                continue;
            };
            if let Some(code) = status.exit_status() {
                return Ok(self.ended(code));
            }
            if let Some(signal) = status.terminating_signal() {
                return Ok(self.ended(Signal(signal).exit_code()));
            }
            self.stopped = status.stopped();
            if let Some(signal) = status.stopping_signal()
                && self.suspend(signal)?
            {
                return Ok(Change::Suspended);
            }
        }
    }

    fn ended(&mut self, code: i32) -> Change {
        if let Some(terminal) = &self.terminal {
            terminal.take_from(self.group);
        }
        Change::Ended(code)
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

    /// Lets a suspended command go on, with the terminal if it had it and this process has it now.
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
        if signal.0 != libc::SIGTSTP {
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
    }

    /// Whether processes of its group go on after the command has ended.
    pub fn left_others(&self) -> bool {
        test_kill_process_group(self.group).is_ok()
    }

    /// A stopped process heeds no other signal.
    fn wake(&self) {
        if self.stopped {
            self.send(Send::CONT);
        }
    }

    fn send(&self, signal: Send) {
        // The group may have ended.
        let _ = kill_process_group(self.group, signal);
    }
}

/// Lets the system kill this process when its parent ends, however that ends.
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
