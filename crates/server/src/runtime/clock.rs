//! The one place that reads the clock for the core.

#![expect(clippy::disallowed_methods, reason = "this is the clock module")]

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use throttle_core::Time;
use throttle_journal::{Wall, WallTime};

use super::lead::Lead;

/// A pause in which nothing read the clock for longer than this means that the server itself stood still.
const STANDSTILL: Duration = Duration::from_secs(1);

/// The longest time between two readings of the clock while the server runs as it should.
pub(super) const TICK: Duration = Duration::from_millis(200);

/// By how much the wall clock must have moved against the time of leases to be taken for set. Two clocks are not read
/// at the same moment, and what is shown of the same moment must not tremble.
const SET: Duration = Duration::from_millis(10);

/// How often both clocks are read to find out where they stand.
const READINGS: usize = 5;

/// What the wall clock shows.
pub fn wall_now() -> WallTime {
    SystemTime::now().into()
}

/// The time of leases: a monotonic clock that begins at the time of day, and does not count the time in which the
/// server stood still: so no lease runs out while its heartbeats could not be heard.
///
/// Beside it, how far the wall clock is from there. It is set by people and other machines, it goes on while this one
/// is suspended, and what is shown is always by it.
pub(super) struct Clock {
    source: Source,
    /// What the time was at the origin, less every standstill since.
    base: Time,
    /// The last reading, as time since the origin.
    last: Duration,
    /// Where the wall clock is.
    wall: Wall,
    /// When that was looked at last, unless the server stood still since.
    wall_seen: Option<Time>,
}

/// Where time comes from.
#[derive(Clone)]
enum Source {
    /// The time since this moment.
    Since(Instant),
    /// That of a leader of several servers, which goes on while it is confirmed that it leads.
    Lead(Arc<Lead>),
}

impl Source {
    fn elapsed(&self) -> Duration {
        match self {
            Self::Since(origin) => origin.elapsed(),
            Self::Lead(lead) => lead.counted(),
        }
    }
}

impl Clock {
    /// A clock from which the wall clock is as far as `wall`, as it was in an earlier run; but not before `least`: the
    /// wall clock may have been set back since.
    pub(super) fn start(least: Time, wall: Wall, lead: Option<Arc<Lead>>) -> Self {
        let base = wall.time_of(wall_now()).max(least);
        let source = lead.map_or_else(|| Source::Since(Instant::now()), Source::Lead);
        Self { source, base, last: Duration::ZERO, wall, wall_seen: None }
    }

    pub(super) fn now(&mut self) -> Time {
        self.read(self.source.elapsed())
    }

    fn read(&mut self, elapsed: Duration) -> Time {
        let pause = elapsed.saturating_sub(self.last);
        if pause > STANDSTILL {
            self.base = Time::default() + self.base.since(Time::default()).saturating_sub(pause);
            self.wall_seen = None;
        }
        self.last = elapsed.max(self.last);
        self.base + self.last
    }

    /// Where the wall clock is now, which is `now` for leases. It is read once for each `now`, so that a command that
    /// shows nothing, and makes nothing happen, does not read it.
    pub(super) fn wall(&mut self, now: Time) -> Wall {
        if self.wall_seen != Some(now) {
            self.wall_seen = Some(now);
            let (source, base) = (self.source.clone(), self.base);
            let read = || {
                let before = source.elapsed();
                let wall = wall_now();
                (Wall::between(base + before, wall), source.elapsed().saturating_sub(before))
            };
            self.see(Wall::between(now, wall_now()), read);
        }
        self.wall
    }

    /// Takes a look at the wall clock. If that seems to be set, `read` tells where it is, and how long it took to find
    /// that out: this thread may have been held up between the readings of two clocks.
    fn see(&mut self, seen: Wall, mut read: impl FnMut() -> (Wall, Duration)) {
        if seen.distance(self.wall) <= SET {
            return;
        }
        let readings = std::iter::repeat_with(&mut read).take(READINGS);
        if let Some((wall, _)) = readings.min_by_key(|&(_, took)| took)
            && wall.distance(self.wall) > SET
        {
            self.wall = wall;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    #[test]
    fn a_standstill_does_not_count() {
        let mut clock = Clock::start(Time::default(), Wall::default(), None);
        let ms = Duration::from_millis;
        let start = clock.read(ms(0));
        assert_eq!(clock.read(ms(1_000)).since(start), ms(1_000), "a second is no standstill");
        assert_eq!(clock.read(ms(61_000)).since(start), ms(1_000), "a minute is");
        assert_eq!(clock.read(ms(61_500)).since(start), ms(1_500));
        assert_eq!(clock.read(ms(61_400)).since(start), ms(1_500), "it never runs backwards");
    }

    #[test]
    fn it_goes_on_where_an_earlier_run_ended() {
        let now = || Wall::default().time_of(wall_now());
        let later = now() + Duration::from_hours(1);
        assert!(Clock::start(later, Wall::default(), None).now() >= later, "the wall clock was set back");
        assert!(Clock::start(Time::default(), Wall::default(), None).now() < later);
        let mut behind = Clock::start(Time::default(), Wall::ahead_by_micros(HOUR), None);
        let start = behind.now();
        assert!(start + Duration::from_mins(59) < now(), "the wall clock was ahead by an hour");
        assert_eq!(
            behind.wall(start),
            Wall::ahead_by_micros(HOUR),
            "to the microsecond, as it was shown before"
        );
    }

    #[test]
    fn the_wall_clock_is_followed_when_it_is_set() {
        let mut clock = Clock::start(Time::default(), Wall::default(), None);
        let at = Wall::ahead_by_micros;
        let quick = Duration::from_nanos(50);
        for (shows, ahead) in
            [(HOUR, HOUR), (HOUR + 9_000, HOUR), (HOUR + 11_000, HOUR + 11_000), (-HOUR, -HOUR), (0, 0)]
        {
            clock.see(at(shows), || (at(shows), quick));
            assert_eq!(clock.wall, at(ahead), "{shows}");
        }
        // It is not taken for set because this thread was held up between the readings of two clocks.
        clock.see(at(70_000), || (at(3), quick));
        assert_eq!(clock.wall, at(0));
        let mut readings = [(90_000, 90), (80_000, 80), (12_000, 1), (85_000, 85), (95_000, 95)].into_iter();
        clock.see(at(70_000), || {
            let (ahead, took_ms) = readings.next().unwrap();
            (at(ahead), Duration::from_millis(took_ms))
        });
        assert_eq!(clock.wall, at(12_000), "the quickest reading is the best");
    }

    #[test]
    fn after_a_standstill_the_wall_clock_is_further_away() {
        let mut clock = Clock::start(Time::default(), Wall::default(), None);
        let start = clock.read(Duration::ZERO);
        let shown = clock.wall(start).at(start).as_micros();
        let now = clock.read(Duration::from_hours(1));
        assert_eq!((now, clock.wall_seen), (start, None), "it is looked at again");
        let seen = Wall::between(now, WallTime::from_micros(shown + HOUR.unsigned_abs()));
        clock.see(seen, || (seen, Duration::ZERO));
        assert_eq!(clock.wall.at(now).as_micros(), shown + HOUR.unsigned_abs());
    }
}
