//! What happens, as server-sent events.

use std::{collections::BTreeSet, convert::Infallible, io::Write as _, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue,
        header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName},
    },
    response::{IntoResponse as _, Response},
};
use futures_util::{Stream, stream};
use serde::Serialize;
use throttle_api::{Code, Event, Notice};
use throttle_node::{Beginning, EventKind, LoggedEvent, Missed, Page};
use tokio::time::{Instant, timeout_at};
use utoipa::IntoParams;

use super::{
    convert, documented,
    problem::{Answer, Problem},
};
use crate::{
    http::{
        App,
        extract::{self, Who},
        refusal::Refusal,
    },
    runtime::{News, SubscribeError, Subscription},
    security::{Asker, Caller, Pass, Right},
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A frame of the body is sent when it has so many bytes. An event is never cut.
const FRAME: usize = 16 * 1024;

const EXAMPLE: &str = "?semaphore=A&semaphore=B&kind=granted,released, or nothing at all";

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it only describes")]
pub(super) struct EventsParams {
    /// Only events of these semaphores. May be there many times.
    #[param(example = json!(["A"]))]
    semaphore: Option<Vec<String>>,
    /// Only events of these kinds. May be there many times, and each may be a list with commas.
    #[param(example = json!(["granted"]))]
    kind: Option<Vec<String>>,
}

/// Tells what happens, as it happens, by server-sent events.
///
/// The field `event` is the kind, `data` an Event, and `id` what `Last-Event-ID` takes to go on after it. Two
/// notices may come too, whose data is a Notice: `missed` first, if events after `Last-Event-ID` are not to be had
/// any more, and `dropped` last, if the reader is too slow.
#[utoipa::path(
    get,
    path = "/v1/events",
    operation_id = "read_events",
    tag = documented::SERVER,
    params(
        EventsParams,
        ("Last-Event-ID" = Option<String>, Header, description = "Goes on after the event of this id.")
    ),
    responses(
        (status = 200, body = Event, content_type = "text/event-stream", description = "A stream without an end."),
        documented::ReadEvents
    )
)]
pub(in crate::http) async fn events(
    State(app): State<Arc<App>>,
    Who(caller): Who,
    request: Request,
) -> Answer {
    let (parts, _) = request.into_parts();
    let filter = Filter::of(extract::query(&parts, EXAMPLE)?)?;
    let (beginning, is_foreign) = beginning(&app, &parts.headers);
    let (subscription, missed) = app.engine.subscribe(beginning).map_err(|error| match error {
        SubscribeError::TooMany { .. } => Refusal::Limit { sentence: error.to_string(), excess: None }.into(),
        SubscribeError::Draining => {
            Problem::new(Code::Unavailable, "The server is about to stop. Connect again in a second.")
        }
    })?;
    let missed = missed.or(is_foreign.then_some(Missed::Unknown));
    let reader = Reader::new(app, caller, subscription, filter, missed);
    let frames = stream::unfold(reader, async |mut reader| {
        let frame = reader.frame().await?;
        Some((Ok::<_, Infallible>(frame), reader))
    });
    Ok(stream_of(frames))
}

/// An answer of server-sent events.
pub(super) fn stream_of(frames: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // A client takes the end of the stream for what it is only when the connection ends with it.
        (CONNECTION, HeaderValue::from_static("close")),
        // Else nginx holds events back until it has many.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, Body::from_stream(frames)).into_response()
}

/// Where the client left off, and whether that is no place in this run of the server.
fn beginning(app: &App, headers: &HeaderMap) -> (Beginning, bool) {
    let Some(id) = headers.get(LAST_EVENT_ID).filter(|id| !id.is_empty()) else {
        return (Beginning::Now, false);
    };
    let number = id.to_str().ok().zip(app.instance.to_str().ok()).and_then(|(id, instance)| {
        let digits = id.strip_prefix(instance)?.strip_prefix('-')?;
        digits.parse().ok()
    });
    number.map_or((Beginning::Oldest, true), |number| (Beginning::After(number), false))
}

/// Which events a client wants; all, where it names none.
struct Filter {
    kinds: Vec<EventKind>,
    semaphores: BTreeSet<String>,
}

