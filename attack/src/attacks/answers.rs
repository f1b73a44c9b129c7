//! Answers that are long, many, or read by nobody.

use serde_json::{Value, json};

use super::{Held, Scale, make};
use crate::{
    Outcome,
    client::{Connection, Sent, request},
};

/// As many labels as a peer may have, and nearly as long as they may be together.
fn labels() -> Value {
    (0..16).map(|number| (format!("label{number:02}"), "x".repeat(115))).collect()
}

/// Ten who hold a semaphore, and many who wait for it, all with labels.
async fn crowd(port: u16, scale: Scale, sent: &Sent) -> Outcome<()> {
    let mut connection = Connection::open(port).await?;
    connection.ask(&request("PUT /v1/semaphores/crowd", Some(&json!({ "max": 10 }))), sent).await?;
    let body = json!({ "locks": { "crowd": 1 }, "expires_in": "10m", "wait": "0s", "labels": labels() });
    make(port, "POST /v1/locks", &body, 10 + scale.waiters, sent).await?;
    Ok(())
}

pub(super) async fn unread(port: u16, scale: Scale, sent: &Sent) -> Outcome<Held> {
    crowd(port, scale, sent).await?;
    let list = request("GET /v1/peers?limit=1000", None);
    let mut held = Held::new();
    for _ in 8..scale.connections {
        let mut connection = Connection::open(port).await?;
        if connection.send(list.repeat(4).as_bytes(), 4, sent).await.is_ok() {
            held.push(connection);
        }
    }
    Ok(held)
}

pub(super) async fn lists(port: u16, scale: Scale, sent: &Sent) -> Outcome<Held> {
    crowd(port, scale, sent).await?;
    let mut held = Held::new();
    for path in ["/v1/peers?limit=1000", "/v1/semaphores/crowd?limit=1000", "/v1/semaphores?limit=1000"] {
        let mut connection = Connection::open(port).await?;
        let heads = request(&format!("HEAD {path}"), None).repeat(40);
        connection.send(heads.as_bytes(), 40, sent).await?;
        held.push(connection);
        let mut connection = Connection::open(port).await?;
        for _ in 0..40 {
            connection.ask(&request(&format!("GET {path}"), None), sent).await?;
        }
    }
    Ok(held)
}

pub(super) async fn metrics(port: u16, scale: Scale, sent: &Sent) -> Outcome<Held> {
    let mut connection = Connection::open(port).await?;
    let names: Vec<_> = (0..scale.semaphores).collect();
    for part in names.chunks(50) {
        let line = |number: &usize| format!("PUT /v1/semaphores/attack-{number:06}-{}", "x".repeat(60));
        let requests: Vec<_> =
            part.iter().map(|number| request(&line(number), Some(&json!({ "max": 1 })))).collect();
        connection.ask_all(&requests, sent).await?;
    }
    for _ in 0..5 {
        let mut readers = Held::new();
        for _ in 0..4 {
            let mut reader = Connection::open(port).await?;
            reader.send(request("GET /metrics", None).as_bytes(), 1, sent).await?;
            readers.push(reader);
        }
        for reader in &mut readers {
            reader.answer().await?;
        }
    }
    Ok(Held::new())
}

pub(super) async fn streams(port: u16, scale: Scale, sent: &Sent) -> Outcome<Held> {
    let mut held = Held::new();
    // As many as there may be.
    for _ in 0..scale.connections.min(1000) {
        let mut connection = Connection::open(port).await?;
        connection.send(request("GET /v1/events", None).as_bytes(), 1, sent).await?;
        held.push(connection);
    }
    let body = json!({ "locks": { "wide": 1 }, "expires_in": "10m", "labels": labels() });
    make(port, "POST /v1/locks", &body, 2000, sent).await?;
    Ok(held)
}
