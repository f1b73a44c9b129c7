//! The server's clock, which times in its answers go by.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

/// Smaller differences are within what the header `Date`, which has whole seconds, and a slow network can tell.
const NOTEWORTHY_MS: u64 = 1500;

/// By how much the server's clock is ahead of that of this machine. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct ServerTime {
    ahead_ms: Arc<AtomicI64>,
}

impl ServerTime {
    /// An answer with this header `Date` arrived just now.
    pub(crate) fn learn(&self, date: &str) {
        if let Ok(date) = httpdate::parse_http_date(date) {
            self.ahead_ms.store(ahead_ms(date, SystemTime::now()), Ordering::Relaxed);
        }
    }

    pub(crate) fn now(&self) -> SystemTime {
        let (now, ahead_ms) = (SystemTime::now(), self.ahead_ms.load(Ordering::Relaxed));
        let difference = Duration::from_millis(ahead_ms.unsigned_abs());
        let moved = if ahead_ms < 0 { now.checked_sub(difference) } else { now.checked_add(difference) };
        moved.unwrap_or(now)
    }
}

/// `date` was cut to a whole second, so the middle of that is the best guess.
fn ahead_ms(date: SystemTime, now: SystemTime) -> i64 {
    let date = date + Duration::from_millis(500);
    let whole = |difference: Duration| i64::try_from(difference.as_millis()).unwrap_or_default();
    let ahead_ms = match date.duration_since(now) {
        Ok(ahead) => whole(ahead),
        Err(behind) => -whole(behind.duration()),
    };
    if ahead_ms.unsigned_abs() < NOTEWORTHY_MS { 0 } else { ahead_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_wrong_is_made_up_for() {
        let second = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        assert_eq!(ahead_ms(second(1000), second(1000)), 0);
        assert_eq!(ahead_ms(second(1000), second(1001)), 0);
        assert_eq!(ahead_ms(second(1060), second(1000)), 60_500);
        assert_eq!(ahead_ms(second(940), second(1000)), -59_500);

        let time = ServerTime::default();
        let hour = Duration::from_hours(1);
        time.learn(&httpdate::fmt_http_date(SystemTime::now() + hour));
        let ahead = time.now().duration_since(SystemTime::now()).unwrap();
        assert!(ahead.abs_diff(hour) < Duration::from_secs(2), "{ahead:?}");
        time.learn("yesterday");
        assert!(time.now() > SystemTime::now() + hour / 2, "what is no date says nothing");
        time.learn(&httpdate::fmt_http_date(SystemTime::now() - hour));
        assert!(time.now() < SystemTime::now() - hour / 2);
    }
}
