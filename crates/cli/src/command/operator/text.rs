//! Figures, times and names as a person reads them in little room.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use throttle_api::{Deadlock, Labels, Semaphore};
use throttle_service::printable::printable;

/// A length of time by its two largest units.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let (large, small) = if days > 0 {
        (format!("{days}d"), (hours % 24, 'h'))
    } else if hours > 0 {
        (format!("{hours}h"), (minutes % 60, 'm'))
    } else if minutes > 0 {
        (format!("{minutes}m"), (seconds % 60, 's'))
    } else {
        return format!("{seconds}s");
    };
    match small {
        (0, _) => large,
        (number, unit) => format!("{large} {number}{unit}"),
    }
}

/// How long ago it was.
pub(super) fn age(since: impl Into<SystemTime>, now: SystemTime) -> String {
    span(now.duration_since(since.into()).unwrap_or_default())
}

/// How long it is until then.
pub(super) fn until(then: impl Into<SystemTime>, now: SystemTime) -> String {
    match then.into().duration_since(now) {
        // A tenth of a second left is not nothing.
        Ok(left) => span(left + Duration::from_millis(999)),
        Err(_) => "due".to_owned(),
    }
}

/// A count; large ones are rounded.
pub(super) fn count(number: i64) -> String {
    const UNITS: [(u64, &str); 5] = [
        (1_000_000_000_000_000_000, "E"),
        (1_000_000_000_000_000, "P"),
        (1_000_000_000_000, "T"),
        (1_000_000_000, "G"),
        (1_000_000, "M"),
    ];
    let sign = if number < 0 { "-" } else { "" };
    let size = number.unsigned_abs();
    match UNITS.iter().find(|(unit, _)| size >= *unit) {
        Some((unit, letter)) => format!("{sign}{}.{}{letter}", size / unit, size % unit / (unit / 10)),
        None => number.to_string(),
    }
}

/// The level of a semaphore, if it says anything: where deadlocks are detected, the one that all have does not.
pub(super) fn level(semaphore: &Semaphore) -> Option<i32> {
    (semaphore.deadlock != Deadlock::Detect || semaphore.level != 0).then_some(semaphore.level)
}

/// The verb that goes with a number.
pub(super) fn verb(number: impl TryInto<u64>, one: &'static str, many: &'static str) -> &'static str {
    if matches!(number.try_into(), Ok(1)) { one } else { many }
}

/// A bar of so many cells, full for 1.0.
pub(super) fn bar(share: f64, cells: usize) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "it is between zero and a few cells"
    )]
    let full = (share.clamp(0.0, 1.0) * cells as f64).round() as usize;
    // Something is not nothing.
    let full = if share > 0.0 { full.max(1) } else { full };
    "█".repeat(full) + &"░".repeat(cells.saturating_sub(full))
}

/// The labels that name a peer; the others describe it.
const NAMING: [&str; 3] = ["program", "user", "host"];

/// A peer in few words: program, user and host.
pub(in crate::command) fn name_of(labels: &BTreeMap<String, String>) -> Option<String> {
    throttle_client::who(
        &labels.iter().filter(|(key, _)| NAMING.contains(&key.as_str())).map(owned).collect(),
    )
}

/// What else its labels tell of a peer.
pub(super) fn more_of(labels: &BTreeMap<String, String>) -> Option<String> {
    throttle_client::who(
        &labels.iter().filter(|(key, _)| !NAMING.contains(&key.as_str())).map(owned).collect(),
    )
}

fn owned((key, value): (&String, &String)) -> (String, String) {
    (key.clone(), value.clone())
}

/// A peer by its labels, the usual ones first.
pub(super) fn who(labels: &Labels) -> String {
    throttle_client::who(&labels.to_map()).map_or_else(|| "-".to_owned(), printable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_two_units() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (61, "1m 1s"),
            (300, "5m"),
            (7_200, "2h"),
            (7_320, "2h 2m"),
            (200_000, "2d 7h"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        assert_eq!(until(now + Duration::from_millis(100), now), "1s");
        assert_eq!(until(now, now + Duration::from_secs(1)), "due");
        assert_eq!(age(now + Duration::from_secs(1), now), "0s");
    }

    #[test]
    fn counts_stay_short() {
        let shown =
            [(-3, "-3"), (999_999, "999999"), (1_250_000, "1.2M"), (i64::MAX, "9.2E"), (i64::MIN, "-9.2E")];
        for (number, text) in shown {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn one_waits_and_others_wait() {
        assert_eq!([0, 1, 2].map(|number: i64| verb(number, "waits", "wait")), ["wait", "waits", "wait"]);
    }

    #[test]
    fn bars_show_a_little_and_never_too_much() {
        let shown = [
            (0.0, "░░░░"),
            (0.01, "█░░░"),
            (0.5, "██░░"),
            (1.0, "████"),
            (3.0, "████"),
            (f64::INFINITY, "████"),
        ];
        for (share, text) in shown {
            assert_eq!(bar(share, 4), text);
        }
    }

    #[test]
    fn a_peer_is_named_by_its_labels() {
        let labels = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            Labels::from(pairs.collect::<BTreeMap<_, _>>())
        };
        let all = [("host", "w1"), ("program", "im\u{1b}port"), ("user", "jane"), ("team", "blue")];
        assert_eq!(who(&labels(&all)), "im\\u{1b}port jane@w1 team=blue");
        assert_eq!(who(&labels(&[("host", "w1")])), "@w1");
        assert_eq!(who(&labels(&[])), "-");
        let (name, more) = (name_of(&labels(&all).to_map()), more_of(&labels(&all).to_map()));
        assert_eq!((name.as_deref(), more.as_deref()), (Some("im\u{1b}port jane@w1"), Some("team=blue")));
        let (name, more) = (name_of(&labels(&all[3..]).to_map()), more_of(&labels(&all[..1]).to_map()));
        assert_eq!((name, more), (None, None));
    }
}
