//! What this server tells of itself: lines on standard error, GELF messages to Graylog, and traces to a collector.
//!
//! The first two are layers of `tracing`; the rest of the server records events with its macros. Traces are spans of
//! OpenTelemetry (`trace`) that `otlp` sends.

mod chunks;
mod fields;
mod gelf;
mod json;
mod otlp;
mod peer;
mod seldom;
mod text;
pub mod trace;

use std::{error::Error, io, sync::Arc, thread, time::Duration};

use opentelemetry_sdk::trace::SdkTracer;

use tracing::{Subscriber, level_filters::LevelFilter, warn};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    fmt::{self, MakeWriter},
    layer::SubscriberExt as _,
};

use crate::config::{LogFormat, Logging, Stderr, Telemetry as Configuration};
pub use gelf::GelfStats;
pub use otlp::OtlpStats;
pub(crate) use otlp::check as check_collector;
pub use peer::{ShownPeer, show_ids};
pub use seldom::{Seldom, unknown_peer_ended, unknown_semaphore};

/// The environment variable that says what goes to standard error, above what the configuration file says.
pub const ENVIRONMENT: &str = "THROTTLE_LOG";

/// What runs behind the logs and traces of this process. Keep it until the process ends.
#[derive(Debug)]
pub struct Telemetry {
    gelf: Option<gelf::Sender>,
    otlp: Option<otlp::Otlp>,
}

impl Telemetry {
    /// What became of the messages to Graylog; `None` if there is no `[logging.gelf]`.
    pub fn gelf(&self) -> Option<Arc<GelfStats>> {
        self.gelf.as_ref().map(gelf::Sender::stats)
    }

    /// What became of the spans; `None` if there is no collector.
    pub fn otlp(&self) -> Option<Arc<OtlpStats>> {
        self.otlp.as_ref().map(otlp::Otlp::stats)
    }

    /// What makes spans; `None` if there is no collector.
    pub fn tracer(&self) -> Option<SdkTracer> {
        self.otlp.as_ref().map(otlp::Otlp::tracer)
    }

    /// Ends the traces and waits until every message recorded so far is sent; at most `for_logs` and `for_traces`.
    /// Blocks the thread.
    pub fn shut_down(&self, for_logs: Duration, for_traces: Duration) {
        thread::scope(|scope| {
            if let Some(otlp) = &self.otlp {
                scope.spawn(|| otlp.shut_down(for_traces));
            }
            if let Some(gelf) = &self.gelf {
                gelf.flush(for_logs);
            }
        });
    }
}

/// Sets up logs and traces for the whole process. `filter` is the value of [`ENVIRONMENT`], if it is set; it takes
/// the place of the level of `[logging.stderr]`. If it cannot be understood, a warning says so and the level counts.
/// Not to be called from async code.
///
/// # Errors
///
/// If logging was set up before, the thread that sends to Graylog cannot be started, or the collector of the traces
/// is none.
pub fn init(
    logging: &Logging,
    configuration: &Configuration,
    filter: Option<&str>,
) -> Result<Telemetry, Box<dyn Error>> {
    let (subscriber, mut telemetry, complaint) = subscriber(logging, filter, io::stderr)?;
    telemetry.otlp = otlp::start(&configuration.otlp)?;
    tracing::subscriber::set_global_default(subscriber)?;
    if let Some(complaint) = complaint {
        warn!(target: "throttle", "{complaint}");
    }
    // At other levels too little is logged to be worth a look at each request.
    if telemetry.otlp.is_some() || LevelFilter::current() >= LevelFilter::INFO {
        trace::turn_on();
    }
    Ok(telemetry)
}

fn subscriber<W>(
    logging: &Logging,
    filter: Option<&str>,
    writer: W,
) -> io::Result<(impl Subscriber + Send + Sync + use<W>, Telemetry, Option<String>)>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let mut complaint = None;
    let text = stderr(logging).map(|stderr| {
        let filter = filter.filter(|text| !text.trim().is_empty()).and_then(|text| {
            // A word that is no level would be the name of a part, and all others would be silent.
            let word = text.trim();
            let is_part = word.contains(['=', ',', ':']) || word.starts_with("throttle");
            let level = if is_part { Ok(()) } else { word.parse::<LevelFilter>().map(drop) };
            level
                .map_err(|error| error.to_string())
                .and_then(|()| EnvFilter::builder().parse(text).map_err(|error| error.to_string()))
                .map_err(|error| {
                    complaint = Some(format!(
                        "{ENVIRONMENT}={text:?} cannot be understood and is ignored ({error}). Allowed: a level \
                         such as \"info\", or levels for parts such as \"warn,throttle=debug\"."
                    ));
                })
                .ok()
        });
        let filter = filter.unwrap_or_else(|| EnvFilter::default().add_directive(stderr.level.into()));
        let lines = fmt::layer().with_writer(writer).log_internal_errors(false);
        match stderr.format {
            LogFormat::Text => lines.event_format(text::Lines).with_filter(filter).boxed(),
            LogFormat::Json => lines.event_format(json::JsonLines).with_filter(filter).boxed(),
        }
    });
    let (gelf, layer) = match &logging.gelf {
        Some(config) => {
            let (sender, layer) = gelf::start(config)?;
            (Some(sender), Some(layer.with_filter(config.level)))
        }
        None => (None, None),
    };
    Ok((Registry::default().with(text).with(layer), Telemetry { gelf, otlp: None }, complaint))
}

// Whoever names Graylog gets nothing on stderr unless asked for: so it always was.
fn stderr(logging: &Logging) -> Option<Stderr> {
    match (&logging.stderr, &logging.gelf) {
        (Some(stderr), _) => Some(stderr.clone()),
        (None, None) => Some(Stderr::default()),
        (None, Some(_)) => None,
    }
}

/// What records of this server are called, whichever of its crates and modules they come from.
fn shown_target(target: &str) -> &str {
    let first = target.split("::").next().unwrap_or(target);
    match first {
        "throttle_service" | "throttle_server" | "throttle_core" | "throttle" => "throttle",
        _ => target,
    }
}

#[cfg(test)]
mod tests;
