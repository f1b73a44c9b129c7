//! The attacks, one row each.

mod answers;
mod connections;
mod endings;
mod greedy;
mod many;

use std::{pin::Pin, sync::Arc, time::Duration};

use crate::{
    Outcome,
    client::{Connection, Sent},
};

/// How large the attacks are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Connections of one kind.
    pub(crate) connections: usize,
    /// How many the server has.
    pub(crate) server_connections: usize,
    /// Peers of one kind.
    pub(crate) peers: usize,
    /// Semaphores of one kind.
    pub(crate) semaphores: usize,
    /// Waiters of one kind.
    pub(crate) waiters: usize,
    /// How long the honest client goes on after that.
    pub(crate) after: Duration,
}

impl Scale {
    pub(crate) const FULL: Self = Self {
        connections: 20_000,
        server_connections: 20_000,
        peers: 1_000_000,
        semaphores: 50_000,
        waiters: 5_000,
        after: Duration::from_secs(3),
    };
    pub(crate) const QUICK: Self = Self {
        connections: 400,
        server_connections: 2_000,
        peers: 10_000,
        semaphores: 2_000,
        waiters: 500,
        after: Duration::from_millis(500),
    };
}

/// What an attack keeps open.
pub(crate) type Held = Vec<Connection>;
type Running = Pin<Box<dyn Future<Output = Outcome<Held>> + Send>>;

pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Whether the server asks for tokens, and the attacker is somebody with quotas.
    pub(crate) asks_for_tokens: bool,
    pub(crate) run: fn(u16, Scale, Arc<Sent>) -> Running,
}

macro_rules! attacks {
    ($($name:literal, $about:literal, $tokens:literal, $run:path;)+) => {
        pub(crate) const ATTACKS: &[Attack] = &[$(Attack {
            name: $name,
            about: $about,
            asks_for_tokens: $tokens,
            run: |port, scale, sent| Box::pin(async move { $run(port, scale, &sent).await }),
        },)+];
    };
}

attacks! {
    "nothing", "an idle server, to compare with", false, connections::nothing;
    "idle", "connections that have sent one request", false, connections::idle;
    "full", "connections until the server has no more, then those that ask whether it lives", false, connections::full;
    "heads", "connections with 15 KB of a head that never ends", false, connections::heads;
    "bodies", "connections with 60 KB of a bulk heartbeat that never ends", false, connections::bodies;
    "blocked", "requests that wait, each with a head of 15 KB", false, connections::blocked;
    "unread", "connections that ask for a long list and read nothing", false, answers::unread;
    "lists", "lists of waiters behind holders with many labels, and pipelined HEADs", false, answers::lists;
    "metrics", "semaphores made by requests, and /metrics four times at once", false, answers::metrics;
    "streams", "event streams that nobody reads, while locks are granted", false, answers::streams;
    "levels", "waiters over 32 semaphores, and changes of a level", false, many::levels;
    "deadlocks", "holders that ask for what detects deadlocks", false, many::deadlocks;
    "peers", "peers that hold a lock each: tables that grow", false, endings::peers;
    "expiry", "leases that end at one instant", false, endings::expiry;
    "removal", "a semaphore with many holders, removed by force", false, endings::removal;
    "greedy", "an identity that asks for more than its quotas, on a server with tokens", true, greedy::greedy;
}

/// Makes peers, many at once, each with what `body` says, by `POST /v1/locks` or `POST /v1/peers`. Returns their ids.
async fn make(
    port: u16,
    line: &str,
    body: &serde_json::Value,
    count: usize,
    sent: &Sent,
) -> Outcome<Vec<String>> {
    const AT_ONCE: usize = 50;
    let mut connection = Connection::open(port).await?;
    let request = crate::client::request(line, Some(body));
    let mut ids = Vec::with_capacity(count);
    while ids.len() < count {
        let requests = vec![request.clone(); AT_ONCE.min(count - ids.len())];
        for answer in connection.ask_all(&requests, sent).await? {
            let made = answer.json()?;
            let id = made.get("id").and_then(|id| id.as_str());
            ids.push(id.ok_or_else(|| format!("{line}: {} {made}", answer.status))?.to_owned());
        }
    }
    Ok(ids)
}
