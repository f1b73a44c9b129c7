//! A key that is there twice: which one, of which table.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::{
    ConfigError,
    table::{Source, name_below},
};

/// The error for the key at `place`, which its table has already.
pub(crate) fn duplicate(source: Source<'_>, place: Range<usize>) -> ConfigError {
    // Best effort: the first of the two is there, whatever is wrong behind it.
    let (document, _) = DeTable::parse_recoverable(source.text);
    let text = source.text.get(place.clone()).unwrap_or_default();
    let mut search = Search { source, at: place.start, text, nearest: None };
    search.look("", document.get_ref());
    let (name, first) = match search.nearest {
        Some((start, name)) if start < place.start => {
            (name, format!("it is in line {} already; ", source.line(start)))
        }
        Some((_, name)) => (name, String::new()),
        None => (text.to_owned(), String::new()),
    };
    source.error(place.start, format!("{name}: duplicate key; {first}keep one of the two."))
}

struct Search<'a> {
    source: Source<'a>,
    at: usize,
    /// The key as it is written.
    text: &'a str,
    /// The last one up to it that is the same: where, and its full name. Of tables, it is the second one itself.
    nearest: Option<(usize, String)>,
}

impl Search<'_> {
    fn look(&mut self, path: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let (start, name) = (key.span().start, name_below(path, key.get_ref()));
            let is_same =
                self.source.text.get(key.span()) == Some(self.text) || **key.get_ref() == *self.text;
            let is_nearer = self.nearest.as_ref().is_none_or(|(nearest, _)| *nearest < start);
            if is_same && start <= self.at && is_nearer {
                self.nearest = Some((start, name.clone()));
            }
            self.look_into(&name, value.span(), value.get_ref());
        }
    }

    fn look_into(&mut self, name: &str, place: Range<usize>, value: &DeValue<'_>) {
        match value {
            // A table within braces ends with them; one with a head goes on until the next.
            DeValue::Table(_) if self.has_braces(&place) && !place.contains(&self.at) => {}
            DeValue::Table(table) => self.look(name, table),
            DeValue::Array(items) => {
                for item in items {
                    self.look_into(name, item.span(), item.get_ref());
                }
            }
            _ => {}
        }
    }

    fn has_braces(&self, place: &Range<usize>) -> bool {
        self.source.text.get(place.clone()).is_some_and(|text| text.starts_with('{'))
    }
}
