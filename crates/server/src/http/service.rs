//! The service around all routes: what every answer has, what is counted of it, and the trace that it is part of.
//!
//! It stands outside the router: a layer of it would cost two allocations a request.

use std::{
    convert::Infallible,
    sync::{Arc, OnceLock},
};

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::{HeaderName, HeaderValue},
    response::Response,
};
use hyper::service::{Service, service_fn};
use opentelemetry_sdk::trace::SdkTracer;

use super::{app::App, gate, lawful, routes::find, several::Several, spans::Spans};
use crate::telemetry::trace;

/// The header of every answer by which clients see that the server started with empty state.
pub const INSTANCE: HeaderName = HeaderName::from_static("throttle-instance");

/// What is served: at first only the word that the server is not ready yet, then everything, or what one of several
/// servers answers.
#[derive(Clone, Default)]
pub struct Stage(Arc<Served>);

#[derive(Default)]
struct Served {
    open: OnceLock<Open>,
    several: OnceLock<Arc<Several>>,
}

/// A server that answers everything.
pub(super) struct Open {
    app: Arc<App>,
    spans: Option<Spans>,
}

impl Stage {
    /// From now on everything is served. `tracer` makes the spans of requests, if there are any.
    pub fn open(&self, app: Arc<App>, tracer: Option<SdkTracer>) {
        // It opens once.
        let _ = self.0.open.set(Open::new(app, tracer));
    }

    /// From now on it is that of one of several servers.
    pub fn share(&self, several: Arc<Several>) {
        let _ = self.0.several.set(several);
    }

    async fn answer(&self, request: Box<Request>) -> Response {
        if let Some(open) = self.0.open.get() {
            return open.answer(request).await;
        }
        match self.0.several.get() {
            // In a box, so that requests to a single server need no room for it.
            Some(several) => Box::pin(several.answer(request)).await,
            None => gate::not_ready(find(request.method(), request.uri().path())),
        }
    }
}

/// The whole of HTTP as one service: every answer of the routes, marked with the id of this server's state, and
/// none for pages of other origins.
pub fn service<B>(
    stage: Stage,
    instance: HeaderValue,
) -> impl Service<Request<B>, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    service_fn(move |request: Request<B>| {
        let (stage, instance) = (stage.clone(), instance.clone());
        let refusal = lawful::refusal(&request);
        // In a box, as each layer of futures would have room for it once more.
        let request = Box::new(request.map(Body::new));
        // In a box, as each connection would have room for it between requests, too: memory that no other request
        // has just used.
        Box::pin(async move {
            let mut response = match refusal {
                Some(refusal) => refusal,
                None => stage.answer(request).await,
            };
            response.headers_mut().insert(INSTANCE, instance);
            Ok(response)
        })
    })
}

impl Open {
    pub(super) fn new(app: Arc<App>, tracer: Option<SdkTracer>) -> Self {
        Self { app, spans: trace::is_on().then(|| Spans::new(tracer)) }
    }

    pub(super) async fn answer(&self, request: Box<Request>) -> Response {
        let found = find(request.method(), request.uri().path());
        let traced = match &self.spans {
            None => None,
            Some(spans) => spans.begin(&*request, found).map(Arc::new),
        };
        let answer = gate::answer(&self.app, found, request);
        let response = match &traced {
            None => answer.await,
            // In a box, so that requests that are not traced need no room for it.
            Some(traced) => Box::pin(trace::scope(traced.clone(), answer)).await,
        };
        let status = response.status().as_u16();
        self.app.metrics.requests.count(found.dialect, status);
        if matches!(status, 429 | 503)
            && let Some(excess) = response.extensions().get()
        {
            self.app.metrics.count_excess(*excess);
        }
        if let Some(traced) = traced {
            traced.end(status);
        }
        response
    }
}
