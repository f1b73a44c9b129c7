//! Locks: asked for, waited for, released.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode},
    response::IntoResponse as _,
};
use serde::Deserialize;
use throttle_core::PeerView;
use throttle_node::Ask;

use super::answer::{self, Answer, text};
use crate::{
    http::{
        App,
        extract::{self, PathOf, Who},
        refusal::Refusal,
        site,
    },
    runtime::Outcome,
    security::Right,
};

const FENCING_TOKEN: HeaderName = HeaderName::from_static("throttle-fencing-token");

#[derive(Deserialize)]
struct AcquireQuery {
    block_for: Option<String>,
    expires_in: Option<String>,
}

pub(in crate::http) async fn acquire(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    path: PathOf<(String, String)>,
    request: Request,
) -> Answer {
    let (parts, body) = request.into_parts();
    // The body is read first, so that a client that still sends it can read the refusal.
    let count: i64 =
        extract::json_of(&app, &parts.headers, body, "the count, a whole number such as 1").await?;
    let (peer, semaphore) = extract::path(path)?;
    let peer = extract::peer_id(&peer)?;
    let (mut block_for, mut expires_in) = (Duration::ZERO, None);
    if parts.uri.query().is_some() {
        let query: AcquireQuery = extract::query(&parts, "?block_for=10s&expires_in=5m")?;
        let max = app.expires_in_max;
        if let Some(text) = query.block_for {
            block_for = extract::duration("block_for", &text, max)?;
        }
        expires_in = query.expires_in.map(|text| extract::duration("expires_in", &text, max)).transpose()?;
    }
    // Whoever waits keeps none of what came over the network.
    drop(parts);
    let locks = [(semaphore.as_str(), count)];
    extract::check_locks(&caller, &locks)?;
    let ask = Ask { locks: &locks, priority: 0, expires_in, wait: block_for, if_pending: false };
    let token = |seen: Option<PeerView<'_>>, _| seen?.lock(&semaphore)?.token();
    let outcome = app.engine.acquire(peer.by(caller.by()), &ask, token).await;
    match outcome.map_err(|refusal| Refusal::from(refusal).told_to(&caller))? {
        // In these words, a request that was withdrawn is one that is not granted yet: its client asks again.
        Outcome::Pending(_) | Outcome::NotAcquired => Ok(answer::peer(StatusCode::ACCEPTED, peer)),
        Outcome::Acquired(token) => {
            let mut response = answer::peer(StatusCode::OK, peer);
            if let Some(token) = token {
                response.headers_mut().insert(FENCING_TOKEN, HeaderValue::from(token.0));
            }
            Ok(response)
        }
    }
}

pub(in crate::http) async fn release_lock(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    path: PathOf<(String, String)>,
) -> Answer {
    let (peer, semaphore) = extract::path(path)?;
    caller.check(Right::Release, &semaphore)?;
    app.engine.release(extract::peer_id(&peer)?.by(caller.by()), &[semaphore])?;
    Ok(text(StatusCode::OK, "Ok"))
}

/// `GET /peers/{peer}/is_acquired`; nothing else can be got below a peer.
pub(in crate::http) async fn is_acquired(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    path: PathOf<(String, String)>,
) -> Answer {
    match extract::path(path)? {
        (peer, name) if name == "is_acquired" => {
            let peer = extract::peer_id(&peer)?.by(caller.by());
            Ok(Json(app.engine.is_acquired(peer)?).into_response())
        }
        _ => Ok(site::not_found(&app, &Method::GET, "/peers/{peer}/{semaphore}")),
    }
}

#[derive(Deserialize)]
struct RemainderQuery {
    semaphore: String,
}

pub(in crate::http) async fn remainder(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    request: Request<Body>,
) -> Answer {
    let (parts, _) = request.into_parts();
    let query: RemainderQuery = extract::query(&parts, "?semaphore=A")?;
    caller.check(Right::Read, &query.semaphore)?;
    let remainder = app.engine.remainder(&query.semaphore).map_err(Refusal::from)?;
    Ok(Json(remainder).into_response())
}
