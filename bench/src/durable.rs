//! The durable mode: how fast it is beside a server that keeps its state in memory, and how long it takes to begin
//! again with many leases.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::http::{self, Answer};
use crate::load::{Load, Script};
use crate::process::{Running, Server, WIDE, start};
use crate::rows::{Peers, ROWS, Row};
use crate::stats::{Spread, percentile};
use crate::throughput::{create, in_turns};
use crate::{Options, Result, note, now};

/// The rows that are measured in both modes.
const BOTH: &[&str] = &["heartbeat", "cycle", "session", "v1-cycle"];
/// The leases to begin again with.
const LEASES: usize = 1_000_000;
const LEASES_QUICK: usize = 100_000;
/// The size from which a journal is made short, as small as the server allows.
const SNAPSHOT_NOW: &str = "[durability]\nsnapshot_bytes = 65536\n";
const PATIENCE: Duration = Duration::from_mins(5);

/// One row in both modes.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) row: &'static str,
    /// Operations per second, in memory and on disk.
    pub(crate) rates: [Spread; 2],
    /// On disk against in memory, round by round.
    pub(crate) ratio: Spread,
    /// The time that one request in a hundred exceeds, in microseconds.
    pub(crate) p99_us: [Spread; 2],
}

/// A start with many leases in the journal.
#[derive(Debug, Serialize)]
pub(crate) struct Recovery {
    pub(crate) leases: usize,
    /// Bytes on disk before and after a snapshot.
    pub(crate) bytes: [u64; 2],
    /// From the start of the process until it is ready, with the journal as it grew, and with a snapshot.
    pub(crate) seconds: [f64; 2],
    /// How long the snapshot took, in seconds.
    pub(crate) snapshot_seconds: f64,
}

/// Notes when each request was sent, to know how long its answer took.
struct Timed {
    script: Box<dyn Script>,
    sent: VecDeque<Instant>,
    took_us: Rc<RefCell<Vec<u64>>>,
}

impl Script for Timed {
    fn request(&mut self, out: &mut Vec<u8>) {
        let before = out.len();
        self.script.request(out);
        if out.len() > before {
            self.sent.push_back(now());
        }
    }

    fn answer(&mut self, answer: &Answer<'_>) -> std::result::Result<u64, String> {
        if let Some(sent) = self.sent.pop_front() {
            self.took_us.borrow_mut().push(sent.elapsed().as_micros() as u64);
        }
        self.script.answer(answer)
    }

    fn may_stop(&self) -> bool {
        self.script.may_stop()
    }
}

/// Connections to a server, with a peer for each.
pub(crate) struct Target {
    load: Load,
    peers: Rc<Peers>,
}

/// What came of one slice.
pub(crate) struct Timing {
    pub(crate) rate: f64,
    pub(crate) p99_us: f64,
}

impl Target {
    pub(crate) fn of(options: &Options, running: &Running) -> Result<Self> {
        let mut load = running.connect(options.connections)?;
        let none = Rc::new(Peers { own: Vec::new(), idle: Vec::new(), constant: false });
        let own = create(&mut load, &none, options.connections, options.fill)?;
        Ok(Self { load, peers: Rc::new(Peers { own, idle: Vec::new(), constant: false }) })
    }

    pub(crate) fn slice(&mut self, row: &Row, depth: usize, time: Duration) -> Result<Timing> {
        Timing::of(&mut self.load, |connection| (row.script)(&self.peers, connection), depth, time)
    }
}

impl Timing {
    /// Runs a script on each connection.
    pub(crate) fn of(
        load: &mut Load,
        script: impl Fn(usize) -> Box<dyn Script>,
        depth: usize,
        time: Duration,
    ) -> Result<Self> {
        let took_us = Rc::new(RefCell::new(Vec::new()));
        let timed = |connection| {
            let (script, took_us) = (script(connection), Rc::clone(&took_us));
            Box::new(Timed { script, sent: VecDeque::new(), took_us }) as Box<dyn Script>
        };
        let mut scripts: Vec<_> = (0..load.len()).map(timed).collect();
        let done = load.run(&mut scripts, depth, time, || ())?;
        let p99_us = percentile(&mut took_us.borrow_mut(), 0.99).ok_or("no answers")? as f64;
        Ok(Self { rate: done.operations as f64 / done.seconds, p99_us })
    }
}

