//! Reading a table of the file, with an error that names the line for whatever is wrong.

use std::{ops::RangeInclusive, str::FromStr, time::Duration};

use toml::{
    Spanned,
    de::{DeInteger, DeString, DeTable, DeValue},
};

use super::{ConfigError, names::nearest};
use crate::bound;

/// The text of a configuration file and the name it goes by in messages.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
}

impl Source<'_> {
    pub(crate) fn error(&self, offset: usize, message: impl Into<String>) -> ConfigError {
        ConfigError::at(self.file, self.line(offset), message)
    }

    /// The number of the line at this offset, counted from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        before.split(|&byte| byte == b'\n').count()
    }
}

/// A table of the file, together with what a message about it must name.
pub(super) struct Table<'a> {
    source: Source<'a>,
    /// The keys that lead here, joined by dots; empty for the top of the file.
    path: String,
    entries: &'a DeTable<'a>,
}

pub(super) type Entry<'a> = (&'a Spanned<DeString<'a>>, &'a Spanned<DeValue<'a>>);

impl<'a> Table<'a> {
    pub(super) fn top(source: Source<'a>, entries: &'a DeTable<'a>) -> Self {
        Self { source, path: String::new(), entries }
    }

    pub(super) fn source(&self) -> Source<'a> {
        self.source
    }

    /// All entries in the order of the file.
    pub(super) fn entries(&self) -> Vec<Entry<'a>> {
        let mut entries: Vec<Entry<'a>> = self.entries.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        entries
    }

    /// Where a key of this table begins, as an offset in the text.
    pub(super) fn start_of(&self, key: &str) -> Option<usize> {
        self.entries.get_key_value(key).map(|(key, _)| key.span().start)
    }

    /// The full name of a key of this table, quoted where TOML would want it quoted.
    pub(super) fn name_of(&self, key: &str) -> String {
        name_below(&self.path, key)
    }

    /// Refuses every key that is not in `known`, the first of them in the file first.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), ConfigError> {
        for (key, value) in self.entries() {
            let found = key.get_ref().as_ref();
            if !known.contains(&found) {
                return Err(self.unknown(key, value.get_ref(), known));
            }
        }
        Ok(())
    }

    fn unknown(&self, key: &Spanned<DeString<'_>>, value: &DeValue<'_>, known: &[&str]) -> ConfigError {
        let found = key.get_ref().as_ref();
        let advice = match nearest(found, known) {
            Some(name) => format!("did you mean \"{name}\"?"),
            // Older servers skipped what they did not know, so such a line may have been there for years.
            None if self.path.is_empty() && value.is_integer() => {
                format!("a semaphore belongs below [semaphores]; otherwise remove the line ({OLD}).")
            }
            None => format!("remove it ({OLD})."),
        };
        self.source.error(
            key.span().start,
            format!("{}: unknown key; {advice} Known keys: {}.", self.name_of(found), known.join(", ")),
        )
    }

    pub(super) fn integer(&self, key: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, ConfigError> {
        self.read(
            key,
            |value| value.as_integer().and_then(integer).filter(|n| range.contains(n)),
            || integers(&range),
        )
    }

    pub(super) fn boolean(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        let parse = |value: &DeValue<'_>| if let DeValue::Boolean(is) = value { Some(*is) } else { None };
        self.read(key, parse, || "true or false".to_owned())
    }

    /// A part of a whole.
    pub(super) fn ratio(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        let parse = |value: &DeValue<'_>| {
            let whole = value.as_integer().and_then(integer).and_then(|n| i32::try_from(n).ok());
            let part = value.as_float().and_then(|number| number.as_str().parse().ok());
            part.or(whole.map(f64::from)).filter(|ratio| (0.0..=1.0).contains(ratio))
        };
        self.read(key, parse, || "a number from 0 to 1".to_owned())
    }

    pub(super) fn duration(
        &self,
        key: &str,
        range: RangeInclusive<Duration>,
    ) -> Result<Option<Duration>, ConfigError> {
        let parse = |value: &DeValue<'_>| {
            let duration = humantime::parse_duration(value.as_str()?).ok()?;
            range.contains(&duration).then_some(duration)
        };
        self.read(key, parse, || {
            let (least, most) = (range.start(), range.end());
            format!(
                "a duration such as \"30s\" or \"1h 30m\", from {} to {}",
                bound::shown(*least),
                bound::shown(*most)
            )
        })
    }

    /// A string that is not empty; `what` says what it stands for.
    pub(super) fn string(&self, key: &str, what: &str) -> Result<Option<String>, ConfigError> {
        let parse = |value: &DeValue<'_>| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        self.read(key, parse, || format!("{what}, as a string that is not empty"))
    }

    /// A string that stands for a value; `what` says how it looks.
    pub(super) fn parsed<T: FromStr>(&self, key: &str, what: &str) -> Result<Option<T>, ConfigError> {
        let parse = |value: &DeValue<'_>| value.as_str()?.parse().ok();
        self.read(key, parse, || what.to_owned())
    }

    /// A list of strings that all pass `is_right`; `what` says what each of them is.
    pub(super) fn strings(
        &self,
        key: &str,
        is_right: impl Fn(&str) -> bool,
        what: &str,
    ) -> Result<Option<Vec<String>>, ConfigError> {
        let Some(value) = self.entries.get(key) else { return Ok(None) };
        let Some(items) = value.get_ref().as_array() else {
            return Err(self.wrong(key, value, &list_of(what)));
        };
        let read = |(index, item): (usize, &Spanned<DeValue<'_>>)| {
            let text = item.get_ref().as_str().filter(|text| is_right(text)).map(str::to_owned);
            text.ok_or_else(|| {
                let (name, found) = (self.name_of(key), show(item.get_ref()));
                let message = format!("{name}: found {found} as entry {}; allowed: {what}.", index + 1);
                self.source.error(item.span().start, message)
            })
        };
        items.iter().enumerate().map(read).collect::<Result<_, _>>().map(Some)
    }

    /// One of a few words, upper or lower case.
    pub(super) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Result<Option<T>, ConfigError> {
        let parse = |value: &DeValue<'_>| {
            let found = value.as_str()?;
            choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(found)).map(|&(_, choice)| choice)
        };
        self.read(key, parse, || {
            let names: Vec<String> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
            format!("one of {}", names.join(", "))
        })
    }

    pub(super) fn table(&self, key: &str) -> Result<Option<Table<'a>>, ConfigError> {
        let Some(value) = self.entries.get(key) else { return Ok(None) };
        match value.get_ref().as_table() {
            Some(entries) => Ok(Some(self.below(key, entries))),
            None => Err(self.wrong(key, value, "a table")),
        }
    }

    pub(super) fn below(&self, key: &str, entries: &'a DeTable<'a>) -> Table<'a> {
        Table { source: self.source, path: self.name_of(key), entries }
    }

    /// The error for a key that must be there. Names the line where its table begins.
    pub(super) fn missing(&self, key: &str, offset: usize, allowed: &str) -> ConfigError {
        self.source.error(offset, format!("{}: missing; allowed: {allowed}.", self.name_of(key)))
    }

    /// The error for a value that is not what it must be.
    pub(super) fn wrong(&self, key: &str, value: &Spanned<DeValue<'_>>, allowed: &str) -> ConfigError {
        let message = format!("{}: found {}; allowed: {allowed}.", self.name_of(key), show(value.get_ref()));
        self.source.error(value.span().start, message)
    }

    fn read<T>(
        &self,
        key: &str,
        parse: impl FnOnce(&DeValue<'_>) -> Option<T>,
        allowed: impl FnOnce() -> String,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.entries.get(key) else { return Ok(None) };
        match parse(value.get_ref()) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(self.wrong(key, value, &allowed())),
        }
    }
}

/// The full name of a key of the table at `path`.
pub(super) fn name_below(path: &str, key: &str) -> String {
    let bare = !key.is_empty()
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    let key = if bare { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// What is allowed where a list of these is.
pub(super) fn list_of(what: &str) -> String {
    format!("a list, of which each entry is {what}")
}

const OLD: &str = "older versions ignored such keys";

pub(super) fn integer(value: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(value.as_str(), value.radix()).ok()
}

pub(super) fn integers(range: &RangeInclusive<i64>) -> String {
    format!("an integer from {} to {}", range.start(), range.end())
}

fn show(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.chars().count() > 60 => {
            let start: String = text.chars().take(60).collect();
            format!("string {:?}", format!("{start}…"))
        }
        DeValue::String(text) => format!("string {:?}", text.as_ref()),
        DeValue::Integer(number) => format!("integer {number}"),
        DeValue::Float(number) => format!("float {number}"),
        DeValue::Boolean(truth) => format!("boolean {truth}"),
        DeValue::Datetime(time) => format!("date {time}"),
        DeValue::Array(_) => "an array".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
