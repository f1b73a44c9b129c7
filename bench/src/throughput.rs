//! The rates: each row on each server at each number of idle peers, in short slices that take turns.
//!
//! All servers are started and filled first and stay up; one that is not asked anything costs nothing. A
//! round measures a row once everywhere, forwards and backwards in turn, so that a ratio is always one of two
//! slices of the same round.

use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;

use crate::dashboards::Dashboards;
use crate::load::{Load, Script};
use crate::process::{self, BARE, Kind, Running, Server};
use crate::rows::{Create, Heartbeat, Peers, ROWS, Remove, Row};
use crate::stats::Spread;
use crate::{Options, Result, http, note, now};

/// A filled server and the connections to it.
pub(crate) struct Target {
    server: &'static str,
    kind: Kind,
    /// How many idle peers were asked for: what targets are compared by.
    level: usize,
    /// Whether it serves `/v1`.
    has_v1: bool,
    /// How many there are; fewer if filling took too long.
    idle: usize,
    /// Closed before the server ends.
    dashboards: Option<Dashboards>,
    running: Running,
    load: Load,
    peers: Rc<Peers>,
    memory: Option<Memory>,
}

/// What idle peers take.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Memory {
    pub(crate) server: &'static str,
    /// How many were made; fewer than asked for if the time was over.
    pub(crate) idle_peers: usize,
    /// Resident memory before, in bytes.
    pub(crate) before: u64,
    /// Resident memory with them.
    pub(crate) after: u64,
    /// Peers made per second while filling.
    pub(crate) fill_rate: f64,
}

/// The figures of one row on one server at one number of idle peers.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    pub(crate) row: &'static str,
    pub(crate) server: &'static str,
    pub(crate) idle_peers: usize,
    /// Operations per second.
    pub(crate) rate: Spread,
    /// Against the same server without idle peers.
    pub(crate) vs_empty: Option<Spread>,
    /// Against the bare server.
    pub(crate) vs_bare: Option<Spread>,
    /// Against the other server with as many idle peers.
    pub(crate) vs_other: Option<Spread>,
    /// Operations per processor time of the server, against the other server.
    pub(crate) work_vs_other: Option<Spread>,
    /// The rate of the other server with as many idle peers.
    pub(crate) other_rate: Option<Spread>,
    /// Operations per processor time of the server, against the same server without idle peers.
    pub(crate) work_vs_empty: Option<Spread>,
    /// Operations per processor time of the server, against the bare server.
    pub(crate) work_vs_bare: Option<Spread>,
    /// Against the same server without dashboards.
    pub(crate) vs_unwatched: Option<Spread>,
    /// Operations per processor time of the server, against the same server without dashboards.
    pub(crate) work_vs_unwatched: Option<Spread>,
    /// Updates that each dashboard got by a slice, on average; the last one may come just after it.
    pub(crate) updates: Option<f64>,
    /// Processor time of the server per operation, in microseconds.
    pub(crate) server_us: Option<Spread>,
    /// Processor time of the load generator per operation, in microseconds.
    pub(crate) client_us: Option<Spread>,
}

/// One slice.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) rate: f64,
    server_us: Option<f64>,
    client_us: Option<f64>,
}

/// Requests open per connection while filling and clearing.
const DEPTH: usize = 16;

/// Starts and fills all servers and measures all rows that were chosen.
pub(crate) fn measure(options: &Options, servers: &[Server]) -> Result<(Vec<Line>, Vec<Memory>)> {
    let rows: Vec<&Row> = ROWS.iter().filter(|row| options.wants(row.name)).collect();
    let fill_only = rows.is_empty();
    let mut targets = Vec::new();
    for server in servers {
        let has_levels = matches!(server.kind, Kind::Throttle | Kind::Other);
        let levels: &[usize] = if has_levels { &options.peers } else { &[0] };
        for &idle in levels {
            if fill_only && (idle == 0 || !has_levels) {
                continue;
            }
            note(&format!("starting {} with {idle} idle peers", server.name));
            targets.push(Target::start(options, server, idle)?);
        }
    }
    let mut lines = Vec::new();
    for row in rows {
        note(&format!("measuring {}", row.name));
        lines.extend(measure_row(options, row, &mut targets)?);
    }
    let memory = targets.into_iter().filter_map(|target| target.memory).collect();
    Ok((lines, memory))
}

