//! How busy semaphores were lately.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    response::IntoResponse as _,
};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    documented,
    problem::Answer,
    shapes::{Span, Stamp},
};
use crate::http::{App, extract, refusal::Refusal};

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

/// What some semaphores were like lately.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Histories)]
pub(super) struct HistoriesBody {
    /// The time between two samples.
    step: Span,
    /// When the last samples were taken.
    at: Stamp,
    /// One for each semaphore of the request, in its order.
    items: Vec<HistoryBody>,
}

/// What a semaphore was like lately: up to sixty samples, the oldest first. What is not known is zero.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = History)]
pub(super) struct HistoryBody {
    #[schema(example = "A")]
    semaphore: String,
    /// The count that was held.
    #[schema(max_items = 60, example = json!([0, 3, 5]))]
    acquired: Vec<i64>,
    /// The count that waited.
    #[schema(max_items = 60, example = json!([0, 0, 2]))]
    pending: Vec<i64>,
}

/// Shows how much of semaphores was acquired and pending lately.
#[utoipa::path(
    get,
    path = "/v1/history",
    operation_id = "get_history",
    tag = documented::SEMAPHORES,
    params(HistoryParams),
    responses((status = 200, body = HistoriesBody, description = "The samples."), documented::GetHistory)
)]
pub(in crate::http) async fn history(State(app): State<Arc<App>>, request: Request) -> Answer {
    let (mut parts, _) = request.into_parts();
    let query: Vec<(String, String)> = extract::query(&mut parts, EXAMPLE).await?;
    if let Some((name, _)) = query.iter().find(|(name, _)| name != "semaphore") {
        let sentence = format!("There is no query parameter {name:?} here. Expected: {EXAMPLE}");
        return Err(Refusal::Invalid(sentence).into());
    }
    if query.len() > MOST {
        let sentence = format!("{} semaphores are asked for; at most {MOST} are shown at once.", query.len());
        return Err(Refusal::Invalid(sentence).into());
    }
    let seen = app.history.of(query.iter().map(|(_, semaphore)| &**semaphore));
    let items = query.into_iter().zip(seen.samples).map(|((_, semaphore), samples)| HistoryBody {
        semaphore,
        acquired: samples.iter().map(|sample| sample.acquired).collect(),
        pending: samples.iter().map(|sample| sample.pending).collect(),
    });
    let body = HistoriesBody {
        step: Span(app.history.step()),
        at: Stamp(app.engine.wall().at(seen.at)),
        items: items.collect(),
    };
    Ok(Json(body).into_response())
}
