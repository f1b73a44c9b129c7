//! Much that ends at one instant.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::{Held, Scale, make};
use crate::{
    Outcome,
    client::{Connection, Sent, request},
};

/// How many peers one request renews.
const AT_ONCE: usize = 20_000;

pub(super) async fn peers(port: u16, scale: Scale, sent: &Sent) -> Outcome<Held> {
    let body = json!({ "locks": { "wide": 1 }, "expires_in": "10m" });
    make(port, "POST /v1/locks", &body, scale.peers, sent).await?;
    Ok(Held::new())
}

/// Peers whose leases are renewed together, so that they end together.
pub(super) async fn expiry(port: u16, scale: Scale, sent: &Sent) -> Outcome<Held> {
    let body = json!({ "locks": { "wide": 1 }, "expires_in": "10m" });
    let ids = make(port, "POST /v1/locks", &body, scale.peers, sent).await?;
    let requests: Vec<_> = ids
        .chunks(AT_ONCE)
        .map(|peers| request("POST /v1/heartbeats", Some(&json!({ "expires_in": "2s", "peers": peers }))))
        .collect();
    let mut connection = Connection::open(port).await?;
    connection.ask_all(&requests, sent).await?;
    sleep(Duration::from_secs(3)).await;
    let seen = connection.ask(&request("GET /v1/semaphores/wide", None), sent).await?;
    if seen.status != 200 {
        return Err(format!("answered {}", seen.status).into());
    }
    Ok(Held::new())
}

pub(super) async fn removal(port: u16, scale: Scale, sent: &Sent) -> Outcome<Held> {
    let body = json!({ "locks": { "wide": 1 }, "expires_in": "10m" });
    make(port, "POST /v1/locks", &body, scale.peers, sent).await?;
    let mut connection = Connection::open(port).await?;
    let removed = connection.ask(&request("DELETE /v1/semaphores/wide?force=true", None), sent).await?;
    if removed.status != 204 {
        return Err(format!("answered {}", removed.status).into());
    }
    Ok(Held::new())
}
