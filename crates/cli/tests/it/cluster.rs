//! Several servers with one set of semaphores, on a real etcd.

mod clients;
mod etcd;
mod failover;
mod moving;
mod passing;
mod start;

use serde_json::Value;

use crate::support::{Etcd, Launch, Server, free_port, until};

/// Servers of one cluster.
pub(super) struct Cluster {
    servers: Vec<Option<Server>>,
    launches: Vec<(u16, String)>,
    pub(super) etcd: Etcd,
}

/// What the file of each server says, beside where it is.
pub(super) struct Plan<'a> {
    /// How many members etcd has, and how many bytes each takes.
    pub(super) members: usize,
    pub(super) quota_bytes: u64,
    pub(super) servers: usize,
    /// More for `[cluster]`.
    pub(super) cluster: &'a str,
    /// Sections before it.
    pub(super) sections: &'a str,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Self {
            members: 1,
            quota_bytes: 1 << 30,
            servers: 3,
            cluster: "lease = \"2s\"",
            sections: "[semaphores]\nA = 2\nB = 1",
        }
    }
}

impl Cluster {
    pub(super) fn start() -> Self {
        Self::plan(&Plan::default())
    }

    /// Servers of which one leads.
    pub(super) fn plan(plan: &Plan<'_>) -> Self {
        let mut cluster = Self::stopped(plan);
        for at in 0..plan.servers {
            cluster.restart(at);
        }
        cluster.leader();
        cluster
    }

    /// Servers that ask for tokens; this one may read.
    pub(super) fn secured(plan: &Plan<'_>, token: &str) -> Self {
        let mut cluster = Self::stopped(plan);
        for at in 0..plan.servers {
            cluster.restart(at);
        }
        let head = format!("authorization: Bearer {token}\r\n");
        let leads = |at: usize| cluster.server(at).ask_with("GET", "/v1/semaphores", &head, "").status == 200;
        until("a server leads", || cluster.running().into_iter().all(leads));
        cluster
    }

    /// Servers that were never started.
    pub(super) fn stopped(plan: &Plan<'_>) -> Self {
        let etcd = Etcd::start(plan.members, plan.quota_bytes);
        let launches = (0..plan.servers).map(|_| {
            let port = free_port();
            let text = format!(
                "{}\n[cluster]\nendpoints = {}\nadvertise = \"http://127.0.0.1:{port}\"\n{}\n",
                plan.sections,
                etcd.endpoints(),
                plan.cluster
            );
            (port, text)
        });
        let launches: Vec<_> = launches.collect();
        let servers = launches.iter().map(|_| None).collect();
        Self { servers, launches, etcd }
    }

    /// Starts a server again.
    pub(super) fn restart(&mut self, at: usize) {
        let (port, text) = &self.launches[at];
        let launch = Launch::new(&["--port", &port.to_string()]).file(text).env("THROTTLE_LOG", "info");
        self.servers[at] = Some(Server::launch(launch));
    }

    /// The URLs of all servers, as clients take them.
    pub(super) fn urls(&self) -> String {
        let urls: Vec<_> = self.launches.iter().map(|(port, _)| format!("http://127.0.0.1:{port}")).collect();
        urls.join(",")
    }

    /// Kills a server, or stops it in good order.
    pub(super) fn take(&mut self, at: usize) -> Server {
        self.servers[at].take().expect("it runs")
    }

    pub(super) fn server(&self, at: usize) -> &Server {
        self.servers[at].as_ref().expect("it runs")
    }

    /// What the others say of who leads, once all of those that run agree.
    pub(super) fn leader_of(&self, asked: &[usize]) -> usize {
        let mut leader = None;
        until("the servers agree on who leads", || {
            let said = |&at: &usize| self.server(at).get("/v1/cluster").json()["leader"]["url"].clone();
            let all: Vec<Value> = asked.iter().map(said).collect();
            let port = |url: &str| url.rsplit(':').next()?.parse().ok();
            let first: Option<u16> = all[0].as_str().and_then(port);
            leader = self.launches.iter().position(|(port, _)| Some(*port) == first);
            let is_ready =
                leader.is_some_and(|at| asked.contains(&at) && self.server(at).get("/readyz").status == 200);
            is_ready && all.iter().all(|one| *one == all[0])
        });
        leader.expect("found")
    }

    pub(super) fn running(&self) -> Vec<usize> {
        (0..self.servers.len()).filter(|&at| self.servers[at].is_some()).collect()
    }

    /// The server that leads.
    pub(super) fn leader(&self) -> usize {
        self.leader_of(&self.running())
    }

    /// The servers that do not.
    pub(super) fn standbys(&self) -> Vec<usize> {
        let leader = self.leader();
        self.running().into_iter().filter(|&at| at != leader).collect()
    }
}
