//! Logging: text lines on standard error, and GELF messages to Graylog.
//!
//! Both are layers of `tracing`; the rest of the server records events with its macros.

mod chunks;
mod fields;
mod gelf;
mod text;

use std::{io, sync::Arc, time::Duration};

use tracing::{Subscriber, level_filters::LevelFilter, warn};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    fmt::{self, MakeWriter},
    layer::SubscriberExt as _,
};

use crate::config::{Logging, Stderr};
pub use gelf::GelfStats;

/// The environment variable that says what goes to standard error, above what the configuration file says.
pub const ENVIRONMENT: &str = "THROTTLE_LOG";

/// What runs behind the logging of this process. Keep it until the process ends.
#[derive(Debug)]
pub struct Telemetry {
    gelf: Option<gelf::Sender>,
}

impl Telemetry {
    /// What became of the messages to Graylog; `None` if there is no `[logging.gelf]`.
    pub fn gelf(&self) -> Option<Arc<GelfStats>> {
        self.gelf.as_ref().map(gelf::Sender::stats)
    }

    /// Waits until every message recorded so far is sent, `patience` at most. Blocks the thread.
    pub fn flush(&self, patience: Duration) {
        if let Some(gelf) = &self.gelf {
            gelf.flush(patience);
        }
    }
}

/// Sets up logging for the whole process. `filter` is the value of [`ENVIRONMENT`], if it is set; it takes the
/// place of the level of `[logging.stderr]`. If it cannot be understood, a warning says so and the level counts.
///
/// # Errors
///
/// If logging was set up before, or the thread that sends to Graylog cannot be started.
pub fn init(logging: &Logging, filter: Option<&str>) -> io::Result<Telemetry> {
    let (subscriber, telemetry, complaint) = subscriber(logging, filter, io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
    if let Some(complaint) = complaint {
        warn!(target: "throttle", "{complaint}");
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
            EnvFilter::builder()
                .parse(text)
                .map_err(|error| {
                    complaint = Some(format!(
                        "{ENVIRONMENT}={text:?} cannot be understood and is ignored ({error}). Allowed: a level \
                         such as \"info\", or levels for parts such as \"warn,throttle=debug\"."
                    ));
                })
                .ok()
        });
        let filter = filter.unwrap_or_else(|| EnvFilter::default().add_directive(stderr.level.into()));
        fmt::layer().event_format(text::Lines).with_writer(writer).log_internal_errors(false).with_filter(filter)
    });
    let (gelf, layer) = match &logging.gelf {
        Some(config) => {
            let (sender, layer) = gelf::start(config)?;
            (Some(sender), Some(layer.with_filter(config.level)))
        }
        None => (None, None),
    };
    Ok((Registry::default().with(text).with(layer), Telemetry { gelf }, complaint))
}

// Whoever names Graylog gets nothing on stderr unless asked for: so it always was.
fn stderr(logging: &Logging) -> Option<Stderr> {
    match (&logging.stderr, &logging.gelf) {
        (Some(stderr), _) => Some(stderr.clone()),
        (None, None) => Some(Stderr { level: LevelFilter::WARN }),
        (None, Some(_)) => None,
    }
}

/// What records of this server are called, whichever of its crates and modules they come from.
fn shown_target(target: &str) -> &str {
    let first = target.split("::").next().unwrap_or(target);
    match first {
        "throttle_server" | "throttle_core" | "throttle" => "throttle",
        _ => target,
    }
}

#[cfg(test)]
mod tests;
