//! `POST /acquire`: a peer and its locks in one request.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
    response::IntoResponse as _,
};
use serde::Deserialize;
use throttle_node::NewPeer;

use super::claim::{LEASE_MIN, ask};
use crate::{
    http::{
        App,
        extract::{self, Locks, Who},
        refusal::Refusal,
        v0_2::Answer,
    },
    runtime::Outcome,
};

const EXAMPLE: &str = r#"{"pending": {"A": 1}, "expires_in": "5m"}"#;

#[derive(Deserialize)]
struct AcquireBody {
    pending: Locks,
    expires_in: String,
}

pub(in crate::http) async fn acquire(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    request: Request,
) -> Answer {
    let body: AcquireBody = extract::json(&app, request, EXAMPLE).await?;
    let expires_in = extract::duration("expires_in", &body.expires_in, app.expires_in_max)?;
    if body.pending.is_empty() {
        return Err(Refusal::Invalid(format!(
            "There is nothing to acquire: pending is empty. Expected: {EXAMPLE}"
        )));
    }
    let locks = extract::locks(&body.pending);
    extract::check_locks(&caller, &locks)?;
    let new = NewPeer { by: caller.by(), expires_in: expires_in.max(LEASE_MIN), labels: None, key: None };
    let ask = ask(expires_in, &locks);
    let made = app.engine.session(&new, &ask, false, |_, _| ()).await;
    let (peer, outcome) = made.map_err(|refusal| Refusal::from(refusal).told_to(&caller))?;
    let code = match outcome {
        Outcome::Acquired(()) => StatusCode::CREATED,
        Outcome::Pending(()) | Outcome::NotAcquired => StatusCode::ACCEPTED,
    };
    Ok((code, Json(peer.0)).into_response())
}