impl Filter {
    fn of(query: Vec<(String, String)>) -> Result<Self, Refusal> {
        let mut filter = Self { kinds: Vec::new(), semaphores: BTreeSet::new() };
        for (name, value) in query {
            match &*name {
                // Not a list with commas: those may be part of a name.
                "semaphore" => {
                    filter.semaphores.insert(value);
                }
                "kind" => {
                    for kind in value.split(',') {
                        filter.kinds.push(kind_of(kind)?);
                    }
                }
                _ => {
                    let sentence = format!("There is no query parameter {name:?} here. Expected: {EXAMPLE}");
                    return Err(Refusal::Invalid(sentence));
                }
            }
        }
        Ok(filter)
    }

    /// Whether it lets every event pass.
    fn is_open(&self) -> bool {
        self.kinds.is_empty() && self.semaphores.is_empty()
    }

    /// The event as the client gets it, if it wants it.
    fn pass(&self, logged: &LoggedEvent) -> Option<Event> {
        if !self.kinds.is_empty() && !self.kinds.contains(&logged.kind) {
            return None;
        }
        let is_wanted = || {
            convert::subjects(&logged.event).0.is_some_and(|semaphore| self.semaphores.contains(&**semaphore))
        };
        (self.semaphores.is_empty() || is_wanted()).then(|| convert::event(logged))
    }
}

/// Whether a caller is shown everything that happens.
pub(super) fn sees_all(caller: &Caller) -> bool {
    caller.may_all(Right::Read) && caller.may_all(Right::Operate)
}

/// An event as a caller may see it: what happens on semaphores that he may look at, and to his own peers. The id of a
/// peer of another, and who acted on it, is for operators only.
pub(super) fn seen_by(app: &App, caller: &Caller, logged: &LoggedEvent, event: Event) -> Option<Event> {
    if sees_all(caller) {
        return Some(event);
    }
    let (semaphore, peer) = convert::subjects(&logged.event);
    let is_own = peer.is_some_and(|peer| app.engine.is_for(peer.by(caller.by())));
    let may_read = semaphore.map_or(caller.may_all(Right::Read), |name| caller.may(Right::Read, name));
    if !is_own && !may_read {
        return None;
    }
    let is_over = semaphore.is_some_and(|name| caller.may(Right::Operate, name));
    Some(if is_own || is_over { event } else { Event { peer: None, by: None, ..event } })
}

fn kind_of(name: &str) -> Result<EventKind, Refusal> {
    EventKind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
        let known = EventKind::ALL.map(EventKind::name).join(", ");
        Refusal::Invalid(format!("{name:?} is no kind of event. Known kinds: {known}."))
    })
}

/// The body of an answer.
struct Reader {
    app: Arc<App>,
    caller: Asker,
    pass: Pass,
    subscription: Subscription,
    filter: Filter,
    /// What is sent before any event.
    greeting: Option<Vec<u8>>,
    /// What is taken from the subscription and not yet written: these events, from this number on.
    unwritten: Option<(Page, u64)>,
    /// When something is to be sent even if nothing happens.
    due: Instant,
    /// Whether the last word is said.
    is_over: bool,
}

impl Reader {
    fn new(
        app: Arc<App>,
        caller: Asker,
        subscription: Subscription,
        filter: Filter,
        missed: Option<Missed>,
    ) -> Self {
        let mut greeting = b"retry: 1000\n".to_vec();
        id(&mut greeting, &app, subscription.position().wrapping_sub(1));
        if let Some(missed) = missed {
            block(&mut greeting, "missed", &notice_of(missed));
        } else {
            greeting.push(b'\n');
        }
        let due = Instant::now() + app.event_keep_alive;
        let pass = app.guard.pass(&caller);
        Self {
            app,
            caller,
            pass,
            subscription,
            filter,
            greeting: Some(greeting),
            unwritten: None,
            due,
            is_over: false,
        }
    }

