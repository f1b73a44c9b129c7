//! Peers: made, kept, listed, restored, released.

use std::{collections::BTreeMap, fmt::Write as _, io, sync::Arc};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use futures_util::stream::{self, StreamExt as _};
use serde::Deserialize;
use throttle_api::Entries;
use throttle_core::{EndCause, PeerId, Restore, RestoreLock, Token};

use super::answer::{self, Answer, text};
use throttle_node::NewPeer;

use crate::http::{
    App,
    extract::{self, Locks, PathOf, Who},
    gate,
    refusal::Refusal,
    v0_1::{self, Claim},
    v1,
};
use crate::{
    security::{Asker, Right},
    telemetry,
};

/// How many peers are read in one go while they are listed, so that a long list holds up no grant.
const PAGE: usize = 1024;

#[derive(Deserialize)]
struct NewPeerBody {
    expires_in: String,
}

pub(in crate::http) async fn new_peer(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    request: Request,
) -> Answer {
    let NewPeerBody { expires_in } = extract::json(&app, request, r#"{"expires_in": "5m"}"#).await?;
    let expires_in = extract::duration("expires_in", &expires_in, app.expires_in_max)?;
    Ok(answer::peer(
        StatusCode::OK,
        app.engine.new_peer(&NewPeer { by: caller.by(), expires_in, labels: None, key: None })?,
    ))
}

/// In the first dialect a heartbeat also says what the peer holds, and brings it back if need be.
#[derive(Deserialize)]
struct Heartbeat {
    expires_in: String,
    active: Option<Locks>,
}

pub(in crate::http) async fn heartbeat(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    path: PathOf<String>,
    request: Request,
) -> Answer {
    let peer = extract::peer_id(&extract::path(path)?);
    let Heartbeat { expires_in, active } = extract::json(&app, request, r#"{"expires_in": "5m"}"#).await?;
    let (peer, expires_in) =
        (peer?.by(caller.by()), extract::duration("expires_in", &expires_in, app.expires_in_max)?);
    let condition = match active {
        None => app.engine.heartbeat(peer, expires_in)?,
        Some(active) => {
            let locks = extract::locks(&active);
            extract::check_locks(&caller, &locks)?;
            let claim = Claim::new(&locks);
            app.engine.keep_or_restore(&claim.restore(peer, expires_in), &v0_1::ask(expires_in, &[]))?
        }
    };
    Ok(gate::after(&app, condition, text(StatusCode::OK, "Ok")))
}

pub(in crate::http) async fn release_peer(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    path: PathOf<String>,
) -> Answer {
    let peer = extract::peer_id(&extract::path(path)?)?;
    let was_known = app.engine.end_peer(peer.by(caller.by()), EndCause::Released);
    if !was_known && app.engine.ending(peer.by(caller.by())).is_none() {
        telemetry::unknown_peer_ended(peer);
    }
    Ok(Json(if was_known { "Peer released" } else { "Peer not found" }).into_response())
}

/// The list is sent page by page: a peer that lives all the while is in it once.
pub(in crate::http) async fn list_peers(State(app): State<Arc<App>>, Who(caller): Who) -> Response {
    let pages = std::iter::once(Bytes::from_static(b"["))
        .chain(peer_pages(app.clone(), caller))
        .chain([Bytes::from_static(b"]")]);
    // Pages are read after the head has left, so each is safe, or the list ends, before it leaves itself.
    let safe = stream::iter(pages).then(move |page| {
        let app = app.clone();
        async move { app.engine.settled().await.map(|()| page).map_err(io::Error::other) }
    });
    let body = Body::from_stream(safe);
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

fn peer_pages(app: Arc<App>, caller: Asker) -> impl Iterator<Item = Bytes> {
    let (mut after, mut is_first) = (None, true);
    std::iter::from_fn(move || {
        let (mut page, mut is_over) = (String::new(), false);
        while page.is_empty() && !is_over {
            app.engine.view(|core| {
                is_over = true;
                for (cursor, peer) in core.peers(after).take(PAGE) {
                    (after, is_over) = (Some(cursor), false);
                    // Here a peer is nothing but its id.
                    if peer.is_for(caller.by()) {
                        let comma = if std::mem::take(&mut is_first) { "" } else { "," };
                        // Writing to a string cannot fail.
                        let _ = write!(page, r#"{comma}{{"id":{}}}"#, peer.id());
                    }
                }
            });
        }
        (!page.is_empty()).then(|| Bytes::from(page))
    })
}

#[derive(Deserialize)]
struct RestoreBody {
    expires_in: String,
    peer_id: u64,
    acquired: Locks,
    #[serde(default)]
    tokens: BTreeMap<String, String>,
    #[serde(default)]
    labels: Entries<String>,
}

pub(in crate::http) async fn restore(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    request: Request,
) -> Answer {
    let example = r#"{"expires_in": "5m", "peer_id": 42, "acquired": {"A": 3}}"#;
    let body: RestoreBody = extract::json(&app, request, example).await?;
    let expires_in = extract::duration("expires_in", &body.expires_in, app.expires_in_max)?;
    let mut locks = Vec::with_capacity(body.acquired.len());
    for (semaphore, &count) in &body.acquired {
        caller.check(Right::Acquire, semaphore)?;
        let token = body.tokens.get(semaphore).map(|text| token(text)).transpose()?;
        locks.push(RestoreLock { semaphore, count, token });
    }
    // A lock is worth more than its labels: those beyond the limits are left out.
    let labels = v1::labels(body.labels, &app).unwrap_or_default();
    let peer = PeerId(body.peer_id).by(caller.by());
    app.engine.restore(&Restore { peer, expires_in, locks: &locks, labels })?;
    Ok(text(StatusCode::OK, "Ok"))
}

fn token(text: &str) -> Result<Token, Refusal> {
    text.parse().map(Token).map_err(|_| {
        Refusal::Invalid(format!(
            "{text:?} is not a fencing token: a string of digits, as the server gave it."
        ))
    })
}

/// Expiry is exact, so there is never anything to remove.
pub(in crate::http) async fn remove_expired() -> Json<u64> {
    Json(0)
}
