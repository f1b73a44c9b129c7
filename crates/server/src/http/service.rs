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

use super::{app::App, gate, lawful, routes::find, spans::Spans};
use crate::telemetry::trace;

/// The header of every answer by which clients see that the server started with empty state.
pub const INSTANCE: HeaderName = HeaderName::from_static("throttle-instance");

/// What is served: at first only the word that the server is not ready yet, then everything.
#[derive(Clone, Default)]
pub struct Stage(Arc<OnceLock<Open>>);

struct Open {
    app: Arc<App>,
    spans: Option<Spans>,
}

impl Stage {
    /// From now on everything is served. `tracer` makes the spans of requests, if there are any.
    pub fn open(&self, app: Arc<App>, tracer: Option<SdkTracer>) {
        let spans = trace::is_on().then(|| Spans::new(tracer));
        // It opens once.
        let _ = self.0.set(Open { app, spans });
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
        async move {
            let mut response = match (lawful::refusal(&request), stage.0.get()) {
                (Some(refusal), _) => refusal,
                (None, Some(open)) => open.answer(request.map(Body::new)).await,
                (None, None) => gate::not_ready(find(request.method(), request.uri().path())),
            };
            response.headers_mut().insert(INSTANCE, instance);
            Ok(response)
        }
    })
}

impl Open {
    async fn answer(&self, request: Request) -> Response {
        let found = find(request.method(), request.uri().path());
        let traced = match &self.spans {
            None => None,
            Some(spans) => spans.begin(&request, found).map(Arc::new),
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
