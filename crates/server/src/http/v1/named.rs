//! The twins of the routes that have the name of a semaphore in their path: here it is in the query.
//!
//! Many proxies decode `%2F` in a path, which makes two parts of a name with a slash. A query they pass on as it is.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::request::Parts,
};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use throttle_api::{ChangeBody, Holder, SemaphoreBody, SemaphoreDetail, query};

use super::{documented, problem::Answer, semaphores};
use crate::http::{
    App,
    extract::{self, Who},
    refusal::Refusal,
};

/// What the query of a request that makes or changes a semaphore looks like.
const NAME: &str = "?name=t/in";

/// Shows a semaphore, who holds it, and who waits for it in their order.
///
/// The same as `GET /v1/semaphores/{semaphore}`, and fit for names with a slash behind any proxy.
#[utoipa::path(
    get,
    path = "/v1/semaphore",
    operation_id = "get_semaphore_by_query",
    tag = documented::SEMAPHORES,
    params(query::GetNamed),
    responses((status = 200, body = SemaphoreDetail, description = "The semaphore."), documented::GetSemaphore)
)]
pub(in crate::http) async fn get(State(app): State<Arc<App>>, Who(caller): Who, request: Request) -> Answer {
    let (parts, _) = request.into_parts();
    let example = "?name=t/in&limit=100&holders_cursor=41&queue_cursor=64";
    let query::GetNamed { name, limit, holders_cursor, queue_cursor } = read_query(&parts, example)?;
    let part = semaphores::part(limit, holders_cursor.as_deref(), queue_cursor.as_deref())?;
    semaphores::show(&app, &caller, named("name", &name)?, part)
}

/// Makes a semaphore, or replaces what it is declared to be. What the body leaves out has its default.
///
/// The same as `PUT /v1/semaphores/{semaphore}`, and fit for names with a slash behind any proxy.
#[utoipa::path(
    put,
    path = "/v1/semaphore",
    operation_id = "set_semaphore_by_query",
    tag = documented::SEMAPHORES,
    params(query::SetNamed),
    request_body = SemaphoreBody,
    responses(
        (status = 200, body = SemaphoreDetail, description = "It is replaced."),
        (status = 201, body = SemaphoreDetail, description = "It is made."),
        documented::SetSemaphore
    )
)]
pub(in crate::http) async fn set(State(app): State<Arc<App>>, Who(caller): Who, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let body = semaphores::declaration(&app, &parts, body).await?;
    let query::SetNamed { name } = read_query(&parts, NAME)?;
    semaphores::declare(&app, &caller, named("name", &name)?, body)
}

/// Changes a semaphore: resizes it, pauses it with `max` 0, gives it a rate.
///
/// The same as `PATCH /v1/semaphores/{semaphore}`, and fit for names with a slash behind any proxy.
#[utoipa::path(
    patch,
    path = "/v1/semaphore",
    operation_id = "change_semaphore_by_query",
    tag = documented::SEMAPHORES,
    params(query::ChangeNamed),
    request_body = ChangeBody,
    responses((status = 200, body = SemaphoreDetail, description = "It is changed."), documented::ChangeSemaphore)
)]
pub(in crate::http) async fn change(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    request: Request,
) -> Answer {
    let (parts, body) = request.into_parts();
    let body = semaphores::change_of(&app, &parts, body).await?;
    let query::ChangeNamed { name } = read_query(&parts, NAME)?;
    semaphores::alter(&app, &caller, named("name", &name)?, body)
}

/// Removes a semaphore.
///
/// The same as `DELETE /v1/semaphores/{semaphore}`, and fit for names with a slash behind any proxy.
#[utoipa::path(
    delete,
    path = "/v1/semaphore",
    operation_id = "remove_semaphore_by_query",
    tag = documented::SEMAPHORES,
    params(query::RemoveNamed),
    responses((status = 204, description = "It is removed."), documented::RemoveSemaphore)
)]
pub(in crate::http) async fn remove(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    request: Request,
) -> Answer {
    let (parts, _) = request.into_parts();
    let query::RemoveNamed { name, force } = read_query(&parts, "?name=t/in&force=true")?;
    semaphores::discard(&app, &caller, named("name", &name)?, force).await
}

/// Tells whether a fencing token is live: 200 while its grant is, 410 after that.
///
/// The same as `GET /v1/semaphores/{semaphore}/tokens/{token}`, and fit for names with a slash behind any proxy.
#[utoipa::path(
    get,
    path = "/v1/token",
    operation_id = "check_token_by_query",
    tag = documented::SEMAPHORES,
    params(query::CheckToken),
    responses((status = 200, body = Holder, description = "It is live; who holds it."), documented::CheckToken)
)]
pub(in crate::http) async fn token(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    request: Request,
) -> Answer {
    let (parts, _) = request.into_parts();
    let example = "?semaphore=t/in&token=1795480000000001";
    let query::CheckToken { semaphore, token } = read_query(&parts, example)?;
    semaphores::verify(&app, &caller, named("semaphore", &semaphore)?, &token)
}

/// The query. A path refuses bytes that are no text, so it must, too.
fn read_query<T: DeserializeOwned>(parts: &Parts, example: &str) -> Result<T, Refusal> {
    let text = parts.uri.query().unwrap_or_default();
    if percent_decode_str(text).decode_utf8().is_err() {
        let sentence = format!("The query {text:?} is not percent-encoded UTF-8. Expected: {example}");
        return Err(Refusal::Invalid(sentence));
    }
    extract::query(parts, example)
}

/// The name that the parameter `key` has. A path has none that is empty, so a query must not either.
fn named<'a>(key: &str, name: &'a str) -> Result<&'a str, Refusal> {
    if name.is_empty() {
        let sentence = format!("{key} is empty. Expected the name of a semaphore, such as {key}=t/in.");
        return Err(Refusal::Invalid(sentence));
    }
    Ok(name)
}
