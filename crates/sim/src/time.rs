//! Time in the world: the true time, which no party knows, in microseconds.

use std::time::Duration;

/// A point in true time.
pub type Moment = u64;

/// A length of time.
pub type Micros = u64;

/// A millisecond.
pub const MS: Micros = 1_000;
/// A second.
pub const SECOND: Micros = 1_000_000;

/// The same length for those who want a [`Duration`].
pub const fn duration(length: Micros) -> Duration {
    Duration::from_micros(length)
}
