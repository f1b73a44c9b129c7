//! Numbers, times and durations as this dialect writes them.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Unexpected, Visitor},
};
#[cfg(feature = "openapi")]
use utoipa::ToSchema;

/// The last second that RFC 3339 can write, since the epoch.
const YEAR_9999: Duration = Duration::from_secs(253_402_300_799);

/// A 64-bit number as a string, since JavaScript cannot hold all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[cfg_attr(
    feature = "openapi",
    schema(value_type = String, pattern = "^[0-9]{1,20}$", example = "15248218688310292863")
)]
pub struct Digits(pub u64);

/// A point in time by the wall clock, RFC 3339, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[cfg_attr(
    feature = "openapi",
    schema(value_type = String, format = DateTime, example = "2026-03-03T19:02:42.000000Z")
)]
pub struct Stamp(u64);

/// A length of time, rounded to milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, example = "1m 30s"))]
pub struct Span(pub Duration);

impl Stamp {
    /// The point `micros` microseconds after the epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }
}

impl From<SystemTime> for Stamp {
    fn from(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
    }
}

impl From<Stamp> for SystemTime {
    fn from(stamp: Stamp) -> Self {
        // As far as it can be written, which every system can count to.
        UNIX_EPOCH + Duration::from_micros(stamp.0).min(YEAR_9999)
    }
}

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_micros((*self).into()).fmt(f)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let half = Duration::from_micros(500);
        let millis = u64::try_from(self.0.saturating_add(half).as_millis()).unwrap_or(u64::MAX);
        humantime::format_duration(Duration::from_millis(millis)).fmt(f)
    }
}

impl Serialize for Digits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = |text: &str| if is_digits(text) { text.parse().ok().map(Self) } else { None };
        deserializer.deserialize_str(Reader { expected: "a string of digits, a number of 64 bits", read })
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = |text: &str| humantime::parse_rfc3339(text).ok().map(Self::from);
        deserializer.deserialize_str(Reader { expected: "a time as RFC 3339 writes it, in UTC", read })
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = |text: &str| humantime::parse_duration(text).ok().map(Self);
        deserializer.deserialize_str(Reader { expected: "a duration such as \"1m 30s\"", read })
    }
}

/// Whether this is a number as this dialect writes it, be it beyond 64 bits.
pub(crate) fn is_digits(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Reads a string without a copy of it.
pub(crate) struct Reader<F> {
    /// What is right, for the sentence that refuses all else.
    pub(crate) expected: &'static str,
    pub(crate) read: F,
}

impl<T, F: Fn(&str) -> Option<T>> Visitor<'_> for Reader<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.read)(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_durations_are_written_for_people() {
        assert_eq!(Stamp::from_micros(1_500_000).to_string(), "1970-01-01T00:00:01.500000Z");
        assert_eq!(Stamp::from_micros(u64::MAX).to_string(), "9999-12-31T23:59:59.000000Z");
        for (micros, text) in [(0, "0s"), (499, "0s"), (500, "1ms"), (1_234_567, "1s 235ms")] {
            assert_eq!(Span(Duration::from_micros(micros)).to_string(), text);
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let values =
            (Digits(u64::MAX), Stamp::from_micros(1_772_564_562_000_001), Span(Duration::from_secs(90)));
        let text = serde_json::to_string(&values).unwrap();
        assert_eq!(text, r#"["18446744073709551615","2026-03-03T19:02:42.000001Z","1m 30s"]"#);
        assert_eq!(serde_json::from_str::<(Digits, Stamp, Span)>(&text).unwrap(), values);
    }

    #[test]
    fn what_is_no_number_time_or_duration_is_refused() {
        for wrong in [r#""""#, r#""+1""#, r#""-1""#, r#""18446744073709551616""#, "1", "null"] {
            assert!(serde_json::from_str::<Digits>(wrong).is_err(), "{wrong}");
        }
        for wrong in [r#""yesterday""#, r#""""#, "0"] {
            assert!(serde_json::from_str::<Stamp>(wrong).is_err(), "{wrong}");
            assert!(serde_json::from_str::<Span>(wrong).is_err(), "{wrong}");
        }
    }
}
