//! Several servers on etcd: how fast they are, with how long nobody leads after a leader was killed; beside it, locks
//! taken with etcd's own lock service.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::Value;

use crate::durable::{Target, Timing};
use crate::http::{self, Answer};
use crate::load::{self, Load, Script};
use crate::process::{Running, Server, start};
use crate::rows::{ROWS, Row};
use crate::stats::Spread;
use crate::throughput::in_turns;
use crate::{Options, Result, note, now};

/// The members of etcd, and the servers.
pub(crate) const MEMBERS: usize = 3;
/// The rows that are measured.
const HERE: &[&str] = &["heartbeat", "cycle", "session", "v1-cycle"];
/// As short as it may be.
const LEASE: &str = "2s";
/// How often a leader is killed.
const KILLS: usize = 50;
const KILLS_QUICK: usize = 3;
const PATIENCE: Duration = Duration::from_mins(1);
/// How often it is tried whether somebody leads again.
const PAUSE: Duration = Duration::from_millis(5);
/// For how long etcd's locks are held at most, in seconds.
const LEASE_SECONDS: u64 = 3600;

/// One row, with requests sent to one of the servers.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) row: &'static str,
    /// Who is asked.
    pub(crate) asked: &'static str,
    /// Operations per second; a cycle is two.
    pub(crate) rate: Spread,
    /// The time that one request in a hundred exceeds, in microseconds.
    pub(crate) p99_us: Spread,
}

/// How long nobody led after a leader was killed, in seconds.
#[derive(Debug, Serialize)]
pub(crate) struct Failover {
    pub(crate) kills: usize,
    pub(crate) median: f64,
    pub(crate) worst: f64,
}

/// An etcd on the loopback interface. It is ended when this is dropped.
struct Etcd {
    members: Vec<Child>,
    clients: Vec<SocketAddr>,
    directory: PathBuf,
}

