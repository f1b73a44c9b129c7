//! Bounds of durations, as people write them.

use std::time::Duration;

/// Units that a bound may be a whole number of, the largest first, in nanoseconds. A year has 365.25 days, as where
/// durations are read.
const UNITS: [(u128, &str); 7] = [
    (31_557_600_000_000_000, "years"),
    (86_400_000_000_000, "days"),
    (3_600_000_000_000, "h"),
    (60_000_000_000, "m"),
    (1_000_000_000, "s"),
    (1_000_000, "ms"),
    (1_000, "us"),
];

/// A duration in one unit, which can be read again: `10years`, `365days`, `24h`, `90s`.
pub(crate) fn shown(bound: Duration) -> String {
    let nanos = bound.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    // One year and one day are 365days and 24h to most people.
    let fits = |(unit, name): &&(u128, &str)| {
        nanos.is_multiple_of(*unit) && (!matches!(*name, "years" | "days") || nanos / unit > 1)
    };
    match UNITS.iter().find(fits) {
        Some((unit, name)) => format!("{}{name}", nanos / unit),
        None => humantime::format_duration(bound).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_has_one_unit_and_can_be_read_again() {
        for text in ["0s", "1us", "1ms", "90s", "5m", "24h", "30days", "365days", "10years"] {
            let bound = humantime::parse_duration(text).expect("a duration");
            assert_eq!(shown(bound), text);
        }
    }
}
