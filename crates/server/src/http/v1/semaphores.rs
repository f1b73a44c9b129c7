//! Semaphores: looked at, made, changed, removed; and whether a token is live.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::{Request, State},
    http::{Method, StatusCode, request::Parts},
    response::IntoResponse as _,
};
use throttle_api::{
    ChangeBody, Code, Holder, NewRate, Page, RateText, Semaphore, SemaphoreBody, SemaphoreDetail, Whole,
    query,
};
use throttle_core::{Origin, RemoveError, Spec, Token, UnknownSemaphore};

use super::{
    convert::{self, Part},
    documented,
    page::{self, PAGE, cursor_after, name_before, no_cursor, page_length},
    problem::{Answer, Problem},
    read::{self, contains},
};
use crate::{
    config::{PER, is_dot_segment},
    http::{
        App,
        extract::{self, PathOf, Who},
        refusal::Refusal,
    },
    security::{Caller, Right},
    spec::Change,
};

/// The longest name of a semaphore that a request makes, in characters.
const NAME_LENGTH: usize = 255;

const PUT: &str = r#"{"max": 42, "level": 0, "per": "1s", "deadlock": "hierarchy", "order": "strict"}"#;
const PATCH: &str = r#"{"max": 42}"#;

/// Lists semaphores by name, page by page.
#[utoipa::path(
    get,
    path = "/v1/semaphores",
    operation_id = "list_semaphores",
    tag = documented::SEMAPHORES,
    params(query::ListSemaphores),
    responses(
        (status = 200, body = Page<Semaphore>, description = "A page of semaphores."),
        documented::ListSemaphores
    )
)]
pub(in crate::http) async fn list(State(app): State<Arc<App>>, Who(caller): Who, request: Request) -> Answer {
    let (parts, _) = request.into_parts();
    let query: query::ListSemaphores = extract::query(&parts, "?limit=100&search=tenant/&cursor=41")?;
    let limit = page_length(query.limit)?;
    let after = query.cursor.as_deref().map(name_before).transpose()?;
    if parts.method == Method::HEAD {
        return Ok(page::head());
    }
    let search = query.search.unwrap_or_default();
    let page = app.engine.semaphore_page(after.map(Into::into), limit, |semaphore| {
        let is_shown = contains(semaphore.name(), &search) && caller.may(Right::Read, semaphore.name());
        is_shown.then(|| convert::semaphore(semaphore))
    });
    let next = |written: usize| {
        let is_cut = written < page.items.len();
        let last = page.items.get(..written).and_then(<[_]>::last).filter(|_| is_cut);
        last.map(|last| &*last.name).or(page.next.as_deref()).map(cursor_after)
    };
    Ok(page::written(page.items.iter(), next))
}

/// Shows a semaphore, who holds it, and who waits for it in their order.
///
/// A member of a pattern is there for as long as it is used; before and after that, this shows what it would be.
#[utoipa::path(
    get,
    path = "/v1/semaphores/{semaphore}",
    operation_id = "get_semaphore",
    tag = documented::SEMAPHORES,
    params(documented::SemaphorePath, query::GetSemaphore),
    responses((status = 200, body = SemaphoreDetail, description = "The semaphore."), documented::GetSemaphore)
)]
pub(in crate::http) async fn get(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    path: PathOf<String>,
    request: Request,
) -> Answer {
    let (parts, _) = request.into_parts();
    let name = extract::path(path)?;
    let query::GetSemaphore { limit, holders_cursor, queue_cursor } =
        extract::query(&parts, "?limit=100&holders_cursor=41&queue_cursor=64")?;
    show(&app, &caller, &name, part(limit, holders_cursor.as_deref(), queue_cursor.as_deref())?)
}

/// Which part of a semaphore a request asks for.
pub(super) fn part(
    limit: Option<usize>,
    holders_cursor: Option<&str>,
    queue_cursor: Option<&str>,
) -> Result<Part, Refusal> {
    let number = |cursor| u64::from_str_radix(cursor, 16).map_err(|_| no_cursor(cursor));
    let place = queue_cursor.map_or(Ok(0), number)?;
    Ok(Part {
        limit: page_length(limit)?,
        after_lock: holders_cursor.map(number).transpose()?,
        after_place: usize::try_from(place).unwrap_or(usize::MAX),
    })
}

/// The answer to a look at a semaphore.
pub(super) fn show(app: &App, caller: &Caller, name: &str, part: Part) -> Answer {
    caller.check(Right::Read, name)?;
    let seen = app.engine.semaphore(
        name,
        |semaphore, wall| convert::detail(semaphore, wall, part, caller),
        |spec| convert::unused_detail(name, spec),
    );
    let seen = seen.map_err(|error| Problem::explained(&app.engine, caller, None, error))?;
    Ok(Json(seen.fitted()).into_response())
}

