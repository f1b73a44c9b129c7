//! The trace that a request belongs to, and the spans that tell of it.
//!
//! A request that is traced runs in a scope of its own, in which whoever works on it finds its trace. Where nothing
//! is traced, [`current`] and [`about`] are a look at a flag.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use opentelemetry::{
    Context, KeyValue,
    trace::{
        Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags,
        TraceId, TraceState, Tracer as _,
    },
};
use opentelemetry_sdk::trace::{SdkTracer, Span};
use throttle_core::{Name, PeerId, Token};
use tokio::task::futures::TaskLocalFuture;

use super::ShownPeer;
use crate::audit;

tokio::task_local! {
    static CURRENT: Arc<Traced>;
}

/// Whether any request may be traced.
static IS_ON: AtomicBool = AtomicBool::new(false);

/// A place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceIds {
    /// The trace.
    pub trace: TraceId,
    /// The span in it.
    pub span: SpanId,
    /// Whether it is recorded.
    pub is_sampled: bool,
}

impl From<&SpanContext> for TraceIds {
    fn from(context: &SpanContext) -> Self {
        Self { trace: context.trace_id(), span: context.span_id(), is_sampled: context.is_sampled() }
    }
}

impl TraceIds {
    fn context(self) -> SpanContext {
        let flags = TraceFlags::default().with_sampled(self.is_sampled);
        SpanContext::new(self.trace, self.span, flags, false, TraceState::default())
    }
}

/// A request that is traced.
pub struct Traced {
    ids: TraceIds,
    recorded: Option<Recorded>,
}

struct Recorded {
    tracer: SdkTracer,
    span: Mutex<Span>,
}

impl Traced {
    /// A request whose client traces it, at a server that does not: the log tells the ids of the client's span.
    pub fn by_client(context: &SpanContext) -> Self {
        Self { ids: context.into(), recorded: None }
    }

    /// A request that gets a span of its own. `describe` is called if it is recorded.
    pub fn begin(
        tracer: &SdkTracer,
        method: &'static str,
        parent: &Context,
        describe: impl FnOnce(&mut Span),
    ) -> Self {
        let builder = SpanBuilder::from_name(method).with_kind(SpanKind::Server);
        let mut span = tracer.build_with_context(builder, parent);
        let ids = span.span_context().into();
        let recorded = span.is_recording().then(|| {
            describe(&mut span);
            Recorded { tracer: tracer.clone(), span: Mutex::new(span) }
        });
        Self { ids, recorded }
    }

    /// The answer has this status; what is left of it is its body.
    pub fn end(&self, status: u16) {
        self.record(|span| {
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
            if status >= 500 {
                span.set_attribute(KeyValue::new("error.type", status.to_string()));
                span.set_status(Status::error(""));
            }
            span.end();
        });
    }

    fn record(&self, write: impl FnOnce(&mut Span)) {
        if let Some(recorded) = &self.recorded {
            write(&mut recorded.span.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// From now on requests may be traced.
pub fn turn_on() {
    IS_ON.store(true, Relaxed);
}

/// Whether any request may be traced.
pub fn is_on() -> bool {
    IS_ON.load(Relaxed)
}

/// Runs `future` as part of a request that is traced.
pub fn scope<F: Future>(request: Arc<Traced>, future: F) -> TaskLocalFuture<Arc<Traced>, F> {
    CURRENT.scope(request, future)
}

/// Where in its trace the request is that this task works on.
pub fn current() -> Option<TraceIds> {
    with(|request| request.ids)
}

fn with<R>(look: impl FnOnce(&Arc<Traced>) -> R) -> Option<R> {
    if is_on() { CURRENT.try_with(look).ok() } else { None }
}

/// The peer and semaphores that a request is about. Part of its span if that is recorded.
#[derive(Clone, Copy)]
pub enum Subject<'a> {
    /// A peer.
    Peer(PeerId),
    /// As many peers.
    Peers(usize),
    /// A semaphore.
    Semaphore(&'a str),
    /// Locks, by semaphore and count.
    Locks(&'a [(&'a str, i64)]),
}

/// Notes what the request is about that this task works on.
#[inline]
pub fn about(subject: Subject<'_>) {
    audit::about(subject);
    if is_on() {
        tell(subject);
    }
}

#[cold]
fn tell(subject: Subject<'_>) {
    with(|request| {
        request.record(|span| match subject {
            Subject::Peer(peer) => span.set_attribute(peer_attribute(peer)),
            Subject::Peers(count) => span.set_attribute(number("throttle.peers", count)),
            Subject::Semaphore(name) => span.set_attribute(semaphore_attribute(name)),
            Subject::Locks(locks) => span.set_attributes(lock_attributes(locks.iter().copied())),
        });
    });
}

fn peer_attribute(peer: PeerId) -> KeyValue {
    KeyValue::new("throttle.peer", ShownPeer(peer).to_string())
}

fn semaphore_attribute(name: &str) -> KeyValue {
    KeyValue::new("throttle.semaphore", name.to_owned())
}

/// One lock has its semaphore and its count; of several there is a list.
fn lock_attributes<'a>(locks: impl ExactSizeIterator<Item = (&'a str, i64)>) -> Vec<KeyValue> {
    if locks.len() == 1 {
        return locks
            .flat_map(|(name, count)| [semaphore_attribute(name), KeyValue::new("throttle.count", count)])
            .collect();
    }
    let list: Vec<String> = locks.map(|(name, count)| format!("{name}={count}")).collect();
    vec![KeyValue::new("throttle.locks", list.join(","))]
}

