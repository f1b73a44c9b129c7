//! The benchmark of Throttle: starts servers as processes of their own, puts load on them over the loopback
//! interface, and prints rates, latencies and memory with their ratios. README.md says what is measured and
//! how.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures are rounded for people"
)]

mod bare;
mod cluster;
mod dashboards;
mod durable;
mod engine;
mod handover;
mod http;
mod load;
mod process;
mod report;
mod report_logs;
mod report_promises;
mod rows;
mod secured;
mod soak;
mod stats;
mod throughput;

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};

use process::{BARE, Kind, Server};
use report::{Machine, Report};

/// Whatever goes wrong is told and ends the run.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The clock, which only measures here.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time; nothing is decided by it")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Says what is being done, apart from the report.
pub(crate) fn note(what: &str) {
    eprintln!("... {what}");
}

#[derive(Debug, Parser)]
#[command(version, about = "The benchmark of Throttle")]
struct Cli {
    #[command(subcommand)]
    command: Option<Hidden>,
    #[command(flatten)]
    arguments: Arguments,
}

#[derive(Debug, Subcommand)]
enum Hidden {
    /// Serves the constant `Ok`: the bare server that the benchmark starts beside the others.
    #[command(hide = true)]
    BareHyper {
        #[arg(long)]
        port: u16,
        /// With `cert.pem` and `key.pem` of the directory it runs in.
        #[arg(long)]
        tls: bool,
    },
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
struct Arguments {
    /// Executable to measure, instead of building throttle from this workspace
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Executable of another throttle server to measure beside it
    #[arg(long, value_name = "PATH")]
    other: Option<PathBuf>,
    /// Fewer peers, waiters and rounds: a look in a minute
    #[arg(long)]
    quick: bool,
    /// Rounds; figures are medians over them
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Only what has one of these in its name, e.g. `heartbeat,cycle`; also `handover`, `memory`, `durable`,
    /// `recovery`, `secured`, and `cluster`, which needs etcd
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// Numbers of idle peers
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    peers: Vec<usize>,
    /// Numbers of waiters for the hand-over
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    waiters: Vec<usize>,
    /// Connections of the load generator
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = positive)]
    connections: usize,
    /// Requests that each connection keeps open
    #[arg(long, value_name = "D", default_value_t = 1, value_parser = positive)]
    pipeline: usize,
    /// Length of one measurement, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 200)]
    slice: u64,
    /// Longest time for filling one server with peers, in seconds
    #[arg(long, value_name = "S", default_value_t = 120)]
    fill: u64,
    /// Worker threads of every server [default: as many as each takes by itself]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Keep the first processor for the load generator and the others for the servers (Linux)
    #[arg(long)]
    pin: bool,
    /// Dashboards that are open on a server of their own beside the others; 0 for none
    #[arg(long, value_name = "N", default_value_t = 100)]
    dashboards: usize,
    /// Compare designs of the engine, without a network
    #[arg(long)]
    engine: bool,
    /// Put load on a cluster for so many minutes instead, and show that what it needs stays level; needs etcd
    #[arg(long, value_name = "MINUTES")]
    soak: Option<u64>,
    /// Write all figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// End with an error if a promise is missed
    #[arg(long)]
    check: bool,
}

fn positive(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|&number| number > 0).ok_or_else(|| "a number of at least 1".into())
}

/// What to measure, with all defaults filled in.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) rounds: usize,
    pub(crate) rows: Vec<String>,
    pub(crate) peers: Vec<usize>,
    pub(crate) waiters: Vec<usize>,
    pub(crate) connections: usize,
    pub(crate) pipeline: usize,
    pub(crate) slice: Duration,
    pub(crate) fill: Duration,
    pub(crate) pin: bool,
    pub(crate) processors: usize,
}

impl Options {
    fn new(arguments: &Arguments) -> Self {
        let quick = arguments.quick;
        let list = |given: &[usize], full: &[usize], quick_part: usize| {
            let numbers = if given.is_empty() { full } else { given };
            let most = if quick && given.is_empty() { quick_part } else { numbers.len() };
            let mut numbers = numbers.get(..most).unwrap_or(numbers).to_vec();
            numbers.sort_unstable();
            numbers.dedup();
            numbers
        };
        let mut peers = list(&arguments.peers, &[0, 10_000, 100_000, 1_000_000], 2);
        if !peers.contains(&0) {
            // Ratios are against a server without idle peers.
            peers.insert(0, 0);
        }
        Self {
            rounds: arguments.rounds.unwrap_or(if quick { 5 } else { 21 }).max(1),
            rows: arguments.rows.clone(),
            peers,
            waiters: list(&arguments.waiters, &[1, 100, 1_000, 10_000], 3),
            connections: arguments.connections,
            pipeline: arguments.pipeline,
            slice: Duration::from_millis(arguments.slice.clamp(10, 60_000)),
            fill: Duration::from_secs(arguments.fill),
            pin: arguments.pin,
            // As it was before any thread was pinned.
            processors: available_parallelism().map_or(1, usize::from),
        }
    }

