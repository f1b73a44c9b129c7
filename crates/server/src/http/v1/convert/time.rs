//! The wall clock.

use throttle_api::Stamp;
use throttle_journal::WallTime;

/// A time as answers write it.
pub(in crate::http::v1) fn stamp(time: WallTime) -> Stamp {
    Stamp::from_micros(time.as_micros())
}
