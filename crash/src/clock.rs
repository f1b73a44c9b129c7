//! The clock of the outside world.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Moments are compared with what was promised.
#[expect(
    clippy::disallowed_methods,
    reason = "this looks at the server from the outside, with a clock of its own"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The time of day, since the epoch.
pub(crate) fn time_of_day() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// How long a peer lives at least: what is promised, and the margin.
pub(crate) fn lifetime(expires_in: Duration) -> Duration {
    expires_in + (expires_in / 20).min(Duration::from_secs(30))
}
