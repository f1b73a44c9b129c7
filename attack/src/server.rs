//! The server that is attacked: a process of its own, with the limits that it has by default, unless the attacks are
//! small: then it has fewer connections.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    time::sleep,
};

use crate::{Outcome, client::Connection};

const CONFIGURATION: &str = "
[semaphores]
honest = 1
mutex = 1
wide = 1000000000
detect = { max = 1000000000, deadlock = 'detect' }
other = { max = 1, deadlock = 'detect' }
'many/*' = 1
";

/// Who the attacker is where tokens are asked for, and who the honest client is. Their tokens are no secrets.
pub(crate) const GREEDY: &str = "authorization: Bearer greedy\r\n";
pub(crate) const POLITE: &str = "authorization: Bearer polite\r\n";

const TOKENS: &str = "
[[token]]
identity = 'greedy'
hash = 'sha256:370aed697dc503aecee7d8faad5de775f4f7019c86e672e8d93f3df590527058'
[[token]]
identity = 'polite'
hash = 'sha256:cad2a80df44e3abf27b7cc4c2a5f932891a32baaf2d49bc133b4013c42480a6a'
[[identity]]
name = 'greedy'
allow = ['read', 'acquire']
quota = { peers = 1000, pending = 500, blocked = 100, semaphores = 100, rate = '2000/s' }
[[identity]]
name = 'polite'
allow = ['read', 'acquire']
";

pub(crate) struct Server {
    pub(crate) port: u16,
    process: Child,
    file: PathBuf,
    tokens: PathBuf,
}

impl Server {
    pub(crate) async fn start(binary: &Path, connections: usize, asks_for_tokens: bool) -> Outcome<Self> {
        // Another process could take it before the server does, but hardly does.
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let file = std::env::temp_dir().join(format!("throttle-attack-{}-{port}.toml", std::process::id()));
        let tokens = file.with_extension("tokens.toml");
        fs::write(&tokens, TOKENS)?;
        let security = if asks_for_tokens {
            format!("[security]\ntokens = '{}'\n", tokens.display())
        } else {
            String::new()
        };
        fs::write(&file, format!("{CONFIGURATION}{security}[limits]\nconnections = {connections}\n"))?;
        let process = Command::new(binary)
            .arg("--configuration")
            .arg(&file)
            .args(["--port", &port.to_string()])
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{} cannot be started: {error}", binary.display()))?;
        for _ in 0..200 {
            if Connection::open(port).await.is_ok() {
                return Ok(Self { port, process, file, tokens });
            }
            sleep(Duration::from_millis(25)).await;
        }
        Err("the server does not listen".into())
    }

    /// The most memory that it ever had, in bytes.
    pub(crate) fn peak_bytes(&self) -> Outcome<u64> {
        let id = self.process.id().ok_or("the server has ended")?;
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no figure of memory")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
        Ok(kib * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
        let _ = fs::remove_file(&self.tokens);
    }
}

/// Files that this process and the server need besides their connections.
const OTHER_FILES: u64 = 300;

/// Many connections are many files, here and in the server, which inherits the limit. Returns for how many connections
/// they suffice.
pub(crate) fn raise_open_files() -> usize {
    let before = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum });
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX)
}
