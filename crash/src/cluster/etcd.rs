//! An etcd of three members, each a process, whose ways to each other can be cut, and whose disks freeze.

use std::{
    io,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::Ordering::Relaxed,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{
    disk::Disk,
    peers::{Processes, Ways},
};
use crate::{
    clock::now,
    http::{Call, Connection},
    run::Outcome,
};

/// How many members there are.
pub(super) const MEMBERS: usize = 3;
/// Whether the ways between members can be cut: it must be known whose a connection is.
pub(super) const CAN_BE_CUT: bool = cfg!(target_os = "linux");

/// How long a member may take to say whether it is healthy.
const HEALTH_WITHIN: Duration = Duration::from_millis(200);
/// The pause before it is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// One of them.
pub(super) struct Member {
    pub(super) at: usize,
    /// Where clients reach it.
    pub(super) port: u16,
    arguments: Vec<String>,
    child: Option<Child>,
    processes: Processes,
    /// Its disk, if that can be frozen.
    pub(super) disk: Option<Disk>,
    /// The ways of the others to it.
    pub(super) ways: Ways,
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// Starts all of them, with their data below `directory`.
pub(super) async fn start(directory: &Path) -> io::Result<Vec<Member>> {
    let processes = Processes::default();
    // Where clients and where other members reach it, and where the latter are told that they do.
    let mut ports = Vec::new();
    for _ in 0..MEMBERS {
        let (client, peer) = (free_port()?, free_port()?);
        let ways = Ways::to(peer);
        let mut told = peer;
        if CAN_BE_CUT {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
            told = listener.local_addr()?.port();
            ways.clone().carry(listener, processes.clone());
        }
        ports.push((client, peer, told, ways));
    }
    let all: Vec<_> =
        ports.iter().enumerate().map(|(at, (.., told, _))| format!("m{at}={}", url(*told))).collect();
    let mut members = Vec::new();
    for (at, (port, peer, told, ways)) in ports.into_iter().enumerate() {
        let place = directory.join(format!("m{at}"));
        let disk = Disk::mount(&place)?;
        let client = url(port);
        let arguments = [
            ["--name", &format!("m{at}")],
            ["--data-dir", &place.join("data").display().to_string()],
            ["--listen-client-urls", &client],
            ["--advertise-client-urls", &client],
            ["--listen-peer-urls", &url(peer)],
            ["--initial-advertise-peer-urls", &url(told)],
            ["--initial-cluster", &all.join(",")],
            // As `docs/cluster.md` has it for members that are near each other.
            ["--heartbeat-interval", "50"],
            ["--election-timeout", "500"],
            ["--snapshot-count", "10000"],
            ["--log-level", "error"],
        ];
        let arguments = arguments.concat().into_iter().map(str::to_owned).collect();
        let mut member =
            Member { at, port, arguments, child: None, processes: processes.clone(), disk, ways };
        member.start()?;
        members.push(member);
    }
    Ok(members)
}

/// Waits until one of the members behind these ports says that it is healthy: that takes a leader, and a read that most
/// of them agree to. Returns how long that was.
pub(super) async fn healthy_again(ports: Vec<u16>) -> Duration {
    let begun = now();
    loop {
        for port in &ports {
            let asked = async {
                let answer = Connection::open(*port).await?.ask(&Call::get("/health")).await?;
                Ok::<_, io::Error>(answer.text().contains("\"true\""))
            };
            if let Ok(Ok(true)) = timeout(HEALTH_WITHIN, asked).await {
                return begun.elapsed();
            }
        }
        sleep(ASK_AGAIN_AFTER).await;
    }
}

/// Cuts a member off from the others, or lets it be one of them again.
pub(super) fn cut(members: &[Member], off: usize, is_cut: bool) {
    for member in members {
        if member.at == off {
            for other in (0..MEMBERS).filter(|other| *other != off) {
                member.ways.cut(other, is_cut);
            }
        } else {
            member.ways.cut(off, is_cut);
        }
    }
}

impl Member {
    /// Starts it, unless it runs.
    pub(super) fn start(&mut self) -> io::Result<()> {
        if self.child.is_none() {
            let mut command = Command::new("etcd");
            command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let missing = |error| io::Error::other(format!("etcd (on Debian: etcd-server): {error}"));
            let child = command.spawn().map_err(missing)?;
            if let Some(process) = self.processes.get(self.at) {
                process.store(child.id(), Relaxed);
            }
            self.child = Some(child);
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

    /// Its disk freezes, or thaws.
    pub(super) fn freeze(&mut self, is_frozen: bool) -> io::Result<()> {
        match &mut self.disk {
            Some(disk) if is_frozen => disk.freeze(),
            Some(disk) => disk.thaw(),
            None => Ok(()),
        }
    }

    /// Lets etcd say that it is full, or that it is not any more.
    pub(super) async fn alarm(&self, is_full: bool) -> Outcome<()> {
        let status = self.ask("/v3/maintenance/status", &json!({})).await?;
        let id = status.get("header").and_then(|header| header.get("member_id")).cloned();
        let action = if is_full { "ACTIVATE" } else { "DEACTIVATE" };
        let body = json!({ "action": action, "memberID": id, "alarm": "NOSPACE" });
        self.ask("/v3/maintenance/alarm", &body).await?;
        Ok(())
    }

    /// Asks it by its gateway for JSON.
    async fn ask(&self, path: &str, body: &Value) -> Outcome<Value> {
        let mut connection = Connection::open(self.port).await?;
        let answer = connection.ask(&Call::new("POST", path, body.to_string())).await?;
        if answer.status != 200 {
            return Err(format!("etcd answers {path} with {} {}", answer.status, answer.text()).into());
        }
        Ok(answer.json()?)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Nothing ends while it waits for a disk.
        let _ = self.freeze(false);
        // It may have ended already.
        let _ = self.kill();
    }
}
