//! Locks: asked for, waited for, released; and a peer with its locks in one request.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
    response::IntoResponse as _,
};
use throttle_api::{Code, LocksBody, OnTimeout, Peer, ReleaseBody, SessionBody};
use throttle_core::PeerView;
use throttle_journal::Wall;
use throttle_node::{Ask, NewPeer};

use super::{
    convert, documented,
    peers::{created, of_session},
    problem::{Answer, Problem},
    read,
};
use crate::http::{
    App,
    extract::{self, PathOf, Who},
    refusal::Refusal,
};
use crate::{
    runtime::Outcome,
    security::{Caller, Right},
};

const LOCKS: &str = r#"{"locks": {"A": 1}, "wait": "10s", "priority": 0, "expires_in": "5m"}"#;
const RELEASE: &str = r#"{"locks": ["A"]}"#;
const SESSION: &str = r#"{"locks": {"A": 1}, "expires_in": "5m", "wait": "10s", "on_timeout": "leave"}"#;

/// Asks for locks. What is held stays; the rest is one request, granted in a single step or not at all.
///
/// Asking again for the same is a question about its state, a smaller count shrinks a lock at once.
#[utoipa::path(
    put,
    path = "/v1/peers/{peer}/locks",
    operation_id = "acquire_locks",
    tag = documented::LOCKS,
    params(documented::PeerPath),
    request_body = LocksBody,
    responses(
        (status = 200, body = Peer, description = "All are held."),
        (status = 202, body = Peer, description = "The request stands in the queue; `pending` says why."),
        documented::AcquireLocks
    )
)]
pub(in crate::http) async fn acquire(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    path: PathOf<String>,
    request: Request,
) -> Answer {
    let (parts, body) = request.into_parts();
    // The body is read first, so that a client that still sends it can read the refusal.
    let (body, _): (LocksBody, _) = read::body(&app, &parts.headers, body, LOCKS).await?;
    // Whoever waits keeps none of what came over the network.
    drop(parts);
    let peer = read::peer_id(&extract::path(path)?)?;
    let expires_in = read::lease(&app, body.expires_in.as_ref())?;
    let locks = read::locks(&body.locks, LOCKS)?;
    extract::check_locks(&caller, &locks)?;
    let ask = Ask {
        locks: &locks,
        priority: body.priority.0,
        expires_in,
        wait: read::wait(&app, body.wait.as_ref(), expires_in)?,
        if_pending: body.if_pending.is_some_and(|instance| app.instance == instance),
    };
    let outcome =
        app.engine.acquire(peer.by(caller.by()), &ask, |seen, wall| shown(seen, wall, &caller)).await;
    match outcome.map_err(|refusal| Problem::explained(&app.engine, &caller, Some(peer), refusal))? {
        Outcome::Acquired(peer) => Ok(Json(peer).into_response()),
        Outcome::Pending(peer) => Ok((StatusCode::ACCEPTED, Json(peer)).into_response()),
        Outcome::NotAcquired => Err(withdrawn()),
    }
}

/// A look at the peer of a request: its lease has a length, so it is there.
fn shown(peer: Option<PeerView<'_>>, wall: Wall, caller: &Caller) -> Option<Peer> {
    peer.map(|peer| convert::peer(peer, wall, caller))
}

fn withdrawn() -> Problem {
    let detail =
        "Somebody withdrew the request while it waited, or released its locks. Ask again if it was not you.";
    Problem::new(Code::NotAcquired, detail)
}

