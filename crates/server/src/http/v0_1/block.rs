//! `POST /peers/{peer}/block_until_acquired`: waits until a peer has all it asked for.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Request, State},
    http::Method,
    response::IntoResponse as _,
};
use serde::Deserialize;

use super::claim::{Claim, ask};
use crate::http::{
    App,
    extract::{self, Locks, PathOf, Who},
    refusal::Refusal,
    site,
    v0_2::Answer,
};

#[derive(Deserialize)]
struct BlockQuery {
    timeout_ms: Option<u64>,
}

#[derive(Deserialize)]
struct BlockBody {
    expires_in: String,
    #[serde(default)]
    active: Locks,
    #[serde(default)]
    pending: Locks,
}

pub(in crate::http) async fn block_until_acquired(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    path: PathOf<(String, String)>,
    request: Request,
) -> Answer {
    let (parts, body) = request.into_parts();
    let (peer, name) = extract::path(path)?;
    if name != "block_until_acquired" {
        return Ok(site::not_found(&app, &Method::POST, parts.uri.path()));
    }
    let example = r#"{"expires_in": "5m", "active": {}, "pending": {"A": 1}}"#;
    let body: BlockBody = extract::json_of(&app, &parts.headers, body, example).await?;
    let query: BlockQuery = extract::query(&parts, "?timeout_ms=5000")?;
    // Whoever waits keeps none of what came over the network.
    drop(parts);
    let expires_in = extract::duration("expires_in", &body.expires_in, app.expires_in_max)?;
    let (active, pending) = (extract::locks(&body.active), extract::locks(&body.pending));
    for locks in [&active, &pending] {
        extract::check_locks(&caller, locks)?;
    }
    let claim = Claim::new(&active);
    let restore = claim.restore(extract::peer_id(&peer)?.by(caller.by()), expires_in);
    // Without a time limit of its own the wait ends with the promised time of the peer.
    let block_for = query.timeout_ms.map_or(expires_in, Duration::from_millis);
    let outcome = app.engine.keep_or_restore_and_wait(&restore, &ask(expires_in, &pending), block_for).await;
    let is_acquired = outcome.map_err(|refusal| Refusal::from(refusal).told_to(&caller))?;
    Ok(Json(is_acquired).into_response())
}
