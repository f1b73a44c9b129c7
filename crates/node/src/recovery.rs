//! The time after a start with empty state, in which peers that the server forgot may come back before anything is
//! granted anew.

use std::time::Duration;

use throttle_core::{Time, planted};
use throttle_journal::Record;

use crate::node::Node;

/// Grants are held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// When that ends by itself.
    pub until: Time,
    /// How long that is from now.
    pub remaining: Duration,
}

impl Node {
    /// Holds back every grant for a time, but for what peers bring back. New requests stand in line.
    pub fn hold_grants(&mut self, now: Time, duration: Duration) {
        if !planted!(GrantsNotHeldBack) {
            self.core.hold_grants();
        }
        let until = now + duration;
        self.holds_until = Some(until);
        self.append(Record::Holding { until: Some(until.as_micros()) });
    }

    /// Whether grants are held back, and until when.
    pub fn holding(&self, now: Time) -> Option<Holding> {
        let until = self.holds_until?;
        Some(Holding { until, remaining: until.since(now) })
    }

    /// Gives out what was held back. Tells whether anything was.
    pub fn resume_grants(&mut self, now: Time) -> bool {
        self.core.resume_grants(now);
        let was_holding = self.holds_until.take().is_some();
        if was_holding {
            self.append(Record::Holding { until: None });
        }
        was_holding
    }
}
