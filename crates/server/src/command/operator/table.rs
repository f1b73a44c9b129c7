//! Columns of text.

use serde_json::Value;

/// Rows under a head, each column as wide as its widest cell.
pub(super) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// A value as a person reads it. What a client sent may hold signs that steer a terminal; they are shown as escapes.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => printable(text),
        other => other.to_string(),
    }
}

/// A text without signs that steer a terminal, or turn the direction of what is read; they are shown as escapes.
pub(super) fn printable(text: &str) -> String {
    text.chars().flat_map(plain).collect()
}

fn plain(letter: char) -> Box<dyn Iterator<Item = char>> {
    let turns = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if letter.is_control() {
        Box::new(letter.escape_default())
    } else if turns {
        Box::new(letter.escape_unicode())
    } else {
        Box::new(std::iter::once(letter))
    }
}
