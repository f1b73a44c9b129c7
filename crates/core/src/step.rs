//! How time goes on: what is due next, and doing it; what every command begins and ends with.

use crate::{state::Core, time::Time};

impl Core {
    /// When something is due next: never later than the first thing that is, maybe earlier.
    pub fn next_deadline(&self) -> Option<Time> {
        let lease = self.leases.first().map(|&(at, _)| at);
        let due_back = self.returns.first().map(|&(at, _)| at);
        let absent = self.absences.first().map(|&(at, _)| at);
        lease.into_iter().chain(due_back).chain(absent).min()
    }

    /// Does everything that is due, instant by instant in order, and returns the time from then on: `now`,
    /// or the largest time seen if that is larger.
    pub fn advance(&mut self, now: Time) -> Time {
        self.now = self.now.max(now);
        let now = self.now;
        while let Some(at) = self.next_deadline().filter(|&at| at <= now) {
            while self.returns.first().is_some_and(|&(due, _)| due == at) {
                self.give_back_cooled(at);
            }
            // All that end at one instant end before any of them could be granted something.
            while self.leases.first().is_some_and(|&(first, _)| first == at) {
                self.look_at_first_lease(now);
            }
            while self.absences.first().is_some_and(|&(first, _)| first == at) {
                self.begin_first_absence();
            }
            self.grant_touched(now);
        }
        now
    }

    /// What every command that changes something ends with.
    pub(crate) fn finish(&mut self, now: Time) {
        self.grant_touched(now);
        // A lease of length zero is over as soon as its operation is answered.
        self.advance(now);
    }
}
