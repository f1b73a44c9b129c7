//! A cluster under load for a while: what it needs must stay level.

use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::cluster::{Cluster, MEMBERS};
use crate::durable::Target;
use crate::process::{Server, memory_of};
use crate::rows::ROWS;
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
}

/// Puts load on a cluster for so many minutes.
pub(crate) fn run(options: &Options, server: &Server, minutes: u64) -> Result<Vec<Sample>> {
    note("starting three servers and three members of etcd");
    let cluster = Cluster::start(options, server, SETTINGS)?;
    let leader = cluster.leader(0)?;
    let mut target = Target::of(options, cluster.running(leader)?)?;
    let rows: Vec<_> = ROWS.iter().filter(|row| HERE.contains(&row.name)).collect();
    let part = Duration::from_secs(minutes * 60) / SAMPLES;
    let begin = now();
    let mut samples = Vec::new();
    for number in 1..=SAMPLES {
        let (mut rates, mut p99s) = (Vec::new(), Vec::new());
        while begin.elapsed() < part * number {
            for row in &rows {
                let timing = target.slice(row, options.pipeline, SLICE)?;
                rates.push(timing.rate);
                p99s.push(timing.p99_us);
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
            ..look(&cluster, leader)?
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
    })
}
