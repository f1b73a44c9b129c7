//! The servers that are measured, each a process of its own, and what the system says about them.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::load::{Load, Tls};
use crate::{Result, http, load, now};

/// The bare server that others are measured against.
pub(crate) const BARE: &str = "bare hyper";
/// A semaphore that is never full.
pub(crate) const WIDE: &str = "wide";
/// A semaphore of which there is one.
pub(crate) const MUTEX: &str = "mutex";

const CONFIGURATION: &str = "[semaphores]\nwide = 1000000000\nmutex = 1\n";

/// A server to measure: how it is called in the report and how it is started.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// Its name in the report.
    pub(crate) name: &'static str,
    /// What it can do.
    pub(crate) kind: Kind,
    /// The executable.
    pub(crate) binary: PathBuf,
    /// Arguments beside the address, the port and the configuration, for a mode of its own.
    pub(crate) arguments: Vec<String>,
    /// What its configuration file says besides the semaphores; `{port}` is the port that it gets.
    pub(crate) settings: &'static str,
    /// Worker threads, if it is not to choose itself.
    pub(crate) workers: Option<usize>,
    /// How many dashboards are open on it.
    pub(crate) dashboards: usize,
    /// Files beside its configuration, by their names.
    pub(crate) files: Vec<(&'static str, String)>,
    /// How connections to it are encrypted.
    pub(crate) tls: Tls,
}

/// What a server can do, and so which rows and scenarios it takes part in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Answers `Ok` to everything: takes part in each row as its limit, and in no scenario.
    Bare,
    /// Throttle, as it is built from this workspace.
    Throttle,
    /// The same, while dashboards are open: takes part in a few rows, without idle peers, and in no scenario.
    Watched,
    /// Any other server that speaks the old dialect; it has no `/v1`.
    Other,
}

/// The executable of Throttle, built in release mode from this workspace.
pub(crate) fn build_throttle() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let output = Command::new(cargo)
        .args(["build", "--release", "-p", "throttle-server", "--message-format=json-render-diagnostics"])
        .arg("--manifest-path")
        .arg(manifest)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err("building throttle-server failed".into());
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message.pointer("/target/name").is_some_and(|name| name == "throttle"))
        .find_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .ok_or_else(|| "the build of throttle-server made no executable called throttle".into())
}

/// The directories and the ids of the servers that run, for the case that this process is interrupted.
static RUNNING: Mutex<Vec<(PathBuf, u32)>> = Mutex::new(Vec::new());

/// Ends the servers, removes their files and exits when this process is interrupted or asked to end.
#[cfg(unix)]
pub(crate) fn end_with_us() -> Result<()> {
    use rustix::process::{Pid, Signal, kill_process};
    use tokio::signal::unix::{SignalKind, signal};

    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        for (directory, id) in RUNNING.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            if let Some(id) = i32::try_from(id).ok().and_then(Pid::from_raw) {
                let _ = kill_process(id, Signal::KILL);
            }
            let _ = fs::remove_dir_all(directory);
        }
        std::process::exit(130);
    });
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn end_with_us() -> Result<()> {
    Ok(())
}

/// A running server on a free port of the loopback interface. It is ended when this is dropped.
pub(crate) struct Running {
    child: Child,
    directory: PathBuf,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// How connections to it are encrypted.
    pub(crate) tls: Tls,
}

