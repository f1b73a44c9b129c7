//! That a node of several still leads: confirmations, shared by all answers that wait for one, and the time of leases,
//! which goes on only while they come.
//!
//! A confirmation is an operation of the log that proves that this node led at some moment after the operation was
//! sent. An answer may leave once one that was sent after its command ran has succeeded: then nobody else led before
//! the command did. No clock takes part in that.

use std::time::Duration;

use throttle_core::planted;

/// How long after a confirmation the time of leases goes on without the next one.
pub const UNCONFIRMED_MAX: Duration = Duration::from_secs(1);

/// The number of a confirmation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Confirmation(u64);

/// What a node that leads knows of that.
#[derive(Clone, Debug)]
pub struct Tenure {
    asked: Confirmation,
    begun: Confirmation,
    is_under_way: bool,
    succeeded: Confirmation,
    /// When the last one succeeded, as time since a moment that the shell has chosen.
    confirmed_at: Duration,
    /// How much time was not counted.
    stood_still: Duration,
}

impl Tenure {
    /// A node that begins to lead `now`: making the key of the leader was a confirmation.
    pub fn new(now: Duration) -> Self {
        Self {
            asked: Confirmation(0),
            begun: Confirmation(0),
            is_under_way: false,
            succeeded: Confirmation(0),
            confirmed_at: now,
            stood_still: Duration::ZERO,
        }
    }

    /// An answer waits for a confirmation that is not sent yet: for this one.
    pub fn ask(&mut self) -> Confirmation {
        let shares = planted!(EarlierConfirmationCounts) && self.is_under_way;
        self.asked = Confirmation(self.begun.0 + u64::from(!shares));
        self.asked
    }

    /// Whether one is to be sent now. At most one is under way, so that all who ask meanwhile share the next.
    pub fn begin(&mut self) -> bool {
        if self.is_under_way || self.asked <= self.begun {
            return false;
        }
        self.begun = self.asked;
        self.is_under_way = true;
        true
    }

    /// The one that was under way has ended. If there was no answer, those who wait for it wait for the next.
    pub fn end(&mut self, now: Duration, is_confirmed: bool) {
        self.is_under_way = false;
        if is_confirmed {
            self.succeeded = self.begun;
            if !planted!(UnconfirmedTimeCounts) {
                self.stood_still += now.saturating_sub(self.confirmed_at).saturating_sub(UNCONFIRMED_MAX);
            }
            self.confirmed_at = self.confirmed_at.max(now);
        } else {
            self.ask();
        }
    }

    /// The last confirmation that succeeded: answers that wait for it, or for an earlier one, may leave.
    pub fn succeeded(&self) -> Confirmation {
        self.succeeded
    }

    /// How long it is since the last one succeeded.
    pub fn unconfirmed(&self, now: Duration) -> Duration {
        now.saturating_sub(self.confirmed_at)
    }

    /// How much of the time until `now` counts for leases. While this node cannot be sure that it leads, nobody's
    /// heartbeats are answered, so nobody's lease runs out either.
    pub fn counted(&self, now: Duration) -> Duration {
        if planted!(TimeGoesOnUnconfirmed) {
            return now;
        }
        now.min(self.confirmed_at + UNCONFIRMED_MAX).saturating_sub(self.stood_still)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn an_answer_waits_for_a_confirmation_that_was_sent_after_it_asked() {
        let mut tenure = Tenure::new(Duration::ZERO);
        assert!(!tenure.begin(), "nobody asks");
        let first = tenure.ask();
        assert_eq!(tenure.ask(), first, "it is shared");
        assert!(tenure.begin());
        let second = tenure.ask();
        assert!(second > first, "the one that is under way says nothing of now");
        assert!(!tenure.begin(), "one is under way");
        tenure.end(MS, true);
        assert_eq!(tenure.succeeded(), first);
        assert!(tenure.begin());
        tenure.end(2 * MS, true);
        assert_eq!(tenure.succeeded(), second);
        assert!(!tenure.begin());
    }

    #[test]
    fn one_without_an_answer_is_sent_again_for_all_who_wait() {
        let mut tenure = Tenure::new(Duration::ZERO);
        let first = tenure.ask();
        assert!(tenure.begin());
        let second = tenure.ask();
        tenure.end(MS, false);
        assert!(tenure.succeeded() < first);
        assert!(tenure.begin());
        tenure.end(MS, true);
        assert!(tenure.succeeded() >= second);
    }

    #[test]
    fn time_goes_on_for_a_second_and_then_stands_still_until_the_next_one() {
        let mut tenure = Tenure::new(10 * MS);
        assert_eq!(tenure.counted(900 * MS), 900 * MS);
        assert_eq!(tenure.counted(1_010 * MS), 1_010 * MS);
        assert_eq!(tenure.counted(5_000 * MS), 1_010 * MS);
        assert_eq!(tenure.unconfirmed(5_000 * MS), 4_990 * MS);
        tenure.ask();
        tenure.begin();
        tenure.end(6_000 * MS, true);
        assert_eq!(tenure.counted(6_000 * MS), 1_010 * MS, "it goes on where it stood");
        assert_eq!(tenure.counted(6_500 * MS), 1_510 * MS);
        tenure.ask();
        tenure.begin();
        tenure.end(6_400 * MS, true);
        assert_eq!(tenure.counted(7_400 * MS), 2_410 * MS);
    }
}
