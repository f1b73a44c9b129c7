//! Durations on a command line, with what is wrong about one in words.

use std::time::Duration;

use throttle_service::config::{PER, TEN_YEARS};

/// A duration.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "write a duration with its unit, such as 30s, 5m or \"1h 30m\"".to_owned())
}

/// How long a lease is to last.
pub(crate) fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = duration(text)?;
    if ttl < Duration::from_secs(1) {
        return Err("less than 1s leaves no time for a renewal".to_owned());
    }
    if ttl > TEN_YEARS {
        return Err("it is longer than 10 years, which is the most".to_owned());
    }
    Ok(ttl)
}

/// A rate as the server takes it: a duration, or `none`.
pub(crate) fn rate(text: &str) -> Result<String, String> {
    if text != "none" && !PER.contains(&duration(text)?) {
        return Err("a rate is from 1ms to 365 days; none stands for no rate".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_told_in_words() {
        for text in ["30s", "1h 30m", "10years"] {
            assert_eq!(ttl(text), duration(text), "{text}");
        }
        for text in ["1ms", "365days", "none"] {
            assert_eq!(rate(text).as_deref(), Ok(text));
        }
        for (outcome, expected) in [
            (ttl("999ms").map(drop), "less than 1s"),
            (ttl("11years").map(drop), "longer than 10 years"),
            (ttl("5").map(drop), "write a duration with its unit"),
            (rate("0s").map(drop), "from 1ms to 365 days; none stands for"),
            (rate("366days").map(drop), "from 1ms to 365 days"),
            (rate("soon").map(drop), "write a duration"),
        ] {
            let why = outcome.expect_err(expected);
            assert!(why.contains(expected), "{why}");
        }
    }
}
