//! Log lines as JSON.

use std::{fmt, time::SystemTime};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use super::{fields::Values, shown_target};

/// Lines that are a JSON object each.
pub(super) struct JsonLines;

#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'static str,
    target: &'a str,
    message: String,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

/// What a field must not be called, as the line itself has it.
const TAKEN: [&str; 4] = ["timestamp", "level", "target", "message"];

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        let Values { message, others } = Values::of(event);
        let free = |key: String| if TAKEN.contains(&&*key) { format!("field.{key}") } else { key };
        let line = Line {
            timestamp: humantime::format_rfc3339_micros(SystemTime::now()).to_string(),
            level: metadata.level().as_str(),
            target: shown_target(metadata.target()),
            message,
            fields: others.into_iter().map(|(key, value)| (free(key), value)).collect(),
        };
        writeln!(out, "{}", serde_json::to_string(&line).map_err(|_| fmt::Error)?)
    }
}
