//! Numbers, times and durations as this dialect writes them.

use std::{fmt, time::Duration};

use serde::{Serialize, Serializer};
use throttle_core::Labels;
use utoipa::ToSchema;

use throttle_journal::WallTime;

/// A 64-bit number as a string, since JavaScript cannot hold all of them.
#[derive(Clone, Copy, Debug, ToSchema)]
#[schema(value_type = String, pattern = "^[0-9]{1,20}$", example = "15248218688310292863")]
pub(in crate::http::v1) struct Digits(pub(in crate::http::v1) u64);

/// A point in time by the wall clock, RFC 3339, UTC.
#[derive(Clone, Copy, Debug, Default, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-03-03T19:02:42.000000Z")]
pub(in crate::http) struct Stamp(pub(in crate::http) WallTime);

/// A length of time, rounded to milliseconds.
#[derive(Clone, Copy, Debug, ToSchema)]
#[schema(value_type = String, example = "1m 30s")]
pub(in crate::http::v1) struct Span(pub(in crate::http::v1) Duration);

/// What a client tells of a peer.
#[derive(Clone, Debug, ToSchema)]
#[schema(value_type = BTreeMap<String, String>, example = json!({"host": "w1"}))]
pub(in crate::http::v1) struct LabelsOf(pub(in crate::http::v1) Option<Labels>);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
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

impl Serialize for LabelsOf {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().flat_map(|labels| labels.iter()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_durations_are_written_for_people() {
        assert_eq!(Stamp(WallTime::from_micros(1_500_000)).to_string(), "1970-01-01T00:00:01.500000Z");
        for (micros, text) in [(0, "0s"), (499, "0s"), (500, "1ms"), (1_234_567, "1s 235ms")] {
            assert_eq!(Span(Duration::from_micros(micros)).to_string(), text);
        }
    }
}
