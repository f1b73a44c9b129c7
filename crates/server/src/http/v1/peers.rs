//! Peers: made, looked at, kept, released.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header::LOCATION},
    response::{IntoResponse as _, Response},
};
use throttle_api::{HeartbeatBody, NewPeerBody, Page, Peer, query};
use throttle_core::{EndCause, PeerId, PeerView};
use throttle_node::{self as node, NewPeer};

use super::{
    convert, documented,
    page::{self, no_cursor, page_length},
    problem::{Answer, Problem},
    read::{self, contains},
};
use crate::http::{
    App,
    extract::{self, PathOf, Who},
    gate,
    refusal::Refusal,
};
use crate::{
    security::{Caller, Right},
    telemetry,
};

/// The longest reason that an operator may give, in characters.
const REASON_LENGTH: usize = 1024;

const NEW_PEER: &str = r#"{"expires_in": "5m", "labels": {"host": "w1"}}"#;
const HEARTBEAT: &str = r#"{"expires_in": "5m"}, or no body at all"#;

/// Makes a peer that holds nothing.
#[utoipa::path(
    post,
    path = "/v1/peers",
    operation_id = "create_peer",
    tag = documented::PEERS,
    params(documented::IdempotencyKey),
    request_body = NewPeerBody,
    responses((status = 201, body = Peer, description = "It is made.", headers(("Location" = String, description = "The peer, relative to the address of the request."))), documented::CreatePeer)
)]
pub(in crate::http) async fn create(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    request: Request,
) -> Answer {
    let (parts, body) = request.into_parts();
    let (new, bytes): (NewPeerBody, _) = read::body(&app, &parts.headers, body, NEW_PEER).await?;
    let key = read::key_text(&parts.headers)?;
    let new = NewPeer {
        by: caller.by(),
        expires_in: read::new_lease(&app, &new.expires_in)?,
        labels: read::labels(new.labels, &app)?,
        key: read::key(&caller, key.as_deref(), "POST /v1/peers", &bytes),
    };
    let made = app.engine.new_peer_and_look(&new, |seen, wall| convert::peer(seen, wall, &caller));
    Ok(created(Some(&made.map_err(|refusal| of_session(&app, &caller, refusal))?)))
}

/// The answer of a request that made a peer.
pub(super) fn created(peer: Option<&Peer>) -> Response {
    // Relative to the request, as a proxy may serve all this below a path.
    let location = peer.map(|peer| HeaderValue::try_from(format!("peers/{}", peer.id.0)));
    let mut response = (StatusCode::CREATED, Json(peer)).into_response();
    if let Some(Ok(location)) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Why a request that makes a peer is refused.
pub(super) fn of_session(app: &App, caller: &Caller, refusal: node::Refusal) -> Problem {
    let peer = if let node::Refusal::Gone(peer) = refusal { Some(peer) } else { None };
    Problem::explained(&app.engine, caller, peer, refusal)
}

/// Lists peers, page by page. A peer that lives all the while is in the list once.
#[utoipa::path(
    get,
    path = "/v1/peers",
    operation_id = "list_peers",
    tag = documented::PEERS,
    params(query::ListPeers),
    responses((status = 200, body = Page<Peer>, description = "A page of peers."), documented::ListPeers)
)]
pub(in crate::http) async fn list(State(app): State<Arc<App>>, Who(caller): Who, request: Request) -> Answer {
    let (parts, _) = request.into_parts();
    let query: query::ListPeers =
        extract::query(&parts, "?label=host:w1&search=w1&semaphore=A&limit=100&cursor=64")?;
    let limit = page_length(query.limit)?;
    let from = query
        .cursor
        .as_deref()
        .map_or(Ok(0), |cursor| usize::from_str_radix(cursor, 16).map_err(|_| no_cursor(cursor)))?;
    let label = query.label.as_deref().map(|label| {
        label.split_once(':').ok_or_else(|| {
            Refusal::Invalid(format!("label is {label:?}. Expected the key and the value, such as host:w1."))
        })
    });
    let label = label.transpose()?;
    if let Some(semaphore) = &query.semaphore {
        caller.check(Right::Read, semaphore)?;
        let known = app.engine.semaphore(semaphore, |_, _| (), |_| ());
        known.map_err(|error| Problem::explained(&app.engine, &caller, None, error))?;
    }
    if parts.method == Method::HEAD {
        return Ok(page::head());
    }
    let page = app.engine.peer_page(from, limit, |peer, wall| {
        let has_label = label.is_none_or(|(key, value)| {
            peer.labels().and_then(|labels| labels.get(key)).is_some_and(|found| found == value)
        });
        let uses = |semaphore: &str| {
            let waits = || peer.pending().is_some_and(|p| p.locks().any(|(name, _)| **name == *semaphore));
            peer.lock(semaphore).is_some() || waits()
        };
        let is_found = || query.search.as_deref().is_none_or(|searched| is_found(peer, searched, &caller));
        (has_label
            && is_found()
            && query.semaphore.as_deref().is_none_or(uses)
            && convert::is_visible(peer, &caller))
        .then(|| convert::listed_peer(peer, wall, &caller))
    });
    let next = |written: usize| {
        let place = page.items.get(written).map(|(place, _)| *place).or(page.next);
        place.map(|place| format!("{place:x}"))
    };
    Ok(page::written(page.items.iter().map(|(_, peer)| peer), next))
}

