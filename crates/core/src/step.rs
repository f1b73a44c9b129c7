//! How time goes on: what is due next, and doing it; what every command begins and ends with.

use crate::{event::EndCause, names::PeerId, slot::PeerSlot, state::Core, time::Time};

impl Core {
    /// When something is due next: never later than the first thing that is, maybe earlier.
    pub fn next_deadline(&self) -> Option<Time> {
        let lease = self.leases.first().map(|&(at, _)| at);
        let due_back = self.returns.first().map(|&(at, _)| at);
        let absent = self.absences.first().map(|&(at, _)| at);
        lease.into_iter().chain(due_back).chain(absent).min()
    }

    /// Does what is due, instant by instant in order, and returns the time from then on: `now`, or the largest time
    /// seen if that is larger.
    ///
    /// So much may be due at once that others would wait for long. Then it does a [step](crate::Settings::step), and is
    /// *behind*: the next deadline is in the past, and the rest takes further calls. Meanwhile a
    /// look shows what is there, no peer whose lease is over is granted anything, and a command that names one
    /// ends it first.
    pub fn advance(&mut self, now: Time) -> Time {
        self.now = self.now.max(now);
        self.is_behind = false;
        if self.next_deadline().is_some_and(|at| at <= self.now) {
            self.do_what_is_due(self.now);
        }
        self.now
    }

    /// A step of what is due by `now`.
    #[cold]
    fn do_what_is_due(&mut self, now: Time) {
        let mut left = self.settings.step.max(1);
        while let Some(at) = self.next_deadline().filter(|&at| at <= now) {
            self.is_behind = left == 0;
            if self.is_behind {
                return;
            }
            while left > 0 && self.returns.first().is_some_and(|&(due, _)| due == at) {
                self.give_back_cooled(at);
                left -= 1;
            }
            // All that end at one instant end before any of them could be granted something.
            while left > 0 && self.leases.first().is_some_and(|&(first, _)| first == at) {
                left = left.saturating_sub(self.look_at_first_lease(now));
            }
            while left > 0 && self.absences.first().is_some_and(|&(first, _)| first == at) {
                self.begin_first_absence();
                left -= 1;
            }
            self.is_behind = left == 0;
            self.grant_touched(now);
        }
        self.is_behind = false;
    }

    /// Whether something that is due is not done yet.
    pub fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// What every command begins with: does what is due, but for a step that was done at this instant already.
    pub(crate) fn begin(&mut self, now: Time) -> Time {
        if self.is_behind && now <= self.now { self.now } else { self.advance(now) }
    }

    /// The same for a command that names a peer: it is unknown if its lease is over.
    pub(crate) fn begin_with(&mut self, now: Time, peer: PeerId) -> Time {
        let now = self.begin(now);
        // As a rule it is not, and the peer need not be looked up for that.
        if self.is_behind
            && let Ok(slot) = self.slot_of(peer)
            && self.is_over(slot)
        {
            self.remove_peer(now, slot, EndCause::Expired);
            // The command may be refused, and nothing else may be due.
            self.grant_touched(now);
        }
        now
    }

    /// Whether the lease of a peer is over that is still there.
    pub(crate) fn is_over(&self, slot: PeerSlot) -> bool {
        self.is_behind && self.peers.get(slot).is_some_and(|peer| peer.ends_at <= self.now)
    }

    /// What every command that changes something ends with.
    pub(crate) fn finish(&mut self, now: Time) {
        self.grant_touched(now);
        // A lease of length zero is over as soon as its operation is answered.
        self.begin(now);
    }
}