/// Takes a sample of each target in every round, forwards and backwards in turn, so that a ratio is always one of two
/// slices of the same round.
pub(crate) fn in_turns<T, S>(
    rounds: usize,
    targets: &mut [T],
    samples: &mut [Vec<S>],
    mut slice: impl FnMut(&mut T) -> Result<S>,
) -> Result<()> {
    for round in 0..rounds {
        let mut pairs: Vec<_> = targets.iter_mut().zip(samples.iter_mut()).collect();
        if round % 2 == 1 {
            pairs.reverse();
        }
        for (target, samples) in pairs {
            samples.push(slice(target)?);
        }
    }
    Ok(())
}

fn measure_row(options: &Options, row: &Row, targets: &mut [Target]) -> Result<Vec<Line>> {
    let mut targets: Vec<&mut Target> = targets.iter_mut().filter(|target| target.takes_part(row)).collect();
    for target in &mut targets {
        // Warm: code is paged in and buffers have their size.
        target.slice(row, options.pipeline, options.slice / 4)?;
    }
    let mut samples: Vec<Vec<Sample>> = targets.iter().map(|_| Vec::new()).collect();
    let told: Vec<f64> = targets.iter().map(|target| target.updates()).collect();
    in_turns(options.rounds, &mut targets, &mut samples, |target| {
        target.slice(row, options.pipeline, options.slice)
    })?;

    let mut lines = Vec::new();
    for ((target, own), told) in targets.iter().zip(&samples).zip(told) {
        let base = |wanted: &dyn Fn(&Target) -> bool| {
            let found = targets.iter().zip(&samples).find(|(other, _)| wanted(other));
            found.map(|(_, samples)| samples.as_slice())
        };
        let (mut empty, mut bare, mut other, mut unwatched) = (None, None, None, None);
        if target.server != BARE {
            bare = base(&|other| other.server == BARE);
            if target.level > 0 {
                empty = base(&|other| other.server == target.server && other.level == 0);
            }
        }
        if target.kind == Kind::Watched {
            unwatched = base(&|other| other.kind == Kind::Throttle && other.level == 0);
        }
        if target.kind == Kind::Throttle {
            other = base(&|other| other.kind == Kind::Other && other.level == target.level);
        }
        lines.push(Line {
            row: row.name,
            server: target.server,
            idle_peers: target.idle,
            rate: column(own, |sample| Some(sample.rate)).ok_or("no rounds")?,
            vs_empty: empty.and_then(|base| rates(own, base)),
            vs_bare: bare.and_then(|base| rates(own, base)),
            vs_other: other.and_then(|base| rates(own, base)),
            work_vs_other: other.and_then(|base| work(own, base)),
            other_rate: other.and_then(|base| column(base, |sample| Some(sample.rate))),
            work_vs_empty: empty.and_then(|base| work(own, base)),
            work_vs_bare: bare.and_then(|base| work(own, base)),
            vs_unwatched: unwatched.and_then(|base| rates(own, base)),
            work_vs_unwatched: unwatched.and_then(|base| work(own, base)),
            updates: target
                .dashboards
                .as_ref()
                .map(|dashboards| (dashboards.updates() - told) / options.rounds as f64),
            server_us: column(own, |sample| sample.server_us),
            client_us: column(own, |sample| sample.client_us),
        });
    }
    Ok(lines)
}

pub(crate) fn column(samples: &[Sample], pick: fn(&Sample) -> Option<f64>) -> Option<Spread> {
    Spread::of(&samples.iter().filter_map(pick).collect::<Vec<_>>())
}

/// The rates of `own` against those of `base`, round by round.
pub(crate) fn rates(own: &[Sample], base: &[Sample]) -> Option<Spread> {
    let (own, base): (Vec<_>, Vec<_>) = own.iter().zip(base).map(|(own, base)| (own.rate, base.rate)).unzip();
    Spread::of_ratios(&own, &base)
}

/// What `own` does in a second of the server's processor time against what `base` does, round by round.
pub(crate) fn work(own: &[Sample], base: &[Sample]) -> Option<Spread> {
    let pairs = own.iter().zip(base).filter_map(|(own, base)| Some((own.server_us?, base.server_us?)));
    let (own, base): (Vec<_>, Vec<_>) = pairs.unzip();
    // Less time is more work.
    Spread::of_ratios(&base, &own)
}