/// Makes a semaphore, or replaces what it is declared to be. What the body leaves out has its default.
///
/// Growing wakes those who wait; after shrinking, those who hold it finish. The later word wins: a reload of
/// the configuration file changes only what differs from the file as last read.
#[utoipa::path(
    put,
    path = "/v1/semaphores/{semaphore}",
    operation_id = "set_semaphore",
    tag = documented::SEMAPHORES,
    params(documented::NewSemaphorePath),
    request_body = SemaphoreBody,
    responses(
        (status = 200, body = SemaphoreDetail, description = "It is replaced."),
        (status = 201, body = SemaphoreDetail, description = "It is made."),
        documented::SetSemaphore
    )
)]
pub(in crate::http) async fn set(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    path: PathOf<String>,
    request: Request,
) -> Answer {
    let (parts, body) = request.into_parts();
    let body = declaration(&app, &parts, body).await?;
    declare(&app, &caller, &extract::path(path)?, body)
}

/// Reads a declaration of a semaphore.
pub(super) async fn declaration(app: &App, parts: &Parts, body: Body) -> Result<SemaphoreBody, Refusal> {
    Ok(read::body(app, &parts.headers, body, PUT).await?.0)
}

/// The answer to a declaration of a semaphore.
pub(super) fn declare(app: &App, caller: &Caller, name: &str, body: SemaphoreBody) -> Answer {
    caller.check(Right::Operate, name)?;
    let SemaphoreBody { max: Whole(max), level: Whole(level), per, deadlock, order } = body;
    let spec = Spec {
        max: checked_max(max)?,
        level,
        per: per.map(|per| rate(&per)).transpose()?,
        deadlock: convert::asked_deadlock(deadlock),
        order: convert::asked_order(order),
        origin: Origin::Runtime,
    };
    check_name(name)?;
    let set = app.engine.set_semaphore(name, spec, caller.identity(), |semaphore, wall| {
        convert::detail(semaphore, wall, Part::first(PAGE), caller)
    });
    let (before, seen) = set.map_err(|error| Problem::explained(&app.engine, caller, None, error))?;
    let status = if before.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    if let Some(before) = before {
        log_change(name, before, spec);
    } else {
        tracing::info!(semaphore = name, max, level, "Semaphore made by a request.");
    }
    Ok((status, Json(seen.fitted())).into_response())
}

/// Changes a semaphore: resizes it, pauses it with `max` 0, gives it a rate.
#[utoipa::path(
    patch,
    path = "/v1/semaphores/{semaphore}",
    operation_id = "change_semaphore",
    tag = documented::SEMAPHORES,
    params(documented::SemaphorePath),
    request_body = ChangeBody,
    responses((status = 200, body = SemaphoreDetail, description = "It is changed."), documented::ChangeSemaphore)
)]
pub(in crate::http) async fn change(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    path: PathOf<String>,
    request: Request,
) -> Answer {
    let (parts, body) = request.into_parts();
    let body = change_of(&app, &parts, body).await?;
    alter(&app, &caller, &extract::path(path)?, body)
}

/// Reads a change of a semaphore.
pub(super) async fn change_of(app: &App, parts: &Parts, body: Body) -> Result<ChangeBody, Refusal> {
    Ok(read::body(app, &parts.headers, body, PATCH).await?.0)
}

/// The answer to a change of a semaphore.
pub(super) fn alter(app: &App, caller: &Caller, name: &str, body: ChangeBody) -> Answer {
    caller.check(Right::Operate, name)?;
    let ChangeBody { max, level, per, deadlock, order } = body;
    let max = max.map(|Whole(max)| checked_max(max)).transpose()?;
    let per = per.map(|NewRate(per)| per.map(|per| rate(&per)).transpose()).transpose()?;
    let is_change =
        max.is_some() || level.is_some() || per.is_some() || deadlock.is_some() || order.is_some();
    let change = |spec: Spec| Spec {
        max: max.unwrap_or(spec.max),
        level: level.map_or(spec.level, |Whole(level)| level),
        per: per.unwrap_or(spec.per),
        deadlock: deadlock.map_or(spec.deadlock, convert::asked_deadlock),
        order: order.map_or(spec.order, convert::asked_order),
        origin: if is_change { Origin::Runtime } else { spec.origin },
    };
    let changed = app.engine.change_semaphore(name, change, caller.identity(), |semaphore, wall| {
        convert::detail(semaphore, wall, Part::first(PAGE), caller)
    });
    let (before, seen) = changed.map_err(|error| Problem::explained(&app.engine, caller, None, error))?;
    if is_change {
        log_change(name, before, change(before));
    }
    Ok(Json(seen.fitted()).into_response())
}