    /// The next part of the body. Serialises outside the engine's lock, and only what the connection has room for.
    async fn frame(&mut self) -> Option<Bytes> {
        loop {
            if !self.app.guard.is_good(self.pass) {
                return None;
            }
            let frame = if let Some(greeting) = self.greeting.take() {
                greeting.into()
            } else if let Some((page, from)) = self.unwritten.take() {
                self.write(page, from)
            } else {
                self.wait().await?
            };
            if !frame.is_empty() {
                self.due = Instant::now() + self.app.event_keep_alive;
                return Some(frame);
            }
        }
    }

    /// Waits for events to write. Returns what is said beside them, which may be nothing.
    async fn wait(&mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        let mut notice = Vec::new();
        match timeout_at(self.due, self.subscription.next()).await {
            Ok(Some(News::Events(page, from))) => self.unwritten = Some((page, from)),
            Ok(Some(News::Dropped(missed))) => {
                self.is_over = true;
                self.app.metrics.event_streams_dropped.inc();
                block(&mut notice, "dropped", &too_slow(missed));
            }
            Ok(None) => return None,
            Err(_) => {
                // With the place, so that a reader to whom nothing of interest happened can resume as well.
                notice.extend_from_slice(b": nothing new\n");
                id(&mut notice, &self.app, self.subscription.position().wrapping_sub(1));
                notice.push(b'\n');
            }
        }
        Some(notice.into())
    }

    /// As many events as make a frame. Whoever wants all events gets what others got who read the same.
    fn write(&mut self, page: Page, from: u64) -> Bytes {
        let make = || self.encode(&page, from);
        let (frame, next) = if self.filter.is_open() && sees_all(&self.caller) {
            self.app.frames.get(from, page.end(), make)
        } else {
            make()
        };
        self.unwritten = next.map(|next| (page, next));
        frame
    }

    /// Events from `from` on, and the number of the first for which there was no room.
    fn encode(&self, page: &Page, from: u64) -> (Bytes, Option<u64>) {
        let mut frame = Vec::new();
        for (number, logged) in page.from(from) {
            if frame.len() >= FRAME {
                return (frame.into(), Some(number));
            }
            let wanted = self.filter.pass(logged);
            if let Some(event) = wanted.and_then(|event| seen_by(&self.app, &self.caller, logged, event)) {
                id(&mut frame, &self.app, number);
                block(&mut frame, logged.kind.name(), &event);
            }
        }
        (frame.into(), None)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Some clients stop to read for good, so that no notice reaches them.
        if !self.is_over && self.subscription.is_behind() {
            self.app.metrics.event_streams_dropped.inc();
        }
    }
}

/// What a reader is told that cannot go on where it left off.
fn notice_of(missed: Missed) -> Notice {
    match missed {
        Missed::Events(missed) => Notice {
            reason: "too_old".into(),
            missed: Some(missed),
            detail:
                "Events after Last-Event-ID are no longer kept; what follows begins with the oldest that is. \
                         Read the state anew."
                    .into(),
        },
        Missed::Unknown => Notice {
            reason: "unknown_id".into(),
            missed: None,
            detail:
                "Last-Event-ID is of another run of the server; what follows begins with the oldest event of \
                         this one that is kept. Read the state anew."
                    .into(),
        },
    }
}

/// What a reader is told that is too slow.
fn too_slow(missed: u64) -> Notice {
    Notice {
        reason: "too_slow".into(),
        missed: Some(missed),
        detail:
            "Events came faster than they were read, and some are no longer kept. Connect again to go on, \
                     with fewer kinds or semaphores if this happens often."
                .into(),
    }
}

/// By its instance an id of one server never means an event of another.
fn id(out: &mut Vec<u8>, app: &App, number: u64) {
    out.extend_from_slice(b"id: ");
    out.extend_from_slice(app.instance.as_bytes());
    // Writing to a vector cannot fail.
    let _ = writeln!(out, "-{number}");
}

/// The kind and the data. JSON of this kind has no line breaks.
pub(super) fn block(out: &mut Vec<u8>, kind: &str, data: &impl Serialize) {
    let _ = write!(out, "event: {kind}\ndata: ");
    let _ = serde_json::to_writer(&mut *out, data);
    out.extend_from_slice(b"\n\n");
}
