//! `POST /acquire`: a peer and its locks in one request.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
    response::IntoResponse as _,
};
use serde::Deserialize;
use throttle_core::Status;

use crate::http::{
    App,
    classic::Answer,
    extract::{self, Locks},
    refusal::Refusal,
};

const EXAMPLE: &str = r#"{"pending": {"A": 1}, "expires_in": "5m"}"#;

#[derive(Deserialize)]
struct AcquireBody {
    pending: Locks,
    expires_in: String,
}

pub(in crate::http) async fn acquire(State(app): State<Arc<App>>, request: Request) -> Answer {
    let body: AcquireBody = extract::json(&app, request, EXAMPLE).await?;
    let expires_in = extract::duration("expires_in", &body.expires_in, app.expires_in_max)?;
    if body.pending.is_empty() {
        return Err(Refusal::Invalid(format!(
            "There is nothing to acquire: pending is empty. Expected: {EXAMPLE}"
        )));
    }
    let (peer, status) = app.engine.new_peer_with_locks(&extract::locks(&body.pending), expires_in)?;
    let code = if status == Status::Pending { StatusCode::ACCEPTED } else { StatusCode::CREATED };
    Ok((code, Json(peer.0)).into_response())
}
