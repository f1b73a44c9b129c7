//! Log lines as text.

use std::{fmt, time::SystemTime};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use super::{
    fields::{Line, write_trace},
    shown_target,
};

/// Text lines such as `[2020-03-03T19:02:42Z WARN  throttle] No semaphores configured.`
pub(super) struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        start(&mut out, SystemTime::now(), *metadata.level(), shown_target(metadata.target()))?;
        for message in [true, false] {
            let mut line = Line { out: &mut out, message, result: Ok(()) };
            event.record(&mut line);
            line.result?;
        }
        write_trace(&mut out, event)?;
        writeln!(out)
    }
}

/// Writes the part in brackets and the space after it.
pub(super) fn start(out: &mut impl fmt::Write, time: SystemTime, level: Level, target: &str) -> fmt::Result {
    let time = humantime::format_rfc3339_seconds(time);
    write!(out, "[{time} {:<5} {target}] ", level.as_str())
}
