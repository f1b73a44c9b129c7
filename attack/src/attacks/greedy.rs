//! Somebody who is known, and wants more than his share.

use serde_json::json;
use tokio::{task::JoinSet, time::Instant};

use super::{Held, Scale};
use crate::{
    Outcome,
    client::{Connection, Sent, with_headers},
    server::GREEDY,
};

/// How many connections ask at once, and how many requests each sends before it reads their answers.
const CONNECTIONS: usize = 32;
const AT_ONCE: usize = 20;

/// Peers without end, requests that wait without end, and all of that as fast as it goes: nearly everything is refused.
pub(super) async fn greedy(port: u16, scale: Scale, sent: &std::sync::Arc<Sent>) -> Outcome<Held> {
    let until = Instant::now() + scale.after;
    let session = json!({ "expires_in": "1h", "locks": { "mutex": 1 }, "wait": "0s" });
    let member = json!({ "expires_in": "1h", "locks": { "many/x": 1 } });
    let requests: Vec<String> = (0..AT_ONCE)
        .map(|index| {
            with_headers("POST /v1/locks", GREEDY, Some(if index % 2 == 0 { &session } else { &member }))
        })
        .collect();
    let mut greedy = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (requests, sent) = (requests.clone(), sent.clone());
        greedy.spawn(async move {
            let mut connection = Connection::open(port).await?;
            let mut refused = 0;
            while Instant::now() < until {
                let answers = connection.ask_all(&requests, &sent).await?;
                refused += answers.iter().filter(|answer| answer.status == 429).count();
            }
            if refused == 0 { Err("nothing was refused".into()) } else { Outcome::Ok(connection) }
        });
    }
    let mut held = Held::new();
    while let Some(connection) = greedy.join_next().await {
        held.push(connection??);
    }
    Ok(held)
}