fn number(key: &'static str, number: usize) -> KeyValue {
    KeyValue::new(key, i64::try_from(number).unwrap_or(i64::MAX))
}

/// A request that begins to wait in line, as far as its span tells of it.
#[derive(Clone, Debug)]
pub struct Queued {
    /// What it waits for.
    pub locks: Vec<(Name, i64)>,
    /// Its place, counted from 1, in the queue where it stands farthest back.
    pub position: usize,
}

/// How a wait ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitEnd {
    /// All was granted, with these tokens.
    Granted(Vec<(Name, Token)>),
    /// The time to wait was over.
    Timeout,
    /// The client withdrew the request.
    Withdrawn,
    /// The peer is gone.
    PeerGone,
    /// As many requests wait as may.
    Refused,
}

impl WaitEnd {
    const fn name(&self) -> &'static str {
        match self {
            Self::Granted(_) => "granted",
            Self::Timeout => "timeout",
            Self::Withdrawn => "withdrawn",
            Self::PeerGone => "peer_gone",
            Self::Refused => "refused",
        }
    }
}

/// The span of a wait, a child of the request's.
pub struct Wait {
    span: Span,
    is_linked: bool,
}

/// Whether the request is recorded that this task works on.
pub fn is_recorded() -> bool {
    with(|request| request.recorded.is_some()).unwrap_or(false)
}

impl Wait {
    /// Begins with the wait, if the request is recorded.
    pub fn begin(peer: PeerId, queued: &Queued) -> Option<Self> {
        with(|request| {
            let tracer = &request.recorded.as_ref()?.tracer;
            let parent = Context::new().with_remote_span_context(request.ids.context());
            let mut span = tracer.build_with_context(SpanBuilder::from_name("throttle.wait"), &parent);
            span.set_attribute(peer_attribute(peer));
            span.set_attributes(lock_attributes(queued.locks.iter().map(|(name, count)| (&**name, *count))));
            span.add_event("queued", vec![number("throttle.position", queued.position)]);
            Some(Self { span, is_linked: false })
        })?
    }

    /// Tells which request made an end of the wait.
    pub fn link(&mut self, cause: Option<TraceIds>) {
        if let Some(cause) = cause
            && !std::mem::replace(&mut self.is_linked, true)
        {
            self.span.add_link(cause.context(), Vec::new());
        }
    }

    /// Ends with the wait, which took so long.
    pub fn end(mut self, end: &WaitEnd, waited: Duration) {
        if let WaitEnd::Granted(tokens) = end {
            let waited_ms = i64::try_from(waited.as_millis()).unwrap_or(i64::MAX);
            for (semaphore, token) in tokens {
                self.span.add_event(
                    "granted",
                    vec![
                        semaphore_attribute(semaphore),
                        KeyValue::new("throttle.token", token.to_string()),
                        KeyValue::new("throttle.waited_ms", waited_ms),
                    ],
                );
            }
        }
        self.span.set_attribute(KeyValue::new("throttle.outcome", end.name()));
        self.span.end();
    }
}