/// Releases a lock, or withdraws the whole request that asks for it. Succeeds also if it is not held.
#[utoipa::path(
    delete,
    path = "/v1/peers/{peer}/locks/{semaphore}",
    operation_id = "release_lock",
    tag = documented::LOCKS,
    params(documented::PeerPath, documented::SemaphorePath),
    responses((status = 204, description = "It is not held any more."), documented::ReleaseLock)
)]
pub(in crate::http) async fn release(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    path: PathOf<(String, String)>,
) -> Answer {
    let (peer, semaphore) = extract::path(path)?;
    let peer = read::peer_id(&peer)?;
    caller.check(Right::Release, &semaphore)?;
    let released = app.engine.release(peer.by(caller.by()), &[semaphore]);
    released.map_err(|error| Problem::explained(&app.engine, &caller, Some(peer), error))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Releases locks, or withdraws the whole request that asks for one of them. Succeeds also if they are not held.
///
/// If one of the semaphores is unknown, nothing is released.
#[utoipa::path(
    post,
    path = "/v1/peers/{peer}/release",
    operation_id = "release_locks",
    tag = documented::LOCKS,
    params(documented::PeerPath),
    request_body = ReleaseBody,
    responses((status = 204, description = "They are not held any more."), documented::ReleaseLocks)
)]
pub(in crate::http) async fn release_several(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    path: PathOf<String>,
    request: Request,
) -> Answer {
    let (parts, body) = request.into_parts();
    let (ReleaseBody { locks }, _) = read::body(&app, &parts.headers, body, RELEASE).await?;
    let peer = read::peer_id(&extract::path(path)?)?;
    if locks.is_empty() {
        let sentence = format!("There is nothing to release: locks is empty. Expected: {RELEASE}");
        return Err(Refusal::Invalid(sentence).into());
    }
    locks.iter().try_for_each(|semaphore| caller.check(Right::Release, semaphore))?;
    let released = app.engine.release(peer.by(caller.by()), &locks);
    released.map_err(|error| Problem::explained(&app.engine, &caller, Some(peer), error))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Makes a peer and asks for its locks in one request.
#[utoipa::path(
    post,
    path = "/v1/locks",
    operation_id = "acquire_with_new_peer",
    tag = documented::LOCKS,
    params(documented::IdempotencyKey),
    request_body = SessionBody,
    responses(
        (
            status = 201,
            body = Peer,
            description = "The peer is made and holds all of them.",
            headers(("Location" = String, description = "The peer, relative to the address of the request."))
        ),
        (
            status = 202,
            body = Peer,
            description = "The peer is made and stands in the queue; `pending` says why. It is null if this repeats a \
                           request that was withdrawn, or whose locks were released, since: the peer is as it is."
        ),
        documented::NewSession
    )
)]
pub(in crate::http) async fn session(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    request: Request,
) -> Answer {
    let (parts, body) = request.into_parts();
    let (body, bytes): (SessionBody, _) = read::body(&app, &parts.headers, body, SESSION).await?;
    let expires_in = read::new_lease(&app, &body.expires_in)?;
    let key = read::key_text(&parts.headers)?;
    let key = read::key(&caller, key.as_deref(), "POST /v1/locks", &bytes);
    // Whoever waits keeps none of what came over the network.
    drop((parts, bytes));
    let locks = read::locks(&body.locks, SESSION)?;
    extract::check_locks(&caller, &locks)?;
    let ask = Ask {
        locks: &locks,
        priority: body.priority.0,
        expires_in: None,
        wait: read::wait(&app, body.wait.as_ref(), Some(expires_in))?,
        if_pending: false,
    };
    let new = NewPeer { by: caller.by(), expires_in, labels: read::labels(body.labels, &app)?, key };
    let leaves = body.on_timeout == OnTimeout::Leave;
    let outcome = app.engine.session(&new, &ask, leaves, |seen, wall| shown(seen, wall, &caller)).await;
    let (_, outcome) = outcome.map_err(|refusal| of_session(&app, &caller, refusal))?;
    match outcome {
        Outcome::Acquired(peer) => Ok(created(peer.as_ref())),
        Outcome::Pending(peer) => Ok((StatusCode::ACCEPTED, Json(peer)).into_response()),
        Outcome::NotAcquired if leaves => Err(Problem::new(
            Code::NotAcquired,
            "The locks were not to be had in time, and the peer is removed. Wait longer, or try again later.",
        )),
        Outcome::NotAcquired => Err(withdrawn()),
    }
}
