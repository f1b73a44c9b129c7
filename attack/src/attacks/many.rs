//! Requests that concern many semaphores, or many peers.

use serde_json::{Value, json};

use super::{Held, Scale, make};
use crate::{
    Outcome,
    client::{Connection, Sent, request},
};

/// As many as one request may ask for.
const NAMES: usize = 32;

/// Waiters over the same semaphores, as many as there may be.
pub(super) async fn levels(port: u16, scale: Scale, sent: &Sent) -> Outcome<Held> {
    let names: Vec<_> = (0..NAMES).map(|number| format!("level{number:02}")).collect();
    let mut connection = Connection::open(port).await?;
    for name in &names {
        let line = format!("PUT /v1/semaphores/{name}");
        connection.ask(&request(&line, Some(&json!({ "max": 1 }))), sent).await?;
    }
    let locks: Value = names.iter().map(|name| (name.clone(), 1)).collect();
    let body = json!({ "locks": locks, "expires_in": "10m", "wait": "0s" });
    let session = request("POST /v1/locks", Some(&body));
    for _ in 0..scale.waiters {
        // Those beyond the bound are refused.
        connection.ask(&session, sent).await?;
    }
    for round in 0..20 {
        for name in ["level00", "level31"] {
            let line = format!("PATCH /v1/semaphores/{name}");
            connection.ask(&request(&line, Some(&json!({ "level": 1 + round % 2 }))), sent).await?;
        }
    }
    Ok(Held::new())
}

/// Many hold what detects deadlocks, and each asks for more.
pub(super) async fn deadlocks(port: u16, scale: Scale, sent: &Sent) -> Outcome<Held> {
    let body = json!({ "locks": { "detect": 1 }, "expires_in": "10m" });
    let ids = make(port, "POST /v1/locks", &body, scale.peers / 10, sent).await?;
    let mut connection = Connection::open(port).await?;
    let body = json!({ "locks": { "other": 1 } });
    for id in ids.iter().take(scale.waiters) {
        let line = format!("PUT /v1/peers/{id}/locks");
        connection.ask(&request(&line, Some(&body)), sent).await?;
    }
    connection.ask(&request("PATCH /v1/semaphores/detect", Some(&json!({ "max": 1 }))), sent).await?;
    for id in ids.iter().take(scale.waiters) {
        let line = format!("PUT /v1/peers/{id}/locks");
        connection.ask(&request(&line, Some(&body)), sent).await?;
    }
    Ok(Held::new())
}
