//! A running server, and the ordinary requests.

use super::{
    answer::Answer,
    client::{Client, request},
    process::{Launch, Process, until},
};

pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) port: u16,
}

impl Server {
    /// A server with `text` as its configuration file.
    pub(crate) fn start(text: &str) -> Self {
        Self::launch(Launch::new(&["--port", "0"]).file(text).env("THROTTLE_LOG", "info"))
    }

    /// A server that says where it listens.
    pub(crate) fn launch(launch: Launch) -> Self {
        let process = launch.start();
        let line = process.stderr.line("Listening on http://127.0.0.1:");
        // The line may be JSON.
        let port = line.trim_end_matches(['"', '}']).rsplit(':').next();
        let port = port.and_then(|port| port.parse().ok()).expect("a port");
        Self { process, port }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.port)
    }

    /// Sends a request and leaves its answer for later.
    pub(crate) fn send(&self, method: &str, path: &str, body: &str) -> Client {
        let mut client = self.connect();
        client.send(request(method, path, body));
        client
    }

    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        self.send(method, path, body).answer()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "")
    }

    pub(crate) fn put(&self, path: &str, body: &str) -> Answer {
        self.ask("PUT", path, body)
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, body)
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, "")
    }

    /// A new peer.
    pub(crate) fn peer(&self, expires_in: &str) -> u64 {
        let answer = self.post("/new_peer", &format!(r#"{{"expires_in":"{expires_in}"}}"#));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.number()
    }

    pub(crate) fn heartbeat(&self, peer: u64, expires_in: &str) -> Answer {
        self.put(&format!("/peers/{peer}"), &format!(r#"{{"expires_in":"{expires_in}"}}"#))
    }

    /// Asks for a count without waiting.
    pub(crate) fn lock(&self, peer: u64, semaphore: &str, count: i64) -> Answer {
        self.put(&format!("/peers/{peer}/{semaphore}"), &count.to_string())
    }

    /// A new peer that has acquired a count.
    pub(crate) fn holder(&self, semaphore: &str, count: i64, expires_in: &str) -> u64 {
        let peer = self.peer(expires_in);
        assert_eq!(self.lock(peer, semaphore, count).status, 200);
        peer
    }

    /// Asks for a count of 1 and leaves the answer for later. Returns once the request waits with its connection
    /// open.
    pub(crate) fn wait_for(&self, peer: u64, semaphore: &str, query: &str) -> Client {
        let before = self.metric("throttle_blocked_requests");
        let client = self.send("PUT", &format!("/peers/{peer}/{semaphore}?{query}"), "1");
        self.until_metric("throttle_blocked_requests", before + 1.0);
        client
    }

    /// The peer that holds a semaphore; there is one.
    #[cfg(unix)]
    pub(crate) fn holder_of(&self, semaphore: &str) -> String {
        let seen = self.get(&format!("/v1/semaphores/{semaphore}")).json();
        seen["holders"][0]["peer"].as_str().expect("an id").to_owned()
    }

    pub(crate) fn release(&self, peer: u64, semaphore: &str) {
        self.delete(&format!("/peers/{peer}/{semaphore}")).is(200, "Ok");
    }

    pub(crate) fn remainder(&self, semaphore: &str) -> i64 {
        self.get(&format!("/remainder?semaphore={semaphore}")).number()
    }

    /// A figure of the metrics by the name and labels of its line, if it is there.
    pub(crate) fn figure(&self, name: &str) -> Option<f64> {
        let page = self.get("/metrics");
        let line =
            page.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?.to_owned();
        Some(line.parse().expect("a number"))
    }

    pub(crate) fn metric(&self, name: &str) -> f64 {
        self.figure(name).unwrap_or_else(|| panic!("there is no {name}"))
    }

    pub(crate) fn until_metric(&self, name: &str, value: f64) {
        until(&format!("{name} becomes {value}"), || {
            self.figure(name).is_some_and(|found| found.total_cmp(&value).is_eq())
        });
    }

    /// How many requests wait for a semaphore, with or without a connection.
    pub(crate) fn until_waiting(&self, semaphore: &str, requests: u32) {
        self.until_metric(&format!("throttle_waiting{{semaphore={semaphore:?}}}"), requests.into());
    }

    /// Asks it to stop, and waits until it has.
    #[cfg(unix)]
    pub(crate) fn stop(mut self) -> Vec<String> {
        self.process.signal(rustix::process::Signal::TERM);
        assert_eq!(self.process.wait().code(), Some(0));
        assert_eq!(self.process.stdout.all(), Vec::<String>::new());
        self.process.stderr.all()
    }
}
