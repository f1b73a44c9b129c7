//! Peers: made, looked at, kept, released.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header::LOCATION},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use throttle_core::EndCause;
use utoipa::{IntoParams, ToSchema};

use super::{
    problem::{Answer, Problem},
    read::{self, Entries},
    shapes::Peer,
};
use crate::{
    engine::{NewPeer, SessionRefusal},
    http::{
        App,
        extract::{self, PathOf},
        refusal::Refusal,
    },
};

/// The longest reason that an operator may give, in bytes.
const REASON_BYTES: usize = 1024;

const NEW_PEER: &str = r#"{"expires_in": "5m", "labels": {"host": "w1"}}"#;
const HEARTBEAT: &str = r#"{"expires_in": "5m"}, or no body at all"#;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPeerBody {
    expires_in: String,
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    labels: Entries<String>,
}

pub(super) async fn create(State(app): State<Arc<App>>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let (new, bytes): (NewPeerBody, _) = read::body(&app, &parts.headers, body, NEW_PEER).await?;
    let new = NewPeer {
        expires_in: extract::duration("expires_in", &new.expires_in, app.expires_in_max)?,
        labels: new.labels.labels(&app)?,
        key: read::key(&parts.headers, "POST /v1/peers", &bytes)?,
    };
    let made = app.engine.new_peer_once(&new, Peer::of);
    Ok(created(&made.map_err(|refusal| of_session(&app, refusal))?))
}

/// The answer of a request that made a peer.
pub(super) fn created(peer: &Peer) -> Response {
    let location = HeaderValue::try_from(format!("/v1/peers/{}", peer.id.0));
    let mut response = (StatusCode::CREATED, Json(peer)).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Why a request that makes a peer is refused.
pub(super) fn of_session(app: &App, refusal: SessionRefusal) -> Problem {
    let peer = if let SessionRefusal::Gone(peer) = refusal { Some(peer) } else { None };
    Problem::explained(&app.engine, peer, refusal)
}

pub(super) async fn get(State(app): State<Arc<App>>, path: PathOf<String>) -> Answer {
    let peer = extract::peer_id(&extract::path(path)?)?;
    let seen = app.engine.view(|core| core.peer(peer).map(Peer::of));
    Ok(Json(seen.map_err(|error| Problem::explained(&app.engine, Some(peer), error))?).into_response())
}

#[derive(Deserialize, Default, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HeartbeatBody {
    expires_in: Option<String>,
}

pub(super) async fn heartbeat(State(app): State<Arc<App>>, path: PathOf<String>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let body: HeartbeatBody = read::optional_body(&app, &parts.headers, body, HEARTBEAT).await?;
    let peer = extract::peer_id(&extract::path(path)?)?;
    let expires_in = read::duration(&app, "expires_in", body.expires_in.as_deref())?;
    let kept = app.engine.heartbeat_and_look(peer, expires_in, Peer::of);
    Ok(Json(kept.map_err(|error| Problem::explained(&app.engine, Some(peer), error))?).into_response())
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct ReleaseQuery {
    reason: Option<String>,
}

pub(super) async fn release(State(app): State<Arc<App>>, path: PathOf<String>, request: Request) -> Answer {
    let (mut parts, _) = request.into_parts();
    let peer = extract::peer_id(&extract::path(path)?)?;
    let ReleaseQuery { reason } = extract::query(&mut parts, "?reason=stuck+since+noon").await?;
    match reason {
        None => app.engine.end_peer(peer, EndCause::Released),
        Some(reason) if reason.len() > REASON_BYTES => {
            return Err(Refusal::Invalid(format!(
                "The reason has {} bytes; at most {REASON_BYTES} are kept.",
                reason.len()
            ))
            .into());
        }
        Some(reason) => {
            let was_known = app.engine.release_with_reason(peer, reason.as_str().into());
            if was_known {
                tracing::info!("Peer {peer} was released by an operator: {reason:?}");
            }
            was_known
        }
    };
    Ok(StatusCode::NO_CONTENT.into_response())
}
