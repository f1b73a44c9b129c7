//! Around all routes: what every answer has, what is counted of it, and the trace that it is part of.
//!
//! It stands outside the router: a layer of it would cost two allocations a request.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::{HeaderName, HeaderValue},
    response::Response,
};
use pin_project_lite::pin_project;
use tokio::task::futures::TaskLocalFuture;
use tower::Service;

use super::{dialect::Dialect, spans::Spans};
use crate::{
    metrics::RequestCounters,
    telemetry::trace::{self, Traced},
};

/// The header of every answer by which clients see that the server started with empty state.
pub const INSTANCE: HeaderName = HeaderName::from_static("throttle-instance");

/// The whole of HTTP as one service.
#[derive(Clone)]
pub struct Front {
    router: Router,
    shared: Arc<Shared>,
}

struct Shared {
    instance: HeaderValue,
    counters: Arc<RequestCounters>,
    spans: Option<Spans>,
}

impl Front {
    pub(super) fn new(
        router: Router,
        instance: HeaderValue,
        counters: Arc<RequestCounters>,
        spans: Option<Spans>,
    ) -> Self {
        Self { router, shared: Arc::new(Shared { instance, counters, spans }) }
    }
}

type Answer = <Router as Service<Request>>::Future;

impl<B> Service<Request<B>> for Front
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering<Answer>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<B>>::poll_ready(&mut self.router, context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let dialect = Dialect::of(request.uri().path());
        let traced = match &self.shared.spans {
            None => None,
            Some(spans) => spans.begin(&request, dialect).map(Arc::new),
        };
        let answer = self.router.call(request);
        let future = match traced.clone() {
            None => Scoped::Bare { answer },
            Some(traced) => Scoped::Traced { answer: trace::scope(traced, answer) },
        };
        Answering { future, traced, dialect, shared: self.shared.clone() }
    }
}

pin_project! {
    /// An answer on its way.
    pub struct Answering<F> {
        #[pin]
        future: Scoped<F>,
        traced: Option<Arc<Traced>>,
        dialect: Dialect,
        shared: Arc<Shared>,
    }
}

pin_project! {
    #[project = ScopedProjection]
    enum Scoped<F> {
        Bare { #[pin] answer: F },
        Traced { #[pin] answer: TaskLocalFuture<Arc<Traced>, F> },
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for Answering<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(mut response) = ready!(match this.future.project() {
            ScopedProjection::Bare { answer } => answer.poll(context),
            ScopedProjection::Traced { answer } => answer.poll(context),
        });
        let status = response.status().as_u16();
        this.shared.counters.count(*this.dialect, status);
        if let Some(traced) = this.traced {
            traced.end(status);
        }
        response.headers_mut().insert(INSTANCE, this.shared.instance.clone());
        Poll::Ready(Ok(response))
    }
}
