//! The wall clock: what people and other machines take for the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use throttle_core::Time;

/// A point in time by the wall clock, in microseconds since the epoch.
///
/// Not a [`Time`], which is what the core and the journal count in: that one stands still while the server does, and
/// does not follow when the wall clock is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime(u64);

/// The distance from the time of leases to the wall clock, at one moment: what turns the first into the second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wall {
    /// By how much the wall clock is ahead, in microseconds.
    ahead_us: i64,
}

impl WallTime {
    /// The point `micros` microseconds after the epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }
}

impl From<SystemTime> for WallTime {
    fn from(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
    }
}

impl Wall {
    /// A wall clock that is ahead by so many microseconds.
    pub const fn ahead_by_micros(ahead_us: i64) -> Self {
        Self { ahead_us }
    }

    /// The one that shows `wall` when it is `now` for leases.
    pub fn between(now: Time, wall: WallTime) -> Self {
        // Both are far below the largest number; a difference of such is exact.
        let ahead_us = i128::from(wall.0) - i128::from(now.as_micros());
        Self { ahead_us: i64::try_from(ahead_us).unwrap_or(i64::MAX) }
    }

    /// By how much the wall clock is ahead, in microseconds.
    pub const fn ahead_micros(self) -> i64 {
        self.ahead_us
    }

    /// What the wall clock shows at a time of leases.
    pub const fn at(self, time: Time) -> WallTime {
        WallTime(time.as_micros().saturating_add_signed(self.ahead_us))
    }

    /// What time it is for leases when the wall clock shows this.
    pub const fn time_of(self, wall: WallTime) -> Time {
        Time::from_micros(wall.0.saturating_add_signed(self.ahead_us.saturating_neg()))
    }

    /// By how much two of them differ.
    pub const fn distance(self, other: Self) -> Duration {
        Duration::from_micros(self.ahead_us.abs_diff(other.ahead_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_is_kept_in_both_directions() {
        for (now, wall) in [(1_000, 5_000), (5_000, 1_000), (7, 7)] {
            let (now, wall) = (Time::from_micros(now), WallTime(wall));
            let clock = Wall::between(now, wall);
            assert_eq!((clock.at(now), clock.time_of(wall)), (wall, now));
        }
        let ahead = Wall::ahead_by_micros(-10);
        assert_eq!(ahead.at(Time::from_micros(3)), WallTime(0), "before the epoch is not shown");
        assert_eq!(Wall::ahead_by_micros(i64::MAX).at(Time::from_micros(u64::MAX)), WallTime(u64::MAX));
        assert_eq!(ahead.distance(Wall::ahead_by_micros(5)), Duration::from_micros(15));
    }
}
