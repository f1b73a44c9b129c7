//! A cluster under load for a while: what it needs must stay level.

use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::cluster::{Cluster, MEMBERS, until};
use crate::durable::{Target, Timing};
use crate::process::{Server, memory_of};
use crate::rows::{ROWS, Row};
use crate::{Options, Result, http, note, now};

/// What is done in turns.
const HERE: &[&str] = &["cycle", "session", "v1-cycle"];
/// How much of the time is spent on load; the rest is for whatever else this machine does.
const SLICE: Duration = Duration::from_millis(300);
const PAUSE: Duration = Duration::from_millis(700);
/// How many samples there are.
const SAMPLES: u32 = 12;
/// Logs are made short often, so that many snapshots are made in an hour.
const SETTINGS: &str = "[durability]\nsnapshot_bytes = 4194304\n";
/// The default: here nobody measures how long nobody leads.
const LEASE: &str = "5s";
/// After so many changes of leader, something is wrong with the machine or the servers.
const CHANGES_MAX: u32 = 20;

/// What was seen over a part of the time.
#[derive(Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) minutes: f64,
    /// Operations a second while there was load; the median of all slices.
    pub(crate) rate: f64,
    /// The time that one request in a hundred exceeds, in microseconds; the median of all slices.
    pub(crate) p99_us: f64,
    /// Bytes of the database of the largest member of etcd.
    pub(crate) db_bytes: u64,
    /// Resident bytes of the largest member of etcd, of the leader and of the largest standby.
    pub(crate) memory: [u64; 3],
    /// The number of the last batch.
    pub(crate) position: u64,
    /// How often another server came to lead since the beginning: a disk that stands still for longer than a lease does
    /// that.
    pub(crate) changes: u32,
}

/// A cluster, and the server of it that is asked.
struct Asked<'a> {
    options: &'a Options,
    cluster: Cluster,
    leader: usize,
    target: Target,
    changes: u32,
}

impl Asked<'_> {
    /// Puts load on the leader for a moment. Returns nothing if that one leads no more.
    fn slice(&mut self, row: &Row) -> Result<Option<Timing>> {
        let failed = match self.target.slice(row, self.options.pipeline, SLICE) {
            Ok(timing) => return Ok(Some(timing)),
            Err(failed) => failed,
        };
        note(&format!("looking for the leader: {failed}"));
        self.changes += 1;
        if self.changes > CHANGES_MAX {
            return Err(failed);
        }
        let Self { options, cluster, .. } = self;
        let mut found = None;
        until("a leader takes load", || {
            found =
                cluster.leader(0).and_then(|at| Ok((at, Target::of(options, cluster.running(at)?)?))).ok();
            found.is_some()
        })?;
        (self.leader, self.target) = found.ok_or("no server leads")?;
        Ok(None)
    }
}

/// Puts load on a cluster for so many minutes.
pub(crate) fn run(options: &Options, server: &Server, minutes: u64) -> Result<Vec<Sample>> {
    note("starting three servers and three members of etcd");
    let cluster = Cluster::start(options, server, LEASE, SETTINGS)?;
    let leader = cluster.leader(0)?;
    let target = Target::of(options, cluster.running(leader)?)?;
    let mut asked = Asked { options, cluster, leader, target, changes: 0 };
    let rows: Vec<_> = ROWS.iter().filter(|row| HERE.contains(&row.name)).collect();
    let part = Duration::from_secs(minutes * 60) / SAMPLES;
    let begin = now();
    let mut samples = Vec::new();
    for number in 1..=SAMPLES {
        let (mut rates, mut p99s) = (Vec::new(), Vec::new());
        while begin.elapsed() < part * number {
            for row in &rows {
                if let Some(timing) = asked.slice(row)? {
                    rates.push(timing.rate);
                    p99s.push(timing.p99_us);
                }
                thread::sleep(PAUSE);
            }
        }
        let median = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or_default()
        };
        let sample = Sample {
            minutes: begin.elapsed().as_secs_f64() / 60.0,
            rate: median(rates),
            p99_us: median(p99s),
            changes: asked.changes,
            ..look(&asked.cluster, asked.leader)?
        };
        note(&format!("{sample:?}"));
        samples.push(sample);
    }
    Ok(samples)
}

fn look(cluster: &Cluster, leader: usize) -> Result<Sample> {
    let mut request = Vec::new();
    http::get(&mut request, "/v1/cluster");
    let status: Value = serde_json::from_slice(&cluster.running(leader)?.exchange(&request)?)?;
    let list = |name: &str| status.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let db_bytes = list("etcd").iter().filter_map(|member| member.get("db_bytes")?.as_u64()).max();
    let position = |server: &Value| server.get("position")?.as_str()?.parse().ok();
    let standbys = (0..MEMBERS).filter(|&at| at != leader);
    let standby = standbys.filter_map(|at| cluster.running(at).ok()?.memory()).max();
    let etcd = cluster.members().filter_map(memory_of).max();
    let memory = [etcd, cluster.running(leader)?.memory(), standby].map(Option::unwrap_or_default);
    Ok(Sample {
        minutes: 0.0,
        rate: 0.0,
        p99_us: 0.0,
        db_bytes: db_bytes.unwrap_or_default(),
        memory,
        position: list("servers").iter().filter_map(position).max().unwrap_or_default(),
        changes: 0,
    })
}
