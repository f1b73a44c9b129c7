//! Connections that keep something in the server.

use serde_json::json;

use super::{Held, Scale};
use crate::{
    Outcome,
    client::{Connection, Sent, request, with_headers},
};

/// Connections that the server has besides those of an attack: that of the honest client, and one to spare.
const OTHERS: usize = 8;

pub(super) async fn nothing(_: u16, _: Scale, _: &Sent) -> Outcome<Held> {
    Ok(Held::new())
}

/// Opens connections, and sends the same bytes on each. A server that has enough may refuse some.
async fn many(port: u16, scale: Scale, bytes: &[u8], sent: &Sent) -> Outcome<Held> {
    let mut held = Held::new();
    for _ in OTHERS..scale.connections {
        let mut connection = Connection::open(port).await?;
        if connection.send(bytes, 1, sent).await.is_ok() {
            held.push(connection);
        }
    }
    Ok(held)
}

pub(super) async fn idle(port: u16, scale: Scale, sent: &Sent) -> Outcome<Held> {
    let mut held = many(port, scale, request("GET /livez", None).as_bytes(), sent).await?;
    for connection in &mut held {
        connection.answer().await?;
    }
    Ok(held)
}

/// Whoever asks whether the server lives is answered, or an orchestrator would start it anew.
pub(super) async fn full(port: u16, scale: Scale, sent: &Sent) -> Outcome<Held> {
    const PROBES: usize = 500;
    let look = request("GET /v1/semaphores/honest", None);
    let mut held = Held::new();
    let mut is_full = false;
    while !is_full && held.len() < scale.server_connections {
        let mut connection = Connection::open(port).await?;
        is_full = connection.ask(&look, sent).await?.status == 503;
        held.push(connection);
    }
    if !is_full {
        return Err("it has more connections than it should".into());
    }
    for probe in ["GET /livez", "GET /health"].into_iter().cycle().take(PROBES) {
        let status = Connection::open(port).await?.ask(&request(probe, None), sent).await?.status;
        if status != 200 {
            return Err(format!("{probe} is answered {status}").into());
        }
    }
    Ok(held)
}

pub(super) async fn heads(port: u16, scale: Scale, sent: &Sent) -> Outcome<Held> {
    let head = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx-filler: {}", "x".repeat(15_000));
    many(port, scale, head.as_bytes(), sent).await
}

pub(super) async fn bodies(port: u16, scale: Scale, sent: &Sent) -> Outcome<Held> {
    let head = "POST /v1/heartbeats HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                content-length: 1000000\r\n\r\n{\"expires_in\":\"1h\",\"peers\":[";
    let body = "\"12345678901234567890\",".repeat(60_000 / 23);
    many(port, scale, [head, &body].concat().as_bytes(), sent).await
}

pub(super) async fn blocked(port: u16, scale: Scale, sent: &Sent) -> Outcome<Held> {
    let body = json!({ "locks": { "mutex": 1 }, "expires_in": "10m", "wait": "10m" });
    let filler = format!("x-filler: {}\r\n", "x".repeat(15_000));
    let request = with_headers("POST /v1/locks", &filler, Some(&body));
    many(port, scale, request.as_bytes(), sent).await
}
