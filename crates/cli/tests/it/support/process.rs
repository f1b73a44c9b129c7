//! A `throttle` process in a directory of its own.

use std::{
    fs,
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::log::Log;

const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `is_so`, which is asked again and again. For what nothing announces.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A port that nobody listens on. It is none that the system gives to the other end of a connection, since there are
/// many of these while the tests run.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(97);
    let ports = std::iter::repeat_with(|| {
        let next = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        u16::try_from(20_000 + next % 10_000).expect("below 65536")
    });
    ports.take(10_000).find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok()).expect("a free port")
}

/// How a process is to be started.
pub(crate) struct Launch {
    command: Command,
    directory: PathBuf,
}

impl Launch {
    /// With nothing but these arguments, in an empty directory.
    pub(crate) fn new(arguments: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("it-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&directory).expect("a directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_throttle"));
        command.args(arguments).current_dir(&directory);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for variable in [
            "THROTTLE_LOG",
            "THROTTLE_ADDRESS",
            "THROTTLE_PORT",
            "THROTTLE_CONFIGURATION",
            "THROTTLE_DATA_DIR",
            "RUST_LOG",
            "THROTTLE_URL",
            "THROTTLE_TOKEN",
            "THROTTLE_TOKEN_FILE",
            "THROTTLE_CACERT",
            "THROTTLE_PEER_ID",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "OTEL_TRACES_SAMPLER",
        ] {
            command.env_remove(variable);
        }
        Self { command, directory }
    }

    /// With `throttle.toml` in that directory.
    pub(crate) fn file(self, text: impl AsRef<[u8]>) -> Self {
        fs::write(self.path("throttle.toml"), text).expect("written");
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// From where it reads; by default there is nothing.
    #[cfg(unix)]
    pub(crate) fn stdin(mut self, from: impl Into<Stdio>) -> Self {
        self.command.stdin(from);
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(crate) fn start(mut self) -> Process {
        let mut child = self.command.spawn().expect("throttle starts");
        let stdout = Log::read(child.stdout.take().expect("piped"));
        let stderr = Log::read(child.stderr.take().expect("piped"));
        Process { child, stdout, stderr, directory: self.directory }
    }

    /// Runs a process that ends on its own: its exit code, standard output and standard error.
    pub(crate) fn run(self) -> (i32, String, String) {
        let mut process = self.start();
        let code = process.wait().code().expect("not killed");
        (code, process.stdout.all().join("\n"), process.stderr.all().join("\n"))
    }

    /// Runs a process that must not start to serve: the one line that it writes, without its prefix.
    pub(crate) fn fails(self) -> String {
        let (code, stdout, stderr) = self.run();
        assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
        assert!(!stderr.contains('\n'), "more than a line: {stderr}");
        stderr.strip_prefix("throttle: ").expect("the name of the program first").to_owned()
    }
}

pub(crate) struct Process {
    child: Child,
    pub(crate) stdout: Log,
    pub(crate) stderr: Log,
    directory: PathBuf,
}

impl Process {
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        until("the process ends", || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        status.expect("ended")
    }

    #[cfg(unix)]
    pub(crate) fn close_stdin(&mut self) {
        self.child.stdin = None;
    }

    /// Lets a `read` of a shell go on.
    #[cfg(unix)]
    pub(crate) fn write_line(&mut self) {
        self.child.stdin.as_mut().expect("piped").write_all(b"\n").expect("taken");
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        let pid = rustix::process::Pid::from_raw(pid).expect("not zero");
        rustix::process::kill_process(pid, signal).expect("a child");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
        if thread::panicking() {
            eprintln!("The log of the server:\n{}", self.stderr.all().join("\n"));
        }
    }
}
