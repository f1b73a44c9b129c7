//! How long to wait before something is tried again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_millis(500);

/// Pauses between attempts, each twice as long as the one before, up to half a second: a leader that is cut off is to
/// find out soon once it is not.
#[derive(Debug, Default)]
pub(crate) struct Pauses(u32);

impl Pauses {
    pub(crate) fn next_pause(&mut self) -> Duration {
        let pause = FIRST.saturating_mul(1 << self.0.min(8)).min(LONGEST);
        self.0 += 1;
        pause
    }
}
