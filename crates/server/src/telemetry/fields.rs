//! The fields of a log event, and the trace that it belongs to.

use std::fmt::{self, Write as _};

use serde_json::{Map, Number, Value};
use tracing::{
    Event,
    field::{Field, Visit},
};

use super::trace::{self, TraceIds};
use crate::printable::{Printable, printable};

const TRACE_ID: &str = "trace_id";
const SPAN_ID: &str = "span_id";

/// The trace in which an event happens, unless it tells that itself.
pub(super) fn trace_of(event: &Event<'_>) -> Option<TraceIds> {
    if event.metadata().fields().field(TRACE_ID).is_some() { None } else { trace::current() }
}

/// The message of an event and its other fields, with the trace that it is part of.
#[derive(Default)]
pub(super) struct Values {
    pub(super) message: String,
    pub(super) others: Map<String, Value>,
}

impl Values {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let mut values = Self::default();
        event.record(&mut values);
        if let Some(ids) = trace_of(event) {
            values.others.insert(TRACE_ID.to_owned(), ids.trace.to_string().into());
            values.others.insert(SPAN_ID.to_owned(), ids.span.to_string().into());
        }
        values
    }

    fn put(&mut self, field: &Field, value: Value) {
        if field.name() == "message" {
            self.message = match value {
                Value::String(text) => text,
                other => other.to_string(),
            };
        } else if !field.name().starts_with("log.") {
            self.others.insert(field.name().to_owned(), value);
        }
    }
}

impl Visit for Values {
    fn record_f64(&mut self, field: &Field, value: f64) {
        let number = Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number);
        self.put(field, number);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

/// Writes the trace that an event is part of like further fields of a line.
pub(super) fn write_trace(out: &mut impl fmt::Write, event: &Event<'_>) -> fmt::Result {
    match trace_of(event) {
        Some(ids) => write!(out, " {TRACE_ID}={} {SPAN_ID}={}", ids.trace, ids.span),
        None => Ok(()),
    }
}

/// Writes the message of an event, then its other fields as ` key=value`, all of it on one line.
pub(super) struct Line<'a, W> {
    pub(super) out: &'a mut W,
    pub(super) message: bool,
    pub(super) result: fmt::Result,
}

impl<W: fmt::Write> Line<'_, W> {
    fn put(&mut self, field: &Field, value: fmt::Arguments<'_>, text: bool) {
        let is_message = field.name() == "message";
        if is_message != self.message || field.name().starts_with("log.") || self.result.is_err() {
            return;
        }
        self.result = if is_message {
            Printable(self.out).write_fmt(value)
        } else if text {
            // Only what could be mistaken for something else gets quotes.
            let value = value.to_string();
            let plain = !value.is_empty()
                && !value.contains(|c: char| c.is_whitespace() || c == '"' || c == '=')
                && printable(&value) == value;
            if plain {
                write!(self.out, " {}={value}", field.name())
            } else {
                write!(self.out, " {}={value:?}", field.name())
            }
        } else {
            write!(self.out, " {}=", field.name()).and_then(|()| Printable(self.out).write_fmt(value))
        };
    }
}

impl<W: fmt::Write> Visit for Line<'_, W> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, format_args!("{value}"), true);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format_args!("{value:?}"), false);
    }
}
