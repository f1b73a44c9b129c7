//! The span of each request.

use axum::{
    extract::Request,
    http::{HeaderMap, Method},
};
use opentelemetry::{
    Context, KeyValue,
    propagation::TextMapPropagator as _,
    trace::{Span as _, TraceContextExt as _},
};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::{propagation::TraceContextPropagator, trace::SdkTracer};

use super::routes::Found;
use crate::telemetry::trace::Traced;

/// Makes the spans of requests.
pub(super) struct Spans {
    tracer: Option<SdkTracer>,
}

impl Spans {
    /// Without a tracer there are none, but the trace of a client is known to the log.
    pub(super) fn new(tracer: Option<SdkTracer>) -> Self {
        Self { tracer }
    }

    /// Begins with a request, if there is something to tell of it.
    pub(super) fn begin<B>(&self, request: &Request<B>, found: Found) -> Option<Traced> {
        let parent = parent(request.headers());
        let Some(tracer) = &self.tracer else {
            let parent = parent?;
            return Some(Traced::by_client(parent.span().span_context()));
        };
        let method = method(request.method());
        Some(Traced::begin(tracer, method, &parent.unwrap_or_default(), |span| {
            span.set_attribute(KeyValue::new("http.request.method", method));
            span.set_attribute(KeyValue::new("url.path", found.shown_path(request.uri().path())));
            span.set_attribute(KeyValue::new("throttle.dialect", found.dialect.name()));
            if let Some(template) = found.template() {
                span.update_name(format!("{method} {template}"));
                span.set_attribute(KeyValue::new("http.route", template));
            }
        }))
    }
}

/// The trace of a client, as W3C has it.
fn parent(headers: &HeaderMap) -> Option<Context> {
    if !headers.contains_key("traceparent") {
        return None;
    }
    let context =
        TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers));
    context.span().span_context().is_valid().then_some(context)
}

/// Of methods that anybody can invent, there are too many for names of spans.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}
