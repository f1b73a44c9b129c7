//! Locks: asked for, waited for, released; and a peer with its locks in one request.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
    response::IntoResponse as _,
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    peers::{created, of_session},
    problem::{Answer, Code, Problem},
    read::{self, Entries},
    shapes::Peer,
};
use crate::{
    engine::{Ask, NewPeer, Outcome},
    http::{
        App,
        extract::{self, PathOf},
    },
};

const LOCKS: &str = r#"{"locks": {"A": 1}, "wait": "10s", "priority": 0, "expires_in": "5m"}"#;
const SESSION: &str = r#"{"locks": {"A": 1}, "expires_in": "5m", "wait": "10s", "on_timeout": "leave"}"#;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LocksBody {
    #[schema(value_type = BTreeMap<String, i64>)]
    locks: Entries<i64>,
    wait: Option<String>,
    #[serde(default)]
    priority: i32,
    expires_in: Option<String>,
}

pub(super) async fn acquire(State(app): State<Arc<App>>, path: PathOf<String>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    // The body is read first, so that a client that still sends it can read the refusal.
    let (body, _): (LocksBody, _) = read::body(&app, &parts.headers, body, LOCKS).await?;
    let peer = read::peer_id(&extract::path(path)?)?;
    let ask = Ask {
        locks: &body.locks.locks(LOCKS)?,
        priority: body.priority,
        wait: read::duration(&app, "wait", body.wait.as_deref())?.unwrap_or_default(),
    };
    let expires_in = read::duration(&app, "expires_in", body.expires_in.as_deref())?;
    let outcome = app.engine.acquire_and_look(peer, &ask, expires_in, Peer::of).await;
    match outcome.map_err(|refusal| Problem::explained(&app.engine, Some(peer), refusal))? {
        Outcome::Acquired(peer) => Ok(Json(peer).into_response()),
        Outcome::Pending(peer) => Ok((StatusCode::ACCEPTED, Json(peer)).into_response()),
        Outcome::NotAcquired => Err(withdrawn()),
    }
}

fn withdrawn() -> Problem {
    let detail =
        "The request was withdrawn while it waited: somebody released it. Ask again if it was not you.";
    Problem::new(Code::NotAcquired, detail)
}

pub(super) async fn release(State(app): State<Arc<App>>, path: PathOf<(String, String)>) -> Answer {
    let (peer, semaphore) = extract::path(path)?;
    let peer = read::peer_id(&peer)?;
    let released = app.engine.release_lock(peer, &semaphore);
    released.map_err(|error| Problem::explained(&app.engine, Some(peer), error))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What becomes of a peer whose wait ends without a grant.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnTimeout {
    /// It goes on waiting in the queue.
    #[default]
    Stay,
    /// It is removed.
    Leave,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionBody {
    #[schema(value_type = BTreeMap<String, i64>)]
    locks: Entries<i64>,
    expires_in: String,
    wait: Option<String>,
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    labels: Entries<String>,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    on_timeout: OnTimeout,
}

pub(super) async fn session(State(app): State<Arc<App>>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let (body, bytes): (SessionBody, _) = read::body(&app, &parts.headers, body, SESSION).await?;
    let ask = Ask {
        locks: &body.locks.locks(SESSION)?,
        priority: body.priority,
        wait: read::duration(&app, "wait", body.wait.as_deref())?.unwrap_or_default(),
    };
    let new = NewPeer {
        expires_in: extract::duration("expires_in", &body.expires_in, app.expires_in_max)?,
        labels: body.labels.labels(&app)?,
        key: read::key(&parts.headers, "POST /v1/locks", &bytes)?,
    };
    let leaves = body.on_timeout == OnTimeout::Leave;
    let outcome = app.engine.session(&new, &ask, leaves, Peer::of).await;
    match outcome.map_err(|refusal| of_session(&app, refusal))? {
        Outcome::Acquired(peer) => Ok(created(&peer)),
        Outcome::Pending(peer) => Ok((StatusCode::ACCEPTED, Json(peer)).into_response()),
        Outcome::NotAcquired if leaves => Err(Problem::new(
            Code::NotAcquired,
            "The locks were not to be had in time, and the peer is removed. Wait longer, or try again later.",
        )),
        Outcome::NotAcquired => Err(withdrawn()),
    }
}