/// Measures some rows in both modes, in slices that take turns.
pub(crate) fn measure(options: &Options, server: &Server) -> Result<Vec<Line>> {
    note("measuring the durable mode beside memory mode");
    let durable = Server { arguments: vec!["--data-dir".into(), "data".into()], ..server.clone() };
    let running = [start(server, options.pin)?, start(&durable, options.pin)?];
    let [memory, disk] = &running;
    let mut targets = [Target::of(options, memory)?, Target::of(options, disk)?];
    let mut lines = Vec::new();
    for row in ROWS.iter().filter(|row| BOTH.contains(&row.name)) {
        let mut samples: [Vec<Timing>; 2] = [Vec::new(), Vec::new()];
        for target in &mut targets {
            target.slice(row, options.pipeline, options.slice / 4)?;
        }
        in_turns(options.rounds, &mut targets, &mut samples, |target| {
            target.slice(row, options.pipeline, options.slice)
        })?;
        let column =
            |samples: &[Timing], pick: fn(&Timing) -> f64| samples.iter().map(pick).collect::<Vec<_>>();
        let [memory, disk] = samples.each_ref().map(|samples| column(samples, |sample| sample.rate));
        let [memory_p99, disk_p99] =
            samples.each_ref().map(|samples| column(samples, |sample| sample.p99_us));
        let spread = |values: &[f64]| Spread::of(values).ok_or("no rounds");
        lines.push(Line {
            row: row.name,
            rates: [spread(&memory)?, spread(&disk)?],
            ratio: Spread::of_ratios(&disk, &memory).ok_or("no rounds")?,
            p99_us: [spread(&memory_p99)?, spread(&disk_p99)?],
        });
    }
    Ok(lines)
}

/// Makes peers that hold a lock each, until there are enough.
struct Sessions {
    left: usize,
}

impl Script for Sessions {
    fn request(&mut self, out: &mut Vec<u8>) {
        if self.left > 0 {
            self.left -= 1;
            http::v1_session(out, WIDE);
        }
    }

    fn answer(&mut self, answer: &Answer<'_>) -> std::result::Result<u64, String> {
        answer.expect(201).map(|()| 1)
    }
}

/// Fills a journal with leases, ends the server with no chance to tidy up, and starts it again: first with the journal
/// as it grew, then with a snapshot.
pub(crate) fn recover(options: &Options, server: &Server, quick: bool) -> Result<Recovery> {
    let leases = if quick { LEASES_QUICK } else { LEASES };
    let data = std::env::temp_dir().join(format!("throttle-bench-data-{}", std::process::id()));
    let _ = fs::remove_dir_all(&data);
    let outcome = recover_in(options, server, leases, &data);
    let _ = fs::remove_dir_all(&data);
    outcome
}

fn recover_in(options: &Options, server: &Server, leases: usize, data: &Path) -> Result<Recovery> {
    note(&format!("filling a journal with {leases} leases"));
    let server =
        Server { arguments: vec!["--data-dir".into(), data.display().to_string()], ..server.clone() };
    let running = start(&server, options.pin)?;
    let mut load = running.connect(options.connections)?;
    let mut scripts: Vec<Box<dyn Script>> = (0..load.len())
        .map(|index| {
            let left = leases / options.connections + usize::from(index < leases % options.connections);
            Box::new(Sessions { left }) as Box<dyn Script>
        })
        .collect();
    load.run(&mut scripts, 16, PATIENCE, || ())?;
    drop((load, running));
    let grown = bytes_in(data)?;

    note("starting with the journal as it grew");
    let begin = now();
    let running = start(&server, options.pin)?;
    let grown_seconds = begin.elapsed().as_secs_f64();
    drop(running);

    note("making a snapshot");
    let running = start(&Server { settings: SNAPSHOT_NOW, ..server.clone() }, options.pin)?;
    let made = |running: &Running| figure(running, "throttle_journal_snapshot_seconds_count");
    until("a snapshot is made", || Ok(made(&running)? >= 1.0))?;
    let snapshot_seconds = figure(&running, "throttle_journal_snapshot_seconds_sum")?;
    // What it made superfluous goes step by step.
    let mut last = f64::NAN;
    until("the journal is short", || {
        thread::sleep(Duration::from_millis(500));
        let size = figure(&running, "throttle_journal_size_bytes")?;
        Ok(std::mem::replace(&mut last, size).to_bits() == size.to_bits())
    })?;
    drop(running);

    note("starting with the snapshot");
    let begin = now();
    let running = start(&server, options.pin)?;
    let seconds = begin.elapsed().as_secs_f64();
    let found = figure(&running, "throttle_peers")?;
    if found.to_bits() != (leases as f64).to_bits() {
        return Err(format!("{found} of {leases} leases are back").into());
    }
    drop(running);
    Ok(Recovery {
        leases,
        bytes: [grown, bytes_in(data)?],
        seconds: [grown_seconds, seconds],
        snapshot_seconds,
    })
}

fn until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let begin = now();
    while !is_so()? {
        if begin.elapsed() > PATIENCE {
            return Err(format!("in vain: {what}").into());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn figure(running: &Running, name: &str) -> Result<f64> {
    let mut request = Vec::new();
    http::get(&mut request, "/metrics");
    let page = String::from_utf8(running.exchange(&request)?)?;
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.ok_or_else(|| format!("no {name}"))?.parse()?)
}

fn bytes_in(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}
