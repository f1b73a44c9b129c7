//! The one place that every answer goes through: it leaves when all that it tells is safe.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::Request,
    http::{
        HeaderValue, StatusCode,
        header::{RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use throttle_api::Code;
use throttle_node::Condition;
use tokio::{task::yield_now, time::sleep};

use super::{
    app::App,
    origin::{self, SEC_FETCH_SITE},
    refusal::{BEHIND, Refusal, TellsNothing},
    routes::{Found, Route, Waits, Weight},
    v0_2::{text, try_again},
    v1::Problem,
};
use crate::{
    audit::{self, Answered, Audit, Subjects},
    dialect::Dialect,
    http::v1::PAGE_BYTES,
    net::ClientAddress,
    runtime::NotSafe,
    security::{Asker, Caller, Excess, Guard, Right, Unauthenticated},
};

/// The pause before whoever asks too often is told so: on one connection he cannot ask more often than that.
const TOO_OFTEN_PAUSE: Duration = Duration::from_millis(10);
/// The pause between two answers that may be long.
const PAUSE: Duration = Duration::from_millis(1);

/// What an answer waits for, by the word of its handler.
#[derive(Clone, Copy)]
struct Until(Condition);

/// Marks an answer to wait for what its command says, and for no more, if its route allows that.
pub(super) fn after(app: &App, condition: Condition, mut response: Response) -> Response {
    // Without a journal nothing waits, so nothing need be said.
    if app.engine.is_durable() {
        response.extensions_mut().insert(Until(condition));
    }
    response
}

/// Runs the handler of a request, and holds the answer back until all that it read and changed is safe.
pub(super) async fn answer(app: &Arc<App>, found: Found, mut request: Box<Request>) -> Response {
    if let Some(refusal) = origin::refusal(&request, &app.hosts) {
        return refusal;
    }
    if app.guard.counts_addresses()
        && let Some(refusal) = too_often_from_there(app, found, &request)
    {
        sleep(TOO_OFTEN_PAUSE).await;
        return refusal;
    }
    if let (Some(audit), Some(route)) = (&app.audit, found.route) {
        // In a box, so that other requests need no room for it.
        return Box::pin(audited(app, audit, found, route, request)).await;
    }
    match admit(&app.guard, found, &mut request).await {
        Ok(_) => run(app, found, request).await,
        Err(denied) => denied.answer,
    }
}

/// The same, with a line in the audit log.
async fn audited(
    app: &Arc<App>,
    audit: &Audit,
    found: Found,
    route: &Route,
    mut request: Box<Request>,
) -> Response {
    let address = request.extensions().get().map(|ClientAddress(address)| *address);
    let (caller, (response, subjects)) = match admit(&app.guard, found, &mut request).await {
        Ok(caller) => (caller, audit::observed(run(app, found, request)).await),
        Err(denied) => {
            let Denied { caller, answer } = *denied;
            (Asker::Known(caller), (answer, Subjects::default()))
        }
    };
    audit.tell(Answered {
        identity: caller.identity(),
        is_operator: caller.rights().has(Right::Operate),
        address,
        operation: route.operation,
        right: route.right,
        subjects: &subjects,
        status: response.status().as_u16(),
        code: response.extensions().get().copied(),
    });
    response
}

/// Runs the handler of a request whose sender may ask for it.
async fn run(app: &Arc<App>, found: Found, request: Box<Request>) -> Response {
    let (waits, weight) =
        found.route.map_or((Waits::Committed, Weight::Light), |route| (route.waits, route.weight));
    if weight == Weight::Long {
        // In a box, so that other requests need no room for it.
        return Box::pin(long_answer(app, found, waits, request)).await;
    }
    if !app.engine.is_durable() {
        return found.answer(app.clone(), request).await;
    }
    if weight == Weight::Heavy && app.engine.is_behind() {
        return refusal(found.dialect, BEHIND);
    }
    let response = found.answer(app.clone(), request).await;
    leave(app, found, waits, response).await
}

/// Whoever may not ask for a route, as far as he is known, and what he is told.
pub(super) struct Denied {
    caller: Arc<Caller>,
    pub(super) answer: Response,
}

/// Who sends a request, if he may ask for its route at all; the handler finds him with the request. Where there is no
/// route, anybody may learn that.
pub(super) async fn admit(guard: &Guard, found: Found, request: &mut Request) -> Result<Asker, Box<Denied>> {
    if guard.is_open() {
        return Ok(Asker::Anybody);
    }
    let Some(route) = found.route.filter(|route| route.right != Right::None) else {
        return Ok(Asker::Known(Caller::nobody()));
    };
    let caller = match guard.caller(request.headers(), request.extensions().get()).await {
        Ok(caller) => caller,
        Err(Unauthenticated) if guard.is_public(route.path) => Caller::public(),
        Err(Unauthenticated) => {
            let answer = unauthenticated(found.dialect, request);
            return Err(Denied { caller: Caller::nobody(), answer }.into());
        }
    };
    if let Err((wait, rate)) = guard.count(&caller) {
        let sentence = format!("One identity may send {rate}; these are more. Try again later.");
        let answer = too_often(found.dialect, sentence, wait, Excess::Rate);
        sleep(TOO_OFTEN_PAUSE).await;
        return Err(Denied { caller, answer }.into());
    }
    if let Err(forbidden) = caller.check_any(route.right) {
        let answer = if found.dialect == Dialect::V1 {
            Problem::from(forbidden).into_response()
        } else {
            Refusal::from(forbidden).into_response()
        };
        return Err(Denied { caller, answer }.into());
    }
    request.extensions_mut().insert(caller.clone());
    Ok(Asker::Known(caller))
}

/// Refuses a request from an address that sends too many. Probes are always answered.
fn too_often_from_there(app: &App, found: Found, request: &Request) -> Option<Response> {
    let address = request.extensions().get().map(|ClientAddress(address)| *address);
    let is_probe = found.route.is_some_and(Route::is_probe);
    let (wait, rate) = app.guard.count_from(address.filter(|_| !is_probe)).err()?;
    let sentence = format!("One address may send {rate}; these are more. Try again later.");
    Some(too_often(found.dialect, sentence, wait, Excess::AddressRate))
}

/// The old clients try again after a 503; a 429 would be fatal to them.
fn too_often(dialect: Dialect, sentence: String, wait: Duration, excess: Excess) -> Response {
    let mut response = if dialect == Dialect::V1 {
        Problem::limit(sentence, Some(excess)).into_response()
    } else {
        let mut response = try_again(sentence);
        response.extensions_mut().insert(excess);
        response
    };
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    response.headers_mut().insert(RETRY_AFTER, seconds.into());
    response
}

const BEARER: &str = "Bearer realm=\"throttle\"";
const BEARER_OR_BASIC: &str = "Bearer realm=\"throttle\", Basic realm=\"throttle\"";

/// Nothing tells a token that has expired from one that never was.
fn unauthenticated(dialect: Dialect, request: &Request) -> Response {
    const SENTENCE: &str = "The request shows no token that is known here. Send one in the header Authorization, as \
                            Bearer or as the password of Basic.";
    let mut response = if dialect == Dialect::V1 {
        Problem::new(Code::Unauthenticated, SENTENCE).into_response()
    } else {
        text(StatusCode::UNAUTHORIZED, SENTENCE)
    };
    // A browser would ask its user in a window of its own; the dashboard asks on its page.
    let is_browser = request.headers().contains_key(SEC_FETCH_SITE);
    let schemes = if is_browser { BEARER } else { BEARER_OR_BASIC };
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(schemes));
    response
}

/// The same for an answer that may be long: one is made at a time, and only if there is room for it.
async fn long_answer(app: &Arc<App>, found: Found, waits: Waits, request: Box<Request>) -> Response {
    let Ok(place) = app.long_answers_waiting.try_acquire() else {
        return refusal(found.dialect, "Too many ask for answers that may be long. Try again soon.");
    };
    let turn = app.long_answers.acquire().await;
    drop(place);
    if !app.buffers.has_room(PAGE_BYTES) {
        return refusal(
            found.dialect,
            "Too much is on its way to others for an answer that may be long. Try again soon.",
        );
    }
    let response = found.answer(app.clone(), request).await;
    // With a single thread, nobody else could ask meanwhile.
    yield_now().await;
    if app.long_answers_waiting.available_permits() < app.long_answers_max {
        // Those who want something else have their turn before the next one: the engine is for whoever is quickest.
        sleep(PAUSE).await;
    }
    drop(turn);
    leave(app, found, waits, response).await
}

/// Holds an answer back until all that it tells is safe.
async fn leave(app: &App, found: Found, waits: Waits, response: Response) -> Response {
    if !app.engine.is_durable() || response.extensions().get::<TellsNothing>().is_some() {
        return response;
    }
    let flushed = match (waits, response.extensions().get()) {
        (Waits::Now, _) => Ok(()),
        (Waits::Confirmed, Some(&Until(condition))) => app.engine.condition(condition).await,
        // A refusal tells of something, too: that a peer is gone must not be taken back.
        (Waits::Confirmed, None) | (Waits::Committed, _) => app.engine.settled().await,
    };
    match flushed {
        Ok(()) => response,
        Err(NotSafe::Failed(failed)) if !failed.is_superseded => refusal(
            found.dialect,
            "The journal cannot be written, so the server stops. Whether the request had an effect shows once it is \
             started again.",
        ),
        Err(NotSafe::Failed(_) | NotSafe::Deposed) => refusal(
            found.dialect,
            "Another server leads by now. Whether the request had an effect, it knows: ask again.",
        ),
        Err(NotSafe::Late) => refusal(
            found.dialect,
            "The cluster cannot promise anything now: etcd does not answer, or takes no more. Whether the request had \
             an effect shows later: ask again. GET /v1/cluster says more.",
        ),
    }
}

/// The answer while the server recovers what it knew.
pub(super) fn not_ready(found: Found) -> Response {
    const SENTENCE: &str = "The server is not ready yet: it reads its journal. Try again soon.";
    match found.route.map(|route| route.operation) {
        Some("livez") => text(StatusCode::OK, "Ok"),
        Some("readyz") => refusal(Dialect::V1, SENTENCE),
        _ => refusal(found.dialect, SENTENCE),
    }
}

pub(super) fn refusal(dialect: Dialect, sentence: &'static str) -> Response {
    if dialect == Dialect::V1 {
        return Problem::new(Code::Unavailable, sentence).into_response();
    }
    try_again(sentence)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use axum::body::Body;

    use super::{super::routes::find, *};
    use crate::{config::Config, serve::in_memory};

    #[tokio::test]
    async fn others_have_their_turn_between_answers_that_may_be_long() {
        let (_, app) = in_memory(Config::default()).unwrap();
        let answered = RefCell::new(Vec::new());
        let ask = async |path: &'static str| {
            let request = Box::new(Request::get(path).body(Body::empty()).unwrap());
            let response = answer(&app, find(request.method(), path), request).await;
            assert_eq!(response.status(), StatusCode::OK);
            answered.borrow_mut().push(path);
        };
        // On one thread, in this order.
        tokio::join!(ask("/v1/peers"), ask("/v1/semaphores"), ask("/v1/permissions"));
        assert_eq!(answered.into_inner(), ["/v1/permissions", "/v1/peers", "/v1/semaphores"]);
    }
}
