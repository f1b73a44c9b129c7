use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};

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
            OneLine(self.out).write_fmt(value)
        } else if text {
            // Only what could be mistaken for something else gets quotes.
            let value = value.to_string();
            let plain = !value.is_empty()
                && value.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != '"' && c != '=');
            if plain {
                write!(self.out, " {}={value}", field.name())
            } else {
                write!(self.out, " {}={value:?}", field.name())
            }
        } else {
            write!(self.out, " {}=", field.name()).and_then(|()| OneLine(self.out).write_fmt(value))
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

/// Escapes control characters, so that nothing a client sends can begin a line of its own.
struct OneLine<'a, W>(&'a mut W);

impl<W: fmt::Write> fmt::Write for OneLine<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !text.contains(char::is_control) {
            return self.0.write_str(text);
        }
        for c in text.chars() {
            if c.is_control() {
                write!(self.0, "{}", c.escape_default())?;
            } else {
                self.0.write_char(c)?;
            }
        }
        Ok(())
    }
}