fn log_change(name: &str, before: Spec, after: Spec) {
    let Spec { max, level, .. } = after;
    let change = Change { before, after };
    tracing::info!(semaphore = name, max, level, %change, "Semaphore changed by a request.");
}

fn checked_max(max: i64) -> Result<i64, Refusal> {
    if max >= 0 {
        return Ok(max);
    }
    let sentence =
        format!("max is {max}. Expected a full count from 0, which pauses the semaphore, to {}.", i64::MAX);
    Err(Refusal::Invalid(sentence))
}

fn rate(RateText(text): &RateText) -> Result<Duration, Refusal> {
    extract::duration_within("per", text, PER)
}

fn check_name(name: &str) -> Result<(), Refusal> {
    if name.contains('*') {
        return Err(Refusal::Invalid(format!(
            "{name:?} is a pattern, as it contains \"*\". Patterns are declared in the configuration file."
        )));
    }
    if is_dot_segment(name) {
        let sentence = format!("No semaphore can be called {name:?}, as it could not stand in a URL.");
        return Err(Refusal::Invalid(sentence));
    }
    let length = name.chars().count();
    if length > NAME_LENGTH {
        let sentence = format!("The name has {length} characters; a semaphore's has at most {NAME_LENGTH}.");
        return Err(Refusal::Invalid(sentence));
    }
    Ok(())
}

/// Removes a semaphore.
#[utoipa::path(
    delete,
    path = "/v1/semaphores/{semaphore}",
    operation_id = "remove_semaphore",
    tag = documented::SEMAPHORES,
    params(documented::SemaphorePath, query::RemoveSemaphore),
    responses((status = 204, description = "It is removed."), documented::RemoveSemaphore)
)]
pub(in crate::http) async fn remove(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    path: PathOf<String>,
    request: Request,
) -> Answer {
    let (parts, _) = request.into_parts();
    let name = extract::path(path)?;
    let query::RemoveSemaphore { force } = extract::query(&parts, "?force=true")?;
    discard(&app, &caller, &name, force).await
}

/// The answer to the removal of a semaphore.
pub(super) async fn discard(app: &App, caller: &Caller, name: &str, force: bool) -> Answer {
    caller.check(Right::Operate, name)?;
    match app.engine.remove_semaphore(name, force, caller.identity()).await {
        Ok(()) => {
            tracing::info!(semaphore = name, force, "Semaphore removed by a request.");
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Err(RemoveError::UnknownSemaphore(name)) => {
            Err(Problem::explained(&app.engine, caller, None, UnknownSemaphore(name)))
        }
        Err(RemoveError::InUse(in_use)) => Err(Problem::new(
            Code::InUse,
            format!(
                "Semaphore {name:?} is {in_use}. Wait until they are gone, or add force=true to the query to release \
                 those locks and withdraw those requests."
            ),
        )),
    }
}

/// Tells whether a fencing token is live: 200 while its grant is, 410 after that.
///
/// Where `max` is 1, a resource protects itself by the highest token that it has seen. Where it is above 1, it
/// asks here.
#[utoipa::path(
    get,
    path = "/v1/semaphores/{semaphore}/tokens/{token}",
    operation_id = "check_token",
    tag = documented::SEMAPHORES,
    params(documented::SemaphorePath, documented::TokenPath),
    responses((status = 200, body = Holder, description = "It is live; who holds it."), documented::CheckToken)
)]
pub(in crate::http) async fn token(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    path: PathOf<(String, String)>,
) -> Answer {
    let (name, token) = extract::path(path)?;
    verify(&app, &caller, &name, &token)
}

/// The answer to the question whether a token is live.
pub(super) fn verify(app: &App, caller: &Caller, name: &str, token: &str) -> Answer {
    caller.check(Right::Read, name)?;
    // A number beyond 64 bits was never given, as is true of others.
    let number = read::digits(token, "a fencing token")?;
    let live = app.engine.holder(name, Token(number.unwrap_or(u64::MAX)), |holder, wall| {
        convert::holder(holder, wall, caller)
    });
    if let Some(holder) = live.map_err(|error| Problem::explained(&app.engine, caller, None, error))? {
        return Ok(Json(holder).into_response());
    }
    let ending = number.and_then(|number| app.engine.token_ending(Token(number)));
    Err(Problem::token_gone(name, token, ending.as_ref()))
}
