//! Ending the time in which grants are held back.

use std::sync::Arc;

use axum::{Json, extract::State, response::IntoResponse as _};
use throttle_api::Resumed;

use super::{documented, problem::Answer};
use crate::http::App;

/// Ends the time after a start in which nothing is granted anew (`recovery.hold_grants`): those who wait get what
/// there is, in order.
#[utoipa::path(
    post,
    path = "/v1/resume",
    operation_id = "resume",
    tag = documented::SERVER,
    responses((status = 200, body = Resumed, description = "Grants are given out."), documented::Resume)
)]
pub(in crate::http) async fn resume(State(app): State<Arc<App>>) -> Answer {
    let was_holding = app.engine.resume_grants();
    if was_holding {
        tracing::info!("Grants are given out again, by a request.");
    }
    Ok(Json(Resumed { was_holding }).into_response())
}
