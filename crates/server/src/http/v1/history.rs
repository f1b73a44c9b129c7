//! How busy semaphores were lately.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    response::IntoResponse as _,
};
use throttle_api::{Histories, History, Span};
use utoipa::IntoParams;

use super::{convert, documented, problem::Answer};
use crate::{
    http::{
        App,
        extract::{self, Who},
        refusal::Refusal,
    },
    security::Right,
};

/// How many semaphores one request may ask for.
const MOST: usize = 100;

const EXAMPLE: &str = "?semaphore=A&semaphore=B";

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it only describes")]
pub(super) struct HistoryParams {
    /// Which semaphores: up to a hundred.
    #[param(max_items = 100, example = json!(["A"]))]
    semaphore: Option<Vec<String>>,
}

/// Shows how much of semaphores was acquired and pending lately, and how often they were granted.
#[utoipa::path(
    get,
    path = "/v1/history",
    operation_id = "get_history",
    tag = documented::SEMAPHORES,
    params(HistoryParams),
    responses((status = 200, body = Histories, description = "The samples."), documented::GetHistory)
)]
pub(in crate::http) async fn history(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    request: Request,
) -> Answer {
    let (parts, _) = request.into_parts();
    let query: Vec<(String, String)> = extract::query(&parts, EXAMPLE)?;
    if let Some((name, _)) = query.iter().find(|(name, _)| name != "semaphore") {
        let sentence = format!("There is no query parameter {name:?} here. Expected: {EXAMPLE}");
        return Err(Refusal::Invalid(sentence).into());
    }
    if query.len() > MOST {
        let sentence = format!("{} semaphores are asked for; at most {MOST} are shown at once.", query.len());
        return Err(Refusal::Invalid(sentence).into());
    }
    query.iter().try_for_each(|(_, semaphore)| caller.check(Right::Read, semaphore))?;
    let seen = app.history.of(query.iter().map(|(_, semaphore)| &**semaphore));
    let items = query.into_iter().zip(seen.samples).map(|((_, semaphore), samples)| History {
        semaphore,
        acquired: samples.iter().map(|sample| sample.acquired).collect(),
        pending: samples.iter().map(|sample| sample.pending).collect(),
        grants: samples.iter().map(|sample| sample.grants).collect(),
    });
    let body = Histories {
        step: Span(app.history.step()),
        at: convert::stamp(app.engine.wall().at(seen.at)),
        items: items.collect(),
    };
    Ok(Json(body).into_response())
}
