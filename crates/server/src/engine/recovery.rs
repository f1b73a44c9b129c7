//! The time after a start with empty state, in which peers that the server forgot may come back before anything is
//! granted anew.

use std::time::Duration;

use throttle_journal::WallTime;

use super::handle::Engine;
use crate::journal::Record;

/// Grants are held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// When that ends by itself.
    pub until: WallTime,
    /// How long that is from now.
    pub remaining: Duration,
}

impl Engine {
    /// Holds back every grant for a time, but for what peers bring back. New requests stand in line.
    pub fn hold_grants(&self, duration: Duration) {
        self.with(|shared, now| {
            shared.core.hold_grants();
            let until = now + duration;
            shared.holds_until = Some(until);
            shared.write_down(Record::Holding { until: Some(until.as_micros()) });
        });
    }

    /// Whether grants are held back, and until when.
    pub fn holding(&self) -> Option<Holding> {
        self.with(|shared, now| {
            let until = shared.holds_until?;
            Some(Holding { until: shared.clock.wall(now).at(until), remaining: until.since(now) })
        })
    }

    /// Gives out what was held back. Tells whether anything was.
    pub fn resume_grants(&self) -> bool {
        self.with(|shared, now| {
            shared.core.resume_grants(now);
            let was_holding = shared.holds_until.take().is_some();
            if was_holding {
                shared.write_down(Record::Holding { until: None });
            }
            was_holding
        })
    }

    /// Resumes grants when their time has come, unless somebody did so before.
    pub async fn run_recovery(&self) {
        while let Some(Holding { remaining, .. }) = self.holding() {
            if remaining.is_zero() {
                self.resume_grants();
            } else {
                tokio::time::sleep(remaining).await;
            }
        }
    }
}