impl Running {
    /// Starts a server and waits until it answers.
    pub(crate) fn start(server: &Server) -> Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("throttle-bench-{}-{number}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let configuration = directory.join("throttle.toml");
        for (name, text) in &server.files {
            fs::write(directory.join(name), text)?;
        }
        let log = directory.join("log");

        // The port is free now; that nobody else takes it before the server does is likely enough here.
        let address = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?.local_addr()?;
        let port = address.port().to_string();
        let settings = server.settings.replace("{port}", &port);
        fs::write(&configuration, format!("{CONFIGURATION}{settings}"))?;
        let mut command = Command::new(&server.binary);
        if server.kind == Kind::Bare {
            command.args(["bare-hyper", "--port", &port]);
            if server.tls.is_some() {
                command.arg("--tls");
            }
        } else {
            command.args(["--address", "127.0.0.1", "--port", &port, "-c"]).arg(&configuration);
        }
        if let Some(workers) = server.workers {
            command.env("TOKIO_WORKER_THREADS", workers.to_string());
        }
        let child = command
            .args(&server.arguments)
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", server.binary.display()))?;
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).push((directory.clone(), child.id()));
        let mut running = Self { child, directory, address, tls: server.tls.clone() };
        running.wait_until_ready().map_err(|error| {
            let said = fs::read_to_string(&log).unwrap_or_default();
            format!("{} did not start: {error}\n{said}", server.binary.display())
        })?;
        Ok(running)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = now() + Duration::from_mins(1);
        let mut request = Vec::new();
        http::get(&mut request, "/health");
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("it ended with {status}").into());
            }
            // A server that reads its journal listens, but says that it is not ready.
            let is_ready = || self.exchange(&request).is_ok();
            if TcpStream::connect(self.address).is_ok() && is_ready() {
                return Ok(());
            }
            if now() > deadline {
                return Err("it is not ready after a minute".into());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// One request on a connection of its own, for setting up; gives back the body.
    pub(crate) fn exchange(&self, request: &[u8]) -> Result<Vec<u8>> {
        load::exchange(self.address, &self.tls, request)
    }

    /// Opens `count` connections.
    pub(crate) fn connect(&self, count: usize) -> Result<Load> {
        Load::connect(self.address, &self.tls, count)
    }

    /// Resident memory in bytes, where the system tells (Linux).
    pub(crate) fn memory(&self) -> Option<u64> {
        memory_of(self.child.id())
    }

    /// Processor time used so far by all threads, where the system tells (Linux).
    pub(crate) fn processor_time(&self) -> Option<Duration> {
        processor_time(&format!("/proc/{}/task", self.child.id()))
    }
}

/// Resident memory of a process in bytes, where the system tells (Linux).
pub(crate) fn memory_of(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Processor time of this process, where the system tells (Linux).
pub(crate) fn own_processor_time() -> Option<Duration> {
    processor_time("/proc/self/task")
}

fn processor_time(tasks: &str) -> Option<Duration> {
    let mut total = 0;
    for task in fs::read_dir(tasks).ok()? {
        // The first figure is the time on a processor in nanoseconds. A thread may have ended since it was
        // listed.
        let Ok(text) = fs::read_to_string(task.ok()?.path().join("schedstat")) else { continue };
        total += text.split_ascii_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(total))
}

impl Drop for Running {
    fn drop(&mut self) {
        // Before its id is free for another process.
        let id = self.child.id();
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).retain(|&(_, running)| running != id);
        // Nothing is left to do about a process that cannot be ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Allows this process, and with it the servers that it starts, as many open files as the system permits, and
/// returns that number. Ten thousand blocked requests are ten thousand connections on both sides.
#[cfg(unix)]
pub(crate) fn raise_open_files(wanted: u64) -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum;
    // More than the hard limit is for the privileged; else take all that is permitted.
    limit.maximum = hard.map(|hard| hard.max(wanted));
    limit.current = limit.maximum;
    if setrlimit(Resource::Nofile, limit).is_err() {
        limit.maximum = hard;
        limit.current = hard;
        let _ = setrlimit(Resource::Nofile, limit);
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(not(unix))]
pub(crate) fn raise_open_files(_wanted: u64) -> u64 {
    u64::MAX
}

/// Starts a server; with `pin`, on all processors but the first, which this process keeps for itself.
///
/// The server inherits the processors of the thread that starts it, so that all of its threads, and the
/// number of them that it chooses, follow from that.
pub(crate) fn start(server: &Server, pin: bool) -> Result<Running> {
    #[cfg(target_os = "linux")]
    if pin {
        use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
        // What this process had before its first pinned start.
        static ALL: std::sync::OnceLock<CpuSet> = std::sync::OnceLock::new();
        let now = sched_getaffinity(None)?;
        let mut theirs = *ALL.get_or_init(|| now);
        let first = (0..CpuSet::MAX_CPU).find(|&cpu| theirs.is_set(cpu)).unwrap_or(0);
        let mut ours = CpuSet::new();
        ours.set(first);
        theirs.unset(first);
        sched_setaffinity(None, &theirs).map_err(|_| "--pin needs two processors or more")?;
        let running = Running::start(server);
        sched_setaffinity(None, &ours)?;
        return running;
    }
    let _ = pin;
    Running::start(server)
}