impl Etcd {
    fn start() -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("throttle-bench-etcd-{}", std::process::id()));
        let free = || TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?.local_addr();
        let clients: Vec<_> = (0..MEMBERS).map(|_| free()).collect::<std::io::Result<_>>()?;
        let peers: Vec<_> = (0..MEMBERS).map(|_| free()).collect::<std::io::Result<_>>()?;
        let all: Vec<_> = peers.iter().enumerate().map(|(at, peer)| format!("m{at}=http://{peer}")).collect();
        let mut etcd = Self { members: Vec::new(), clients: clients.clone(), directory };
        for (at, (client, peer)) in clients.iter().zip(&peers).enumerate() {
            let [client, peer] = [client, peer].map(|address| format!("http://{address}"));
            let member = Command::new("etcd")
                .args(["--name", &format!("m{at}"), "--data-dir"])
                .arg(etcd.directory.join(format!("m{at}")))
                .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
                .args(["--initial-cluster", &all.join(","), "--snapshot-count", "10000"])
                .args(["--log-level", "error"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .map_err(|error| format!("cannot start etcd (on Debian: etcd-server): {error}"))?;
            etcd.members.push(member);
        }
        let mut health = Vec::new();
        http::get(&mut health, "/health");
        let is_healthy = |body: Vec<u8>| String::from_utf8_lossy(&body).contains("true");
        for &client in &etcd.clients {
            until("etcd answers", || load::exchange(client, &None, &health).is_ok_and(is_healthy))?;
        }
        Ok(etcd)
    }

    /// A lease for the locks of etcd.
    fn lease(&self) -> Result<String> {
        let mut request = Vec::new();
        http::post(&mut request, "/v3/lease/grant", &format!("{{\"TTL\":{LEASE_SECONDS}}}"));
        let client = self.clients.first().ok_or("no members")?;
        let answer: Value = serde_json::from_slice(&load::exchange(*client, &None, &request)?)?;
        Ok(answer.get("ID").and_then(Value::as_str).ok_or("no lease")?.to_owned())
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.kill();
            let _ = member.wait();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Takes a lock of etcd's own and gives it back, free of contention.
struct EtcdCycle {
    name: String,
    lease: String,
    key: Option<String>,
    asked: bool,
}

impl Script for EtcdCycle {
    fn request(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.asked, true) {
            return;
        }
        match &self.key {
            None => {
                let body = format!(r#"{{"name":"{}","lease":"{}"}}"#, self.name, self.lease);
                http::post(out, "/v3/lock/lock", &body);
            }
            Some(key) => http::post(out, "/v3/lock/unlock", &format!(r#"{{"key":"{key}"}}"#)),
        }
    }

    fn answer(&mut self, answer: &Answer<'_>) -> std::result::Result<u64, String> {
        answer.expect(200)?;
        self.asked = false;
        if self.key.take().is_none() {
            let body: Value = serde_json::from_slice(answer.body).map_err(|error| error.to_string())?;
            let key = body.get("key").and_then(Value::as_str).ok_or("a lock without a key")?;
            self.key = Some(key.to_owned());
        }
        Ok(1)
    }

    fn may_stop(&self) -> bool {
        self.key.is_none() && !self.asked
    }
}

/// Servers of one cluster.
pub(crate) struct Cluster {
    etcd: Etcd,
    servers: Vec<Option<Running>>,
    plan: Server,
}

impl Cluster {
    /// Servers whose leader has a lease of this length, and whose files say `more`.
    pub(crate) fn start(options: &Options, server: &Server, lease: &str, more: &str) -> Result<Self> {
        let etcd = Etcd::start()?;
        let urls: Vec<_> = etcd.clients.iter().map(|client| format!("\"http://{client}\"")).collect();
        let urls = urls.join(", ");
        let settings = format!(
            "{more}[cluster]\nendpoints = [{urls}]\nadvertise = \"http://127.0.0.1:{{port}}\"\nlease = \"{lease}\"\n"
        );
        // It lives as long as this process, which needs but one.
        let plan = Server { settings: settings.leak(), ..server.clone() };
        let mut cluster = Self { etcd, servers: Vec::new(), plan };
        for at in 0..MEMBERS {
            cluster.servers.push(None);
            cluster.start_one(options, at)?;
        }
        Ok(cluster)
    }

    /// The processes of etcd.
    pub(crate) fn members(&self) -> impl Iterator<Item = u32> {
        self.etcd.members.iter().map(Child::id)
    }

    fn start_one(&mut self, options: &Options, at: usize) -> Result<()> {
        let running = start(&self.plan, options.pin)?;
        if let Some(place) = self.servers.get_mut(at) {
            *place = Some(running);
        }
        Ok(())
    }

    pub(crate) fn running(&self, at: usize) -> Result<&Running> {
        self.servers.get(at).and_then(Option::as_ref).ok_or_else(|| "it does not run".into())
    }

    /// The server that leads, as the one at this place says.
    pub(crate) fn leader(&self, asked: usize) -> Result<usize> {
        let mut request = Vec::new();
        http::get(&mut request, "/v1/cluster");
        let mut leader = None;
        until("a server leads", || {
            let status = self.running(asked).and_then(|running| running.exchange(&request));
            let status: Option<Value> = status.ok().and_then(|body| serde_json::from_slice(&body).ok());
            let url = status.as_ref().and_then(|status| status.pointer("/leader/url")?.as_str());
            leader = url.and_then(|url| {
                let is_it = |running: &Running| url.ends_with(&format!(":{}", running.address.port()));
                self.servers.iter().position(|server| server.as_ref().is_some_and(is_it))
            });
            leader.is_some()
        })?;
        leader.ok_or_else(|| "no server leads".into())
    }
}

/// Measures all of it.
pub(crate) fn measure(options: &Options, server: &Server, quick: bool) -> Result<(Vec<Line>, Failover)> {
    note("starting three servers and three members of etcd");
    let mut cluster = Cluster::start(options, server, LEASE, "")?;
    let leader = cluster.leader(0)?;
    let standby = (leader + 1) % MEMBERS;
    let mut targets = [
        ("the leader", Target::of(options, cluster.running(leader)?)?),
        ("a standby", Target::of(options, cluster.running(standby)?)?),
    ];
    let mut lines = Vec::new();
    for row in ROWS.iter().filter(|row| HERE.contains(&row.name)) {
        note(&format!("measuring {} in a cluster", row.name));
        lines.extend(compare(options, row, &mut targets)?);
    }
    drop(targets);
    note("measuring the lock service of etcd");
    lines.push(etcd_locks(options, &cluster.etcd)?);
    let kills = if quick { KILLS_QUICK } else { KILLS };
    note(&format!("killing {kills} leaders"));
    let mut seconds = Vec::new();
    for _ in 0..kills {
        seconds.push(kill(options, &mut cluster)?);
    }
    seconds.sort_by(f64::total_cmp);
    let median = *seconds.get(seconds.len() / 2).ok_or("no kills")?;
    let worst = *seconds.last().ok_or("no kills")?;
    Ok((lines, Failover { kills, median, worst }))
}

fn compare(options: &Options, row: &Row, targets: &mut [(&'static str, Target); 2]) -> Result<Vec<Line>> {
    let mut samples: [Vec<Timing>; 2] = [Vec::new(), Vec::new()];
    for (_, target) in targets.iter_mut() {
        target.slice(row, options.pipeline, options.slice / 4)?;
    }
    in_turns(options.rounds, targets, &mut samples, |(_, target)| {
        target.slice(row, options.pipeline, options.slice)
    })?;
    let line = |(asked, samples): (&'static str, &Vec<Timing>)| line(row.name, asked, samples);
    targets.iter().map(|(asked, _)| *asked).zip(&samples).map(line).collect()
}

fn line(row: &'static str, asked: &'static str, samples: &[Timing]) -> Result<Line> {
    let spread = |pick: fn(&Timing) -> f64| {
        Spread::of(&samples.iter().map(pick).collect::<Vec<_>>()).ok_or("no rounds")
    };
    Ok(Line { row, asked, rate: spread(|sample| sample.rate)?, p99_us: spread(|sample| sample.p99_us)? })
}

/// etcd's own locks, over the JSON that its members speak, each connection with a name of its own.
fn etcd_locks(options: &Options, etcd: &Etcd) -> Result<Line> {
    let lease = etcd.lease()?;
    let client = etcd.clients.first().ok_or("no members")?;
    let mut load = Load::connect(*client, &None, options.connections)?;
    let mut samples = Vec::new();
    for round in 0..=options.rounds {
        let script = |connection: usize| {
            let name = BASE64_STANDARD.encode(format!("bench-{connection}"));
            Box::new(EtcdCycle { name, lease: lease.clone(), key: None, asked: false }) as Box<dyn Script>
        };
        let sample = Timing::of(&mut load, script, 1, options.slice)?;
        // The first one is to get warm.
        if round > 0 {
            samples.push(sample);
        }
    }
    line("lock and unlock", "etcd itself", &samples)
}

/// Kills the leader. Returns how long it took until a change was acknowledged again, in seconds.
fn kill(options: &Options, cluster: &mut Cluster) -> Result<f64> {
    let leader = cluster.leader(0)?;
    let other = (leader + 1) % MEMBERS;
    let mut request = Vec::new();
    http::new_peer(&mut request);
    let begin = now();
    if let Some(place) = cluster.servers.get_mut(leader) {
        *place = None;
    }
    until("a change is acknowledged again", || {
        cluster.running(other).and_then(|running| running.exchange(&request)).is_ok()
    })?;
    let seconds = begin.elapsed().as_secs_f64();
    cluster.start_one(options, leader)?;
    Ok(seconds)
}

pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<()> {
    let begin = now();
    while !is_so() {
        if begin.elapsed() > PATIENCE {
            return Err(format!("in vain: {what}").into());
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}
