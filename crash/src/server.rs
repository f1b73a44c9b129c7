//! The process that is killed.

use std::{
    fs::OpenOptions,
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Instant,
};

use tokio::sync::watch;

use crate::clock::now;

/// What the log told so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    /// Where it listens, once it does.
    pub(crate) port: Option<u16>,
    /// When it said so.
    pub(crate) ready_at: Option<Instant>,
    /// How many snapshots were begun.
    pub(crate) begun: u64,
    /// How many were finished.
    pub(crate) finished: u64,
    /// Warnings and errors.
    pub(crate) complaints: Vec<String>,
    /// The epoch in which it began to lead last, if it is one of several.
    pub(crate) epoch: Option<u64>,
    /// Whether there will be no more.
    pub(crate) is_over: bool,
}

impl Said {
    fn hear(&mut self, line: String) {
        if let Some((_, port)) = line.split_once("Listening on http://127.0.0.1:") {
            (self.port, self.ready_at) = (port.trim().parse().ok(), Some(now()));
        } else if line.contains("The journal is being made short") {
            self.begun += 1;
        } else if line.contains("The journal was made short") {
            self.finished += 1;
        } else if let Some((_, epoch)) = line.split_once("This server leads, in epoch ") {
            self.epoch = epoch.trim_end_matches('.').parse().ok();
        } else if !line.contains(" INFO ") && !line.contains(" DEBUG ") && !tells_of_clients(&line) {
            self.complaints.push(line);
        }
    }
}

/// Whether a line tells of what clients did, or did not do any more.
fn tells_of_clients(line: &str) -> bool {
    ["] Unknown semaphore", "] Deletion of unknown peer", " due to expiration"]
        .iter()
        .any(|what| line.contains(what))
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) said: watch::Receiver<Said>,
    /// Before which it cannot have done anything.
    pub(crate) spawned: Instant,
}

impl Server {
    /// Starts it in `directory`, with the configuration that is there. Its log is kept beside that.
    pub(crate) fn start(
        binary: &Path,
        directory: &Path,
        arguments: &[&str],
        environment: &[(&str, PathBuf)],
    ) -> io::Result<Self> {
        let spawned = now();
        let mut log = OpenOptions::new().create(true).append(true).open(directory.join("log"))?;
        let mut child = Command::new(binary)
            .args(["--port", "0"])
            .args(arguments)
            .current_dir(directory)
            .env("THROTTLE_LOG", "warn,throttle=debug")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take().ok_or_else(|| io::Error::other("no standard error"))?;
        let (sender, said) = watch::channel(Said::default());
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                // It is for people: without it the test still tests.
                let _ = writeln!(log, "{line}");
                sender.send_modify(|said| said.hear(line));
            }
            sender.send_modify(|said| said.is_over = true);
        });
        Ok(Self { child, said, spawned })
    }

    /// Waits until it listens. `None`: it ended before.
    pub(crate) async fn ready(&mut self) -> Option<u16> {
        let said = self.said.wait_for(|said| said.port.is_some() || said.is_over).await.ok()?;
        said.port
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()
    }

    /// Asks it to end.
    #[cfg(unix)]
    pub(crate) fn terminate(&self) -> io::Result<()> {
        self.signal(rustix::process::Signal::TERM)
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: rustix::process::Signal) -> io::Result<()> {
        Ok(rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal)?)
    }

    #[cfg(not(unix))]
    pub(crate) fn terminate(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Waits until it has ended, and nothing that it wrote is unread.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        drop(self.said.wait_for(|said| said.is_over).await);
        self.child.wait()
    }

    pub(crate) fn said(&self) -> Said {
        self.said.borrow().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already, unless something went wrong.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
