//! Windows.

use std::{io, process::Command};

/// Small objects come and go with every request, on any thread: this costs less than the system's allocator.
pub use mimalloc::MiMalloc as Memory;
use tokio::signal::windows;

/// Does nothing: Windows has no large pages but for those who have the right to them.
pub fn large_pages_on_request() {}

/// The process that started this one; Windows does not remember it.
pub fn parent() -> Option<u32> {
    None
}

/// Whether the standard output is this file. Nobody can tell from what is known of it here.
pub fn is_standard_output(_: &std::fs::Metadata) -> bool {
    false
}

/// This process was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal;

impl Signal {
    /// The exit code of a process that Ctrl+C ended, as shells that come from Unix know it.
    pub fn exit_code(self) -> i32 {
        130
    }

    /// Each of them does.
    pub fn asks_to_end(self) -> bool {
        true
    }
}

/// The ways in which this process is asked to stop, as they come.
pub struct Signals {
    c: windows::CtrlC,
    r#break: windows::CtrlBreak,
    close: windows::CtrlClose,
    logoff: windows::CtrlLogoff,
    shutdown: windows::CtrlShutdown,
}

impl Signals {
    /// Takes note of them from now on, in place of ending.
    ///
    /// # Errors
    ///
    /// If the system does not let this process listen for signals.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            c: windows::ctrl_c()?,
            r#break: windows::ctrl_break()?,
            close: windows::ctrl_close()?,
            logoff: windows::ctrl_logoff()?,
            shutdown: windows::ctrl_shutdown()?,
        })
    }

    /// Does nothing: there is no job control.
    ///
    /// # Errors
    ///
    /// None.
    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "does something on Unix")]
    pub fn listen_for_job_control(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// The next one. It loses none when it is dropped before it is done.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.c.recv() => {}
            _ = self.r#break.recv() => {}
            _ = self.close.recv() => {}
            _ = self.logoff.recv() => {}
            _ = self.shutdown.recv() => {}
        }
        Signal
    }
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Does not happen here.
    Ended,
    /// It ended with this exit code.
    Gone(i32),
    /// Does not happen here.
    Suspended,
}

/// A running command. The processes that it starts are not reached.
pub struct Child {
    process: tokio::process::Child,
    code: Option<i32>,
}

impl Child {
    /// Starts a command.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such program; other kinds if it cannot be executed.
    pub fn start(command: Command) -> io::Result<Self> {
        Ok(Self { process: tokio::process::Command::from(command).spawn()?, code: None })
    }

    /// Waits until something becomes of the command. Nothing is lost when this is dropped before it is done.
    ///
    /// # Errors
    ///
    /// If the system refuses to tell.
    pub async fn change(&mut self) -> io::Result<Change> {
        let code = self.process.wait().await?.code().unwrap_or(1);
        self.code = Some(code);
        Ok(Change::Gone(code))
    }

    /// The exit code, once the command has ended.
    pub fn exit_code(&self) -> Option<i32> {
        self.code
    }

    /// Nobody knows here.
    #[expect(clippy::unused_self, reason = "tells something on Unix")]
    pub fn has_left_behind(&mut self) -> bool {
        false
    }

    /// Does nothing.
    #[expect(clippy::unused_self, reason = "does something on Unix")]
    pub fn terminate_left_behind(&mut self) {}

    /// Does nothing.
    #[expect(clippy::unused_self, reason = "does something on Unix")]
    pub fn kill_left_behind(&mut self) {}

    /// Does nothing: there is no job control.
    #[expect(clippy::unused_self, reason = "does something on Unix")]
    pub fn resume(&mut self) {}

    /// Does nothing: the console tells the command itself.
    #[expect(clippy::unused_self, reason = "does something on Unix")]
    pub fn forward(&mut self, _signal: Signal) {}

    /// Ends the command: there is no way to ask.
    pub fn terminate(&mut self) {
        self.kill();
    }

    /// Ends the command.
    pub fn kill(&mut self) {
        // It may have ended.
        let _ = self.process.start_kill();
    }
}