    /// Whether something of this name is to be measured.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|part| name.contains(part.as_str()))
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Some(Hidden::BareHyper { port, tls }) => bare::serve(port, tls).map(|()| true),
        None => run(&cli.arguments),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The name under which the server of this workspace is reported.
const THROTTLE: &str = "throttle";

fn run(arguments: &Arguments) -> Result<bool> {
    let options = Options::new(arguments);
    if cfg!(debug_assertions) {
        note("this is not a release build: the figures mean nothing");
    }
    process::end_with_us()?;
    let mut report = Report { machine: Machine::describe(&options), ..Report::default() };
    if arguments.engine {
        report.engine = engine::measure(&options)?;
    } else {
        measure_servers(arguments, &options, &mut report)?;
    }
    report.judge(THROTTLE);
    print!("{}", report.text());
    if let Some(file) = &arguments.json {
        report.write_json(file)?;
    }
    Ok(!arguments.check || report.promises.iter().all(|promise| promise.kept))
}

fn measure_servers(arguments: &Arguments, options: &Options, report: &mut Report) -> Result<()> {
    let binary = match &arguments.server {
        Some(path) => path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?,
        None => process::build_throttle()?,
    };
    let server = |name, kind, binary| Server {
        name,
        kind,
        binary,
        arguments: Vec::new(),
        settings: "",
        workers: arguments.workers,
        dashboards: 0,
        files: Vec::new(),
        tls: None,
    };
    let mut servers = vec![
        server(BARE, Kind::Bare, std::env::current_exe()?),
        server(THROTTLE, Kind::Throttle, binary.clone()),
    ];
    if arguments.workers.is_none() && options.processors > 1 {
        // As many as Throttle takes by itself.
        let workers = Some(options.processors - 1);
        servers
            .push(Server { workers, ..server("bare, a thread less", Kind::Bare, std::env::current_exe()?) });
    }
    if arguments.dashboards > 0 {
        let dashboards = arguments.dashboards;
        servers.push(Server { dashboards, ..server("with dashboards", Kind::Watched, binary) });
    }
    if let Some(path) = &arguments.other {
        let path = path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?;
        servers.push(server("other", Kind::Other, path));
    }
    let own = servers.iter().find(|server| server.kind == Kind::Throttle).cloned();
    if let (Some(minutes), Some(server)) = (arguments.soak, &own) {
        report.soak = soak::run(options, server, minutes)?;
        return Ok(());
    }
    let waiting: usize = options.waiters.iter().map(|waiters| waiters + 1).sum();
    let wanted = (waiting + arguments.dashboards) as u64 + 1024;
    let allowed = process::raise_open_files(wanted);
    if allowed < wanted {
        note(&format!("only {allowed} open files are allowed, {wanted} are wanted: hand-overs may fail"));
    }
    if options.wants("memory") || rows::ROWS.iter().any(|row| options.wants(row.name)) {
        (report.rates, report.idle_peers) = throughput::measure(options, &servers)?;
    }
    if options.wants("memory") || options.wants("handover") {
        for server in servers.iter().filter(|server| matches!(server.kind, Kind::Throttle | Kind::Other)) {
            let (lines, memory) = handover::measure(options, server)?;
            report.handover.extend(lines);
            report.blocked_requests.extend(memory);
        }
    }
    if let Some(server) = &own {
        if options.wants("durable") {
            report.durable = durable::measure(options, server)?;
        }
        if options.wants("secured") {
            report.secured = secured::measure(options, server)?;
        }
        // Only when it is asked for: it takes minutes, and needs etcd.
        if options.rows.iter().any(|row| row == "cluster") {
            let (lines, failover) = cluster::measure(options, server, arguments.quick)?;
            (report.cluster, report.failover) = (lines, Some(failover));
        }
        if options.wants("recovery") {
            report.recovery = Some(durable::recover(options, server, arguments.quick)?);
        }
    }
    Ok(())
}