impl Target {
    pub(crate) fn start(options: &Options, server: &Server, idle: usize) -> Result<Self> {
        let running = process::start(server, options.pin)?;
        let mut probe = Vec::new();
        http::v1_heartbeats(&mut probe, std::iter::empty());
        let has_v1 = running.exchange(&probe).is_ok();
        let mut load = running.connect(options.connections)?;
        let constant = server.kind == Kind::Bare;
        let none = Rc::new(Peers {
            own: (0..options.connections as u64).map(|index| u64::MAX / 3 + index).collect(),
            idle: Vec::new(),
            constant,
        });
        let own = if constant {
            none.own.clone()
        } else {
            create(&mut load, &none, options.connections, options.fill)?
        };
        let mut memory = None;
        let mut idle_peers = Vec::new();
        if idle > 0 {
            // Buffers of the connections get their size now, so that they do not count as peers later.
            let mut scripts: Vec<Box<dyn Script>> =
                own.iter().map(|&peer| Box::new(Heartbeat { peer }) as Box<dyn Script>).collect();
            load.run(&mut scripts, DEPTH, Duration::from_millis(200), || ())?;
            let before = running.memory();
            let begin = now();
            idle_peers = create(&mut load, &none, idle, options.fill)?;
            let seconds = begin.elapsed().as_secs_f64();
            if idle_peers.len() < idle {
                note(&format!("only {} peers after {seconds:.0} s", idle_peers.len()));
            }
            memory = before.zip(running.memory()).map(|(before, after)| Memory {
                server: server.name,
                idle_peers: idle_peers.len(),
                before,
                after,
                fill_rate: idle_peers.len() as f64 / seconds,
            });
        }
        let dashboards = match server.dashboards {
            0 => None,
            number => Some(Dashboards::open(running.address, number)?),
        };
        Ok(Self {
            server: server.name,
            kind: server.kind,
            level: idle,
            has_v1,
            idle: idle_peers.len(),
            dashboards,
            running,
            load,
            peers: Rc::new(Peers { own, idle: idle_peers, constant }),
            memory,
        })
    }

    fn takes_part(&self, row: &Row) -> bool {
        (!row.v1 || self.has_v1) && (row.watched || self.kind != Kind::Watched)
    }

    /// How many updates each dashboard got so far.
    fn updates(&self) -> f64 {
        self.dashboards.as_ref().map_or(0.0, Dashboards::updates)
    }

    pub(crate) fn slice(&mut self, row: &Row, depth: usize, time: Duration) -> Result<Sample> {
        let mut scripts: Vec<_> =
            (0..self.load.len()).map(|connection| (row.script)(&self.peers, connection)).collect();
        let used = || (self.running.processor_time(), process::own_processor_time());
        let before = used();
        let mut after = (None, None);
        let done = self.load.run(&mut scripts, depth, time, || after = used()).map_err(|error| {
            format!("{} on {} with {} idle peers: {error}", row.name, self.server, self.idle)
        })?;
        if let Some(dashboards) = &self.dashboards {
            dashboards.check()?;
        }
        let each = |from: Option<Duration>, to: Option<Duration>| {
            let used = to?.saturating_sub(from?);
            (done.operations > 0).then(|| used.as_secs_f64() * 1e6 / done.operations as f64)
        };
        let left: Vec<u64> = scripts.iter_mut().flat_map(|script| script.left_behind()).collect();
        remove(&mut self.load, &left)?;
        Ok(Sample {
            rate: done.operations as f64 / done.seconds,
            server_us: each(before.0, after.0),
            client_us: each(before.1, after.1),
        })
    }
}

/// Makes `count` peers, or as many as fit into `limit`.
pub(crate) fn create(load: &mut Load, none: &Rc<Peers>, count: usize, limit: Duration) -> Result<Vec<u64>> {
    let connections = load.len();
    let mut scripts: Vec<Box<dyn Script>> = (0..connections)
        .map(|index| {
            let share = count / connections + usize::from(index < count % connections);
            Box::new(Create::new(none, index, share)) as Box<dyn Script>
        })
        .collect();
    load.run(&mut scripts, DEPTH, limit, || ())?;
    Ok(scripts.iter_mut().flat_map(|script| script.left_behind()).collect())
}

fn remove(load: &mut Load, peers: &[u64]) -> Result<()> {
    if peers.is_empty() {
        return Ok(());
    }
    let share = peers.len().div_ceil(load.len());
    let mut scripts: Vec<Box<dyn Script>> = peers
        .chunks(share)
        .map(|peers| Box::new(Remove { peers: peers.to_vec() }) as Box<dyn Script>)
        .collect();
    load.run(&mut scripts, DEPTH, Duration::from_mins(5), || ()).map(drop)
}
