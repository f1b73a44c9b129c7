//! Points in time.

use std::{ops::Add, time::Duration};

/// A point in time, in whole microseconds since the Unix epoch.
///
/// The core only compares and adds; that the origin is the epoch lets times be written down and read again
/// by another process. The caller feeds it from a monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The point `micros` microseconds after the epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero if it was not.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    /// Saturates at the end of time, which is some 584,000 years away. Parts of a microsecond count as one,
    /// so that a lease is never shorter than promised.
    fn add(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}
