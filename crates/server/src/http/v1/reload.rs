//! Reading the configuration file again.

use std::sync::Arc;

use axum::{Json, extract::State, response::IntoResponse as _};
use throttle_api::{Code, Difference};

use super::{
    convert, documented,
    problem::{Answer, Problem},
};
use crate::http::{App, extract::Who};

/// Reads the configuration file again, as SIGHUP does. It is checked first, and comes into force as a whole or not
/// at all. A file that is gone or empty, but said something when it was last read, is an error.
///
/// The later word wins: what differs from the file as last read is changed; what a request set stands otherwise.
#[utoipa::path(
    post,
    path = "/v1/reload",
    operation_id = "reload",
    tag = documented::SERVER,
    responses((status = 200, body = Difference, description = "What changed."), documented::Reload)
)]
pub(in crate::http) async fn reload(State(app): State<Arc<App>>, Who(caller): Who) -> Answer {
    let reloader = app.reloader.clone();
    let reloaded = tokio::task::spawn_blocking(move || reloader.reload(caller.identity())).await;
    match reloaded {
        Ok(Ok(reloaded)) => Ok(Json(convert::difference(reloaded)).into_response()),
        Ok(Err(error)) => Err(Problem::new(Code::InvalidConfiguration, format!("Nothing changed. {error}"))),
        Err(_) => Err(Problem::new(Code::Unavailable, "The server is about to stop.")),
    }
}
