//! An etcd of three members, each a process.

use std::{
    io,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

/// How many members there are.
pub(super) const MEMBERS: usize = 3;

/// One of them.
pub(super) struct Member {
    /// Where clients reach it.
    pub(super) port: u16,
    arguments: Vec<String>,
    child: Option<Child>,
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Starts all of them, with their data below `directory`.
pub(super) fn start(directory: &Path) -> io::Result<Vec<Member>> {
    let ports = (0..MEMBERS).map(|_| Ok((free_port()?, free_port()?)));
    let ports: Vec<(u16, u16)> = ports.collect::<io::Result<_>>()?;
    let url = |port| format!("http://127.0.0.1:{port}");
    let all: Vec<_> =
        ports.iter().enumerate().map(|(at, (_, peer))| format!("m{at}={}", url(peer))).collect();
    let mut members = Vec::new();
    for (at, (port, peer)) in ports.iter().enumerate() {
        let (client, peer) = (url(port), url(peer));
        let arguments = [
            ["--name", &format!("m{at}")],
            ["--data-dir", &directory.join(format!("m{at}")).display().to_string()],
            ["--listen-client-urls", &client],
            ["--advertise-client-urls", &client],
            ["--listen-peer-urls", &peer],
            ["--initial-advertise-peer-urls", &peer],
            ["--initial-cluster", &all.join(",")],
            ["--snapshot-count", "10000"],
            ["--log-level", "error"],
        ];
        let arguments = arguments.concat().into_iter().map(str::to_owned).collect();
        let mut member = Member { port: *port, arguments, child: None };
        member.start()?;
        members.push(member);
    }
    Ok(members)
}

impl Member {
    /// Starts it, unless it runs.
    pub(super) fn start(&mut self) -> io::Result<()> {
        if self.child.is_none() {
            let mut command = Command::new("etcd");
            command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let missing = |error| io::Error::other(format!("etcd (on Debian: etcd-server): {error}"));
            self.child = Some(command.spawn().map_err(missing)?);
        }
        Ok(())
    }

    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        let child = self.child.as_ref().ok_or_else(|| io::Error::other("the member does not run"))?;
        Ok(kill_process(Pid::from_child(child), signal)?)
    }

    pub(super) fn kill(&mut self) -> io::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.kill();
    }
}
