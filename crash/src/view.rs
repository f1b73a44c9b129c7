//! The server's own view, as `/v1` shows it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, io,
    time::{Duration, Instant},
};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::{
    clock::now,
    http::{Call, Connection, encoded},
};

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

fn optional_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Option::<String>::deserialize(deserializer)?
        .map(|text| text.parse().map_err(D::Error::custom))
        .transpose()
}

/// Since the epoch.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let time = humantime::parse_rfc3339(&text).map_err(D::Error::custom)?;
    time.duration_since(std::time::UNIX_EPOCH).map_err(D::Error::custom)
}

/// The labels of a peer. Most are there to be long, so only the one that tells which peer it is is shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Labels(pub(crate) BTreeMap<String, String>);

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.get("request").fmt(f)
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct LockView {
    pub(crate) semaphore: String,
    pub(crate) count: i64,
    #[serde(deserialize_with = "optional_number")]
    pub(crate) token: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PendingView {
    pub(crate) locks: BTreeMap<String, i64>,
    pub(crate) priority: i32,
    pub(crate) since: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PeerView {
    #[serde(deserialize_with = "number")]
    pub(crate) id: u64,
    pub(crate) labels: Labels,
    #[serde(deserialize_with = "time")]
    pub(crate) expires_at: Duration,
    pub(crate) locks: Vec<LockView>,
    pub(crate) pending: Option<PendingView>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct HolderView {
    #[serde(deserialize_with = "number")]
    pub(crate) peer: u64,
    pub(crate) count: i64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WaiterView {
    #[serde(deserialize_with = "number")]
    pub(crate) peer: u64,
    pub(crate) priority: i32,
    pub(crate) since: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SemaphoreView {
    pub(crate) max: i64,
    pub(crate) level: i32,
    pub(crate) acquired: i64,
    pub(crate) cooling: i64,
    pub(crate) origin: String,
    pub(crate) per: Option<String>,
    pub(crate) deadlock: String,
    pub(crate) holders: Vec<HolderView>,
    pub(crate) queue: Vec<WaiterView>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
}

/// Everything that the server shows, while nobody asks it for anything else.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) peers: HashMap<u64, PeerView>,
    pub(crate) semaphores: BTreeMap<String, SemaphoreView>,
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
        let peers: Vec<PeerView> = all(connection, "/v1/peers").await?;
        let peers_received = now();
        let names: Vec<Named> = all(connection, "/v1/semaphores").await?;
        let mut semaphores = BTreeMap::new();
        for Named { name } in names {
            let path = format!("/v1/semaphores/{}?limit=1000", encoded(&name));
            let answer = connection.ask(&Call::get(path)).await.map_err(|error| error.to_string())?;
            // A member of a pattern goes when it is not used.
            if answer.status == 200 {
                semaphores.insert(name, answer.json()?);
            } else if !name.contains('/') {
                return Err(format!("semaphore {name} is in the list, but not to be had"));
            }
        }
        let peers = peers.into_iter().map(|peer| (peer.id, peer)).collect();
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

async fn all<T: for<'de> Deserialize<'de>>(
    connection: &mut Connection,
    path: &str,
) -> Result<Vec<T>, String> {
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
