//! One heartbeat for thousands of peers.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    response::IntoResponse as _,
};
use throttle_api::{AnyDigits, HeartbeatsBody, Renewed};
use throttle_core::PeerId;

use super::{documented, problem::Answer};
use crate::http::{
    App,
    extract::{self, Who},
    gate,
    refusal::Refusal,
};

/// The largest body here: some 45,000 peers.
const BODY_BYTES: usize = 1 << 20;

const EXAMPLE: &str = r#"{"expires_in": "5m", "peers": ["15248218688310292863"]}"#;

/// Starts the leases of many peers anew, in one request for thousands of them.
///
/// A peer may be named more than once. The body has up to 1 MiB.
#[utoipa::path(
    post,
    path = "/v1/heartbeats",
    operation_id = "renew_many",
    tag = documented::PEERS,
    request_body = HeartbeatsBody,
    responses((status = 200, body = Renewed, description = "What became of it."), documented::RenewMany)
)]
pub(in crate::http) async fn renew(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    request: Request,
) -> Answer {
    let (parts, body) = request.into_parts();
    let bytes = extract::bytes_up_to(&app, body, BODY_BYTES).await?;
    extract::check_json(&parts.headers)?;
    let body: HeartbeatsBody = extract::parse(&bytes, EXAMPLE)?;
    let expires_in = extract::duration("expires_in", &body.expires_in.0, app.expires_in_max)?;
    let (mut peers, mut gone) = (Vec::with_capacity(body.peers.len()), Vec::new());
    for peer in body.peers {
        match peer {
            AnyDigits::Number(peer) => peers.push(PeerId(peer)),
            beyond @ AnyDigits::Beyond(_) => gone.push(beyond),
        }
    }
    let (unknown, condition) =
        app.engine.heartbeats(caller.by(), &peers, expires_in).await.map_err(Refusal::from)?;
    let renewed = peers.len() - unknown.len();
    gone.extend(unknown.iter().map(|peer| AnyDigits::Number(peer.0)));
    Ok(gate::after(&app, condition, Json(Renewed { renewed, gone }).into_response()))
}
