//! Traces to a collector, by OTLP over HTTP.
//!
//! Spans that ended wait in a bounded queue for a thread of their own, which sends them in batches. Whatever the
//! collector does, no request waits for it.

use std::{
    env,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Relaxed},
        },
    },
    time::Duration,
};

use opentelemetry::{Context, Key, KeyValue, trace::TracerProvider as _};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span, SpanData,
        SpanExporter, SpanProcessor,
    },
};
use tracing::{info, warn};

use crate::{config, outgoing};

/// The path below an endpoint to which traces go, by the protocol.
const PATH: &str = "/v1/traces";
/// The most spans that one request to the collector carries.
const BATCH: usize = 512;
/// In milliseconds; beats the file.
const TIMEOUT_VARIABLE: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
/// Which traces are recorded; beats the file. The SDK reads it.
const SAMPLER_VARIABLE: &str = "OTEL_TRACES_SAMPLER";

/// What became of the spans that ended, counted since the start.
#[derive(Debug, Default)]
pub struct OtlpStats {
    exported: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    /// Those that wait to be sent.
    queued: AtomicUsize,
}

impl OtlpStats {
    /// Spans that the collector took.
    pub fn exported(&self) -> u64 {
        self.exported.load(Relaxed)
    }

    /// Spans that were sent in vain.
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Spans that found the queue full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

/// The near end of what sends traces.
#[derive(Debug)]
pub(super) struct Otlp {
    provider: SdkTracerProvider,
    stats: Arc<OtlpStats>,
}

/// Starts what sends traces, if the configuration names a collector. Not to be called from async code.
pub(super) fn start(config: &config::Otlp) -> Result<Option<Otlp>, String> {
    let Some(endpoint) = &config.endpoint else { return Ok(None) };
    let wrong = |why: String| wrong(endpoint, &why);
    let url = url(endpoint).map_err(wrong)?;
    let timeout = env::var(TIMEOUT_VARIABLE).ok().and_then(|ms| ms.parse().ok());
    let timeout = timeout.map_or(config.timeout, Duration::from_millis);
    let mut http = reqwest::blocking::Client::builder()
        .timeout(timeout)
        .user_agent(concat!("throttle/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none());
    // A machine without any certificates can still use plain HTTP.
    let tls = if url.starts_with("https:") { outgoing::tls(None) } else { outgoing::no_tls() };
    http = http.tls_backend_preconfigured(tls.map_err(wrong)?);
    let http = http.build().map_err(|error| wrong(error.to_string()))?;
    let trouble = Trouble::default();
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(Http { client: http, trouble: trouble.clone() })
        .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
        .with_endpoint(url)
        .with_timeout(timeout)
        .build()
        .map_err(|error| wrong(error.to_string()))?;

    let stats = Arc::new(OtlpStats::default());
    let exporter = Counting {
        exporter,
        trouble,
        stats: stats.clone(),
        endpoint: endpoint.clone(),
        is_lost: AtomicBool::new(false),
    };
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(config.queue_size)
        .with_max_export_batch_size(config.queue_size.min(BATCH))
        .build();
    let processor = Bounded {
        processor: BatchSpanProcessor::builder(exporter).with_batch_config(batches).build(),
        limit: config.queue_size,
        stats: stats.clone(),
    };
    let mut provider = SdkTracerProvider::builder().with_span_processor(processor).with_resource(resource());
    if env::var_os(SAMPLER_VARIABLE).is_none() {
        let root = Sampler::TraceIdRatioBased(config.sample_ratio);
        provider = provider.with_sampler(Sampler::ParentBased(Box::new(root)));
    }
    Ok(Some(Otlp { provider: provider.build(), stats }))
}

impl Otlp {
    pub(super) fn tracer(&self) -> SdkTracer {
        self.provider.tracer("throttle")
    }

    pub(super) fn stats(&self) -> Arc<OtlpStats> {
        self.stats.clone()
    }

    /// Sends what waits, and ends. Returns after `patience` at the latest; what is not sent by then is lost.
    pub(super) fn shut_down(&self, patience: Duration) {
        // It tells of nothing that the log does not tell of.
        let _ = self.provider.shutdown_with_timeout(patience);
    }
}

/// Says whether the collector that the configuration names, if any, can be one.
pub(crate) fn check(config: &config::Otlp) -> Result<(), String> {
    let Some(endpoint) = &config.endpoint else { return Ok(()) };
    url(endpoint).map(drop).map_err(|why| wrong(endpoint, &why))
}

fn wrong(endpoint: &str, why: &str) -> String {
    // What stands before an `@` may be a secret, which belongs into no message.
    let shown = endpoint.rsplit_once('@').map_or(endpoint.to_owned(), |(_, rest)| format!("…@{rest}"));
    format!("Traces cannot be sent to {shown:?}: {why}.")
}

fn url(endpoint: &str) -> Result<String, String> {
    let parsed = reqwest::Url::parse(endpoint).map_err(|error| error.to_string())?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err("it is no URL of HTTP, such as http://127.0.0.1:4318".to_owned());
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(
            "it names a user; put what the collector wants into OTEL_EXPORTER_OTLP_HEADERS".to_owned()
        );
    }
    let base = endpoint.trim_end_matches('/');
    Ok(if base.ends_with(PATH) { base.to_owned() } else { format!("{base}{PATH}") })
}

/// What the collector is told of this process. The environment (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`)
/// has the first word.
fn resource() -> Resource {
    let of_environment = Resource::builder().build();
    let name = of_environment.get(&Key::from_static_str("service.name"));
    let is_named = name.is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let mut resource = Resource::builder();
    if !is_named {
        resource = resource.with_service_name("throttle");
    }
    resource.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))).build()
}

