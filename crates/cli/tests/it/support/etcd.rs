//! A real etcd: `etcd` of Debian's package `etcd-server`.

use std::{
    env, fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use super::process::until;

/// The members of an etcd, each a process with a port on loopback.
pub(crate) struct Etcd {
    pub(crate) members: Vec<Member>,
    directory: PathBuf,
}

/// One of them.
pub(crate) struct Member {
    /// Where clients reach it.
    pub(crate) url: String,
    arguments: Vec<String>,
    child: Option<Child>,
}

fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address").port()
}

impl Etcd {
    /// One of this many members, that answers. Each takes so many bytes.
    pub(crate) fn start(members: usize, quota_bytes: u64) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("throttle-etcd-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let directory = env::temp_dir().join(name);
        let urls: Vec<_> =
            (0..members).map(|_| [port(), port()].map(|port| format!("http://127.0.0.1:{port}"))).collect();
        let all: Vec<_> = (0..).zip(&urls).map(|(at, [_, peer])| format!("m{at}={peer}")).collect();
        let all = all.join(",");
        let member = |(at, [client, peer]): (usize, &[String; 2])| {
            let data = directory.join(format!("m{at}"));
            let arguments = [
                ["--name", &format!("m{at}")],
                ["--data-dir", data.to_str().expect("a path")],
                ["--listen-client-urls", client],
                ["--advertise-client-urls", client],
                ["--listen-peer-urls", peer],
                ["--initial-advertise-peer-urls", peer],
                ["--initial-cluster", &all],
                ["--heartbeat-interval", "50"],
                ["--election-timeout", "500"],
                ["--quota-backend-bytes", &quota_bytes.to_string()],
                ["--log-level", "error"],
            ];
            let arguments = arguments.concat().into_iter().map(str::to_owned).collect();
            let mut member = Member { url: client.clone(), arguments, child: None };
            member.start();
            member
        };
        let members: Vec<_> = urls.iter().enumerate().map(member).collect();
        let etcd = Self { members, directory };
        for member in &etcd.members {
            until("etcd answers", || member.is_healthy());
        }
        etcd
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
        command.env("ETCDCTL_API", "3").args(["--endpoints", &self.members[0].url]).args(arguments);
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
            .args(["--endpoints", &self.url, "endpoint", "health"])
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