/// Whether a search finds the peer.
fn is_found(peer: PeerView<'_>, searched: &str, caller: &Caller) -> bool {
    let mut labels = peer.labels().into_iter().flat_map(|labels| labels.iter());
    (peer.is_for(caller.by()) && contains(&peer.id().to_string(), searched))
        || labels.any(|(key, value)| contains(&format!("{key}:{value}"), searched))
}

/// Shows a peer: what it holds, and what it waits for and why.
#[utoipa::path(
    get,
    path = "/v1/peers/{peer}",
    operation_id = "get_peer",
    tag = documented::PEERS,
    params(documented::PeerPath),
    responses((status = 200, body = Peer, description = "The peer."), documented::GetPeer)
)]
pub(in crate::http) async fn get(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    path: PathOf<String>,
) -> Answer {
    let peer = read::peer_id(&extract::path(path)?)?;
    let seen = app.engine.view_with_wall(|core, wall| {
        core.peer(peer.by(caller.by())).map(|seen| convert::peer(seen, wall, &caller))
    });
    Ok(Json(seen.map_err(|error| Problem::explained(&app.engine, &caller, Some(peer), error))?)
        .into_response())
}

/// Starts the lease of a peer anew. A loss is never hidden: a peer that is gone is answered 410.
#[utoipa::path(
    post,
    path = "/v1/peers/{peer}/heartbeat",
    operation_id = "heartbeat",
    tag = documented::PEERS,
    params(documented::PeerPath),
    request_body(content = Option<HeartbeatBody>, description = "May be left out."),
    responses((status = 200, body = Peer, description = "The lease starts anew."), documented::Heartbeat)
)]
pub(in crate::http) async fn heartbeat(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    path: PathOf<String>,
    request: Request,
) -> Answer {
    let (parts, body) = request.into_parts();
    let body: HeartbeatBody = read::optional_body(&app, &parts.headers, body, HEARTBEAT).await?;
    let peer = read::peer_id(&extract::path(path)?)?;
    let expires_in = read::lease(&app, body.expires_in.as_ref())?;
    let kept = app.engine.heartbeat_and_look(peer.by(caller.by()), expires_in, |seen, wall| {
        convert::peer(seen, wall, &caller)
    });
    let (seen, condition) =
        kept.map_err(|error| Problem::explained(&app.engine, &caller, Some(peer), error))?;
    // It waits for the journal where it shows what may have been granted a moment ago.
    Ok(gate::after(&app, condition, Json(seen).into_response()))
}

/// Releases a peer: all its locks are free, its request leaves the queue. Succeeds also if it is gone.
#[utoipa::path(
    delete,
    path = "/v1/peers/{peer}",
    operation_id = "release_peer",
    tag = documented::PEERS,
    params(documented::PeerPath, query::ReleasePeer),
    responses((status = 204, description = "It is gone."), documented::ReleasePeer)
)]
pub(in crate::http) async fn release(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    path: PathOf<String>,
    request: Request,
) -> Answer {
    let (parts, _) = request.into_parts();
    let number = read::digits(&extract::path(path)?, "the id of a peer")?;
    let query::ReleasePeer { reason } = extract::query(&parts, "?reason=stuck+since+noon")?;
    if let Some(length) = reason.as_ref().map(|reason| reason.chars().count())
        && length > REASON_LENGTH
    {
        let sentence = format!("The reason has {length} characters; at most {REASON_LENGTH} are kept.");
        return Err(Refusal::Invalid(sentence).into());
    }
    if let Some(reason) = reason.as_ref().filter(|reason| reason.chars().any(char::is_control)) {
        let sentence = format!("The reason is {reason:?}. Expected text without control characters.");
        return Err(Refusal::Invalid(sentence).into());
    }
    // A number beyond 64 bits is that of no peer.
    if let Some(peer) = number.map(PeerId) {
        match reason {
            None if app.engine.end_peer(peer.by(caller.by()), EndCause::Released) => {}
            None if app.engine.ending(peer.by(caller.by())).is_some() => {}
            None => telemetry::unknown_peer_ended(peer),
            Some(reason) => {
                let reason = reason.as_str().into();
                app.engine.release_with_reason(peer.by(caller.by()), reason, caller.identity());
            }
        }
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}
