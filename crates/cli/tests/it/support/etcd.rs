//! A real etcd: `etcd` of Debian's package `etcd-server`.

use std::{
    env, fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use super::process::until;
use crate::tls::Authority;

/// The members of an etcd, each a process with a port on loopback.
pub(crate) struct Etcd {
    pub(crate) members: Vec<Member>,
    directory: PathBuf,
    quota_bytes: u64,
}

/// One of them.
pub(crate) struct Member {
    /// Where clients reach it.
    pub(crate) url: String,
    /// Where other members do.
    peer_url: String,
    arguments: Vec<String>,
    /// What `etcdctl` needs to speak to it.
    credentials: Vec<String>,
    child: Option<Child>,
}

fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address").port()
}

impl Etcd {
    /// One of this many members, that answers. Each takes so many bytes.
    pub(crate) fn start(members: usize, quota_bytes: u64) -> Self {
        let mut etcd = Self::planned(quota_bytes);
        let members: Vec<_> = (0..members).map(|at| etcd.member(at, "http")).collect();
        etcd.members = members;
        let all = etcd.all();
        for member in &mut etcd.members {
            member.arguments.extend(["--initial-cluster".to_owned(), all.clone()]);
            member.start();
        }
        for member in &etcd.members {
            until("etcd answers", || member.is_healthy());
        }
        etcd
    }

    /// One of one member, that asks for certificates of an authority.
    pub(crate) fn encrypted(authority: &Authority) -> Self {
        let mut etcd = Self::planned(1 << 30);
        fs::create_dir_all(&etcd.directory).expect("writable");
        let file = |name: &str, text: &str| {
            let path = etcd.directory.join(name);
            fs::write(&path, text).expect("writable");
            path.display().to_string()
        };
        let (certificate, key) = authority.issue("etcd");
        let files = [file("ca.pem", &authority.pem), file("etcd.pem", &certificate), file("etcd.key", &key)];
        let options = |names: [&str; 3]| -> Vec<String> {
            names.iter().zip(&files).flat_map(|(name, file)| [(*name).to_owned(), file.clone()]).collect()
        };
        let mut member = etcd.member(0, "https");
        member.arguments.extend(options(["--trusted-ca-file", "--cert-file", "--key-file"]));
        member.arguments.push("--client-cert-auth".to_owned());
        member.credentials = options(["--cacert", "--cert", "--key"]);
        etcd.members.push(member);
        let all = etcd.all();
        let member = &mut etcd.members[0];
        member.arguments.extend(["--initial-cluster".to_owned(), all]);
        member.start();
        until("etcd answers", || member.is_healthy());
        etcd
    }

    /// Adds a member while it runs.
    pub(crate) fn add(&mut self) {
        let mut member = self.member(self.members.len(), "http");
        self.ctl(&["member", "add", &member.name(), &format!("--peer-urls={}", member.peer_url)]);
        let all = format!("{},{}={}", self.all(), member.name(), member.peer_url);
        member
            .arguments
            .extend(["--initial-cluster-state", "existing", "--initial-cluster", &all].map(str::to_owned));
        member.start();
        until("the new member answers", || member.is_healthy());
        self.members.push(member);
    }

    /// Removes a member while it runs.
    pub(crate) fn remove(&mut self, at: usize) {
        let list = self.ctl(&["member", "list"]);
        let line = list.lines().find(|line| line.contains(&self.members[at].peer_url)).expect("listed");
        self.ctl(&["member", "remove", line.split(',').next().expect("an id")]);
        self.members.remove(at).kill();
    }

    fn planned(quota_bytes: u64) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("throttle-etcd-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self { members: Vec::new(), directory: env::temp_dir().join(name), quota_bytes }
    }

    /// A member that is yet to be started.
    fn member(&self, at: usize, scheme: &str) -> Member {
        let (url, peer_url) =
            (format!("{scheme}://localhost:{}", port()), format!("http://localhost:{}", port()));
        // It listens on addresses, and is known by names.
        let [client, peer] = [&url, &peer_url].map(|url| url.replace("localhost", "127.0.0.1"));
        let data = self.directory.join(format!("m{at}"));
        let arguments = [
            ["--name", &format!("m{at}")],
            ["--data-dir", data.to_str().expect("a path")],
            ["--listen-client-urls", &client],
            ["--advertise-client-urls", &url],
            ["--listen-peer-urls", &peer],
            ["--initial-advertise-peer-urls", &peer_url],
            ["--heartbeat-interval", "50"],
            ["--election-timeout", "500"],
            ["--quota-backend-bytes", &self.quota_bytes.to_string()],
            ["--log-level", "error"],
        ];
        let arguments = arguments.concat().into_iter().map(str::to_owned).collect();
        Member { url, peer_url, arguments, credentials: Vec::new(), child: None }
    }

    /// Its members, as they know each other.
    fn all(&self) -> String {
        let all: Vec<_> =
            self.members.iter().map(|member| format!("{}={}", member.name(), member.peer_url)).collect();
        all.join(",")
    }

    /// Where clients reach its members, as a list in TOML.
    pub(crate) fn endpoints(&self) -> String {
        let urls: Vec<_> = self.members.iter().map(|member| format!("{:?}", member.url)).collect();
        format!("[{}]", urls.join(", "))
    }

    /// Runs `etcdctl` with these arguments. Returns what it says.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("install etcd (on Debian: etcd-client)");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("etcdctl");
        let member = &self.members[0];
        command
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &member.url])
            .args(&member.credentials)
            .args(arguments);
        command
    }

    /// Writes until it is full.
    pub(crate) fn fill(&self) {
        let file = self.directory.join("filling");
        fs::write(&file, vec![b'x'; 1_000_000]).expect("written");
        let is_taken = |number: usize| {
            let value = fs::File::open(&file).expect("there");
            let mut put = self.command(&["put", &format!("/filling/{number}")]);
            put.stdin(value).output().expect("it runs").status.success()
        };
        assert!((0..1000).any(|number| !is_taken(number)), "it is never full");
    }

    /// Frees what was written, as its operators do.
    pub(crate) fn free(&self) {
        self.ctl(&["del", "--prefix", "/filling/"]);
        let status = self.ctl(&["endpoint", "status", "--write-out", "json"]);
        let revision = status.split("\"revision\":").nth(1).and_then(|rest| rest.split([',', '}']).next());
        self.ctl(&["compact", revision.expect("a revision")]);
        self.ctl(&["defrag"]);
        self.ctl(&["alarm", "disarm"]);
    }
}

impl Member {
    fn name(&self) -> String {
        self.arguments[1].clone()
    }

    /// Starts it, or starts it again.
    pub(crate) fn start(&mut self) {
        let child = Command::new("etcd")
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("install etcd (on Debian: etcd-server)");
        self.child = Some(child);
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        if let Some(child) = &self.child {
            let _ = rustix::process::kill_process(rustix::process::Pid::from_child(child), signal);
        }
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn is_healthy(&self) -> bool {
        let output = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.url])
            .args(&self.credentials)
            .args(["endpoint", "health"])
            .output()
            .expect("install etcd (on Debian: etcd-client)");
        output.status.success()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            member.kill();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}
