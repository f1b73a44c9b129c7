//! A server process.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use throttle_client::Client;

use super::until;

const CONFIGURATION: &str = r#"
[semaphores]
A = 1
B = { max = 1, level = 1 }
C = 3
D = 5
"/& ü" = 1
"#;

/// Built by the cargo that runs the tests, unless `THROTTLE_SERVER` names a binary.
static BINARY: LazyLock<PathBuf> =
    LazyLock::new(|| env::var_os("THROTTLE_SERVER").map_or_else(build, PathBuf::from));

fn build() -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--package", "throttle-server", "--bin", "throttle", "--message-format=json"]);
    if env::current_exe().unwrap().components().any(|part| part.as_os_str() == "release") {
        command.arg("--release");
    }
    let output = command.stderr(Stdio::inherit()).output().expect("cargo runs");
    assert!(output.status.success(), "the server could not be built");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?)))
        .expect("cargo says where the binary is")
}

/// A server whose semaphores A and B have one place, C has three and D has five; B is above the others.
pub(crate) struct Server {
    process: Child,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(CONFIGURATION)
    }

    pub(crate) fn with(configuration: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}-{}.toml", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, configuration).unwrap();
        let mut process = Command::new(&*BINARY)
            .args(["--port", "0", "--configuration"])
            .arg(&path)
            .env("THROTTLE_LOG", "info")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let port = lines
            .find_map(|line| line.split_once("Listening on http://127.0.0.1:")?.1.trim().parse().ok())
            .expect("the server says where it listens");
        thread::spawn(move || lines.for_each(drop));
        fs::remove_file(path).unwrap();
        Self { process, port }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.url()).unwrap()
    }

    /// Sends a request by hand and returns the body of the answer.
    pub(crate) fn ask(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let request = format!("{method} {path} HTTP/1.0\r\nHost: test\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").expect("a head").1.to_owned()
    }

    /// What is left of a semaphore.
    pub(crate) fn remainder(&self, semaphore: &str) -> i64 {
        self.ask("GET", &format!("/remainder?semaphore={semaphore}")).parse().unwrap()
    }

    /// How much of a semaphore is waited for.
    pub(crate) fn pending(&self, semaphore: &str) -> f64 {
        let name = format!("throttle_pending{{semaphore={semaphore:?}}} ");
        let page = self.ask("GET", "/metrics");
        page.lines().find_map(|line| line.strip_prefix(&name)).map_or(0.0, |value| value.parse().unwrap())
    }

    pub(crate) fn peers(&self) -> usize {
        let list: serde_json::Value = serde_json::from_str(&self.ask("GET", "/peers/")).unwrap();
        list.as_array().unwrap().len()
    }

    /// Ends a peer as an operator does.
    pub(crate) fn release(&self, peer: u64) {
        assert_eq!(self.ask("DELETE", &format!("/peers/{peer}")), "\"Peer released\"");
    }

    pub(crate) async fn until_pending(&self, semaphore: &str) {
        until("someone waits", || self.pending(semaphore) > 0.0).await;
    }

    /// Waits until nobody holds or waits for anything.
    pub(crate) async fn until_no_peers(&self) {
        until("no peer is left", || self.peers() == 0).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
