//! The one place that reads the clock for the core.

#![expect(clippy::disallowed_methods, reason = "this is the clock module")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use throttle_core::Time;

/// A pause in which nothing read the clock for longer than this means that the server itself stood still.
const STANDSTILL: Duration = Duration::from_secs(1);

/// The longest time between two readings of the clock while the server runs as it should.
pub(super) const TICK: Duration = Duration::from_millis(200);

/// A monotonic clock that begins at the time of day, and does not count the time in which the server stood
/// still: so no lease runs out while its heartbeats could not be heard.
#[derive(Debug)]
pub(super) struct Clock {
    origin: Instant,
    /// What the time was at `origin`, less every standstill since.
    base: Time,
    /// The last reading, as time since `origin`.
    last: Duration,
}

impl Clock {
    /// A clock that shows the time of day, or `least` if that is later: the time of day may have been set back since
    /// an earlier run.
    pub(super) fn start(least: Time) -> Self {
        Self { origin: Instant::now(), base: time_of_day().max(least), last: Duration::ZERO }
    }

    pub(super) fn now(&mut self) -> Time {
        self.read(self.origin.elapsed())
    }

    fn read(&mut self, elapsed: Duration) -> Time {
        let pause = elapsed.saturating_sub(self.last);
        if pause > STANDSTILL {
            self.base = Time::default() + self.base.since(Time::default()).saturating_sub(pause);
        }
        self.last = elapsed.max(self.last);
        self.base + self.last
    }
}

/// The time of day.
pub fn time_of_day() -> Time {
    Time::default() + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standstill_does_not_count() {
        let mut clock = Clock::start(Time::default());
        let ms = Duration::from_millis;
        let start = clock.read(ms(0));
        assert_eq!(clock.read(ms(1_000)).since(start), ms(1_000), "a second is no standstill");
        assert_eq!(clock.read(ms(61_000)).since(start), ms(1_000), "a minute is");
        assert_eq!(clock.read(ms(61_500)).since(start), ms(1_500));
        assert_eq!(clock.read(ms(61_400)).since(start), ms(1_500), "it never runs backwards");
    }

    #[test]
    fn it_goes_on_where_an_earlier_run_ended() {
        let later = time_of_day() + Duration::from_hours(1);
        assert!(Clock::start(later).now() >= later, "the time of day was set back");
        assert!(Clock::start(Time::default()).now() < later);
    }
}
