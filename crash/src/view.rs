//! The server's own view, as `/v1` shows it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, io,
    time::Instant,
};

use serde::{Serialize, de::DeserializeOwned};
use throttle_api::{Page, Peer, Semaphore, SemaphoreDetail};

use crate::{
    clock::now,
    http::{Call, Connection, encoded},
};

/// The labels of a peer. Most are there to be long, so only the one that tells which peer it is is shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Labels(pub(crate) BTreeMap<String, String>);

impl Labels {
    /// Whether the server shows just these.
    pub(crate) fn are(&self, seen: &throttle_api::Labels) -> bool {
        self.0.iter().eq(seen.iter())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.get("request").fmt(f)
    }
}

/// Everything that the server shows, while nobody asks it for anything else.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) peers: HashMap<u64, Peer>,
    pub(crate) semaphores: BTreeMap<String, SemaphoreDetail>,
    pub(crate) instance: String,
    /// When the first request was about to be sent.
    pub(crate) sent: Instant,
    /// When the peers were all there.
    pub(crate) peers_received: Instant,
}

impl View {
    pub(crate) async fn read(connection: &mut Connection) -> Result<Self, String> {
        let sent = now();
        let instance = get(connection, "/readyz".to_owned()).await?.instance;
        let peers: Vec<Peer> = all(connection, "/v1/peers").await?;
        let peers_received = now();
        let listed: Vec<Semaphore> = all(connection, "/v1/semaphores").await?;
        let mut semaphores = BTreeMap::new();
        for Semaphore { name, .. } in listed {
            let path = format!("/v1/semaphores/{}?limit=1000", encoded(&name));
            let answer = connection.ask(&Call::get(path)).await.map_err(|error| error.to_string())?;
            // A member of a pattern goes when it is not used.
            if answer.status == 200 {
                semaphores.insert(name.to_string(), answer.json()?);
            } else if !name.contains('/') {
                return Err(format!("semaphore {name} is in the list, but not to be had"));
            }
        }
        let peers = peers.into_iter().map(|peer| (peer.id.0, peer)).collect();
        Ok(Self { peers, semaphores, instance, sent, peers_received })
    }
}

async fn get(connection: &mut Connection, path: String) -> Result<crate::http::Answer, String> {
    let answer =
        connection.ask(&Call::get(&path)).await.map_err(|error: io::Error| format!("{path}: {error}"))?;
    if answer.status == 200 {
        Ok(answer)
    } else {
        Err(format!("{path}: {} {}", answer.status, answer.text()))
    }
}

async fn all<T: DeserializeOwned>(connection: &mut Connection, path: &str) -> Result<Vec<T>, String> {
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let cursor_part = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let page: Page<T> = get(connection, format!("{path}?limit=1000{cursor_part}")).await?.json()?;
        found.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(found);
        }
    }
}
