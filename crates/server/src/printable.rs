//! Texts that others wrote, made fit for a terminal.
//!
//! A name, a label or a message may hold signs that steer a terminal, begin a line, or turn the direction of what is
//! read. Whatever a command prints of a file, a server or a name goes through here, and so does the log.

use std::fmt;

use serde_json::Value;

/// A text with an escape for each sign that is not to be read but obeyed; everything else stays as it is.
pub fn printable(text: impl fmt::Display) -> String {
    let mut plain = String::new();
    // Writing to a string cannot fail.
    let _ = fmt::write(&mut Printable(&mut plain), format_args!("{text}"));
    plain
}

/// A value as JSON, with these signs as escapes of JSON: a program reads the same value.
pub fn json(value: &Value, is_pretty: bool) -> String {
    let text = if is_pretty { format!("{value:#}") } else { value.to_string() };
    // The line breaks of the layout are the only control characters that JSON has outside of its escapes.
    let is_plain = |sign: char| sign == '\n' || !steers(sign);
    if text.chars().all(is_plain) {
        return text;
    }
    let mut units = [0; 2];
    text.chars().fold(String::with_capacity(text.len()), |mut out, sign| {
        if is_plain(sign) {
            out.push(sign);
        } else {
            out.extend(sign.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
        out
    })
}

/// Passes on what is written to it, with the escapes of [`printable`].
pub struct Printable<'a, W>(pub &'a mut W);

impl<W: fmt::Write> fmt::Write for Printable<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !text.contains(steers) {
            return self.0.write_str(text);
        }
        for sign in text.chars() {
            if steers(sign) {
                write!(self.0, "{}", sign.escape_default())?;
            } else {
                self.0.write_char(sign)?;
            }
        }
        Ok(())
    }
}

/// Whether a sign does something to a terminal or to the line that it is in: control characters, separators of lines
/// and paragraphs, and marks that set the direction of text.
fn steers(sign: char) -> bool {
    sign.is_control()
        || matches!(
            sign,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEERING: &str = "\0\t\n\r\u{1b}\u{7f}\u{85}\u{9b}\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\
                            \u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}";

    #[test]
    fn what_steers_is_escaped_and_the_rest_stays_readable() {
        for sign in STEERING.chars() {
            let shown = printable(format!("a{sign}b"));
            assert!(shown.starts_with("a\\") && shown.ends_with('b') && !shown.contains(steers), "{shown}");
        }
        assert_eq!(printable("a\n\u{1b}[31m\u{202e}"), "a\\n\\u{1b}[31m\\u{202e}");
        for readable in ["größe/日本 \\n", "שלום", "👩‍👩‍👧 e\u{301}", ""] {
            assert_eq!(printable(readable), readable);
        }
    }

    #[test]
    fn json_is_the_same_value_without_these_signs() {
        let value = serde_json::json!({ STEERING: ["größe", STEERING] });
        for is_pretty in [false, true] {
            let text = json(&value, is_pretty);
            assert!(!text.contains(|sign| sign != '\n' && steers(sign)), "{text:?}");
            assert_eq!(text.contains('\n'), is_pretty);
            assert!(text.contains("größe"));
            assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), value);
        }
    }
}
