//! Words that messages share: numbers with their noun, and durations that bound others.

use std::time::Duration;

const DAY: u64 = 24 * 60 * 60;

/// A number and its noun, such as `1 peer` or `3 peers`.
pub(crate) fn many(number: usize, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

/// A duration as a bound: of more than a month in whole days, where it has them, since months and years are of odd
/// lengths.
pub(crate) fn bound(duration: Duration) -> String {
    let days = duration.as_secs() / DAY;
    let usual = humantime::format_duration(duration).to_string();
    let is_whole = duration == Duration::from_secs(days * DAY);
    if days > 30 && is_whole && usual.contains(' ') { format!("{days}days") } else { usual }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_bounds() {
        assert_eq!([0, 1, 2].map(|number| many(number, "peer")), ["0 peers", "1 peer", "2 peers"]);
        for text in ["0s", "1ms", "1h", "1day", "365days", "400days", "10years", "1h 30m", "366days 1s"] {
            let duration = humantime::parse_duration(text).unwrap();
            let said = bound(duration);
            assert_eq!(humantime::parse_duration(&said), Ok(duration), "{said}");
            assert!(text == said || text == "366days 1s", "{said}");
        }
    }
}