/// Bounds how many spans wait to be sent, and counts those on top of them.
#[derive(Debug)]
struct Bounded {
    processor: BatchSpanProcessor,
    limit: usize,
    stats: Arc<OtlpStats>,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.processor.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.stats.queued.fetch_add(1, AcqRel) < self.limit {
            self.processor.on_end(span);
        } else {
            self.stats.queued.fetch_sub(1, AcqRel);
            self.stats.dropped.fetch_add(1, Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}

/// Why the network failed last; empty if it did not. The exporter keeps that to itself.
type Trouble = Arc<Mutex<String>>;

/// Remembers why it failed.
#[derive(Debug)]
struct Http {
    client: reqwest::blocking::Client,
    trouble: Trouble,
}

impl HttpClient for Http {
    fn send_bytes<'client, 'answer>(
        &'client self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'answer>>
    where
        'client: 'answer,
    {
        Box::pin(async move {
            let answer = self.client.send_bytes(request).await;
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) =
                answer.as_ref().err().map_or_else(String::new, |error| outgoing::reasons(&**error));
            answer
        })
    }
}

/// Counts what is sent, and says when the collector is out of reach, and when it is back.
#[derive(Debug)]
struct Counting {
    exporter: opentelemetry_otlp::SpanExporter,
    trouble: Trouble,
    stats: Arc<OtlpStats>,
    endpoint: String,
    is_lost: AtomicBool,
}

impl SpanExporter for Counting {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.stats.queued.fetch_sub(count, AcqRel);
        let result = self.exporter.export(batch).await;
        let counter = if result.is_ok() { &self.stats.exported } else { &self.stats.failed };
        counter.fetch_add(count as u64, Relaxed);
        self.tell(result.as_ref().err());
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl Counting {
    fn tell(&self, error: Option<&OTelSdkError>) {
        let endpoint = &self.endpoint;
        let was_lost = self.is_lost.swap(error.is_some(), Relaxed);
        match error {
            Some(error) if !was_lost => {
                let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let reason = if trouble.is_empty() { error.to_string() } else { trouble };
                warn!(
                    "Traces do not reach the collector at {endpoint} for now; requests are served all the same. \
                     {reason}."
                );
            }
            None if was_lost => info!("Traces reach the collector at {endpoint} again."),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        for (endpoint, expected) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
            ("https://example.com/otlp", "https://example.com/otlp/v1/traces"),
            ("https://example.com/otlp/v1/traces", "https://example.com/otlp/v1/traces"),
        ] {
            assert_eq!(url(endpoint).as_deref(), Ok(expected));
        }
        for wrong in ["127.0.0.1:4318", "ftp://example.com", "collector", "http://"] {
            let config = config::Otlp { endpoint: Some(wrong.to_owned()), ..config::Otlp::default() };
            let error = start(&config).expect_err(wrong);
            assert!(error.starts_with(&format!("Traces cannot be sent to {wrong:?}: ")), "{error}");
        }
        let endpoint = Some("http://me:secret@127.0.0.1:4318".to_owned());
        let error = start(&config::Otlp { endpoint, ..config::Otlp::default() }).expect_err("a secret");
        assert!(error.contains("it names a user") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn without_an_endpoint_there_is_nothing() {
        assert!(start(&config::Otlp::default()).expect("nothing to fail").is_none());
    }
}
