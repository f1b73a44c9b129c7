//! Whether anybody is there to take what a waiter would be granted.
//!
//! A client that waits with an open connection and dies would be granted its locks nevertheless, and would keep
//! them from all others for a whole lease. So nothing is granted while its connection is gone: for the time
//! [`absent_after`](crate::Settings::absent_after) the request holds its place as before, so that a client whose
//! connection broke finds it; after that it is *absent*: it keeps its place, and others pass it. It is served at
//! once when its client asks again. A client that never waited with a connection is asked for no sign of life.

use crate::{
    deadlock::Candidate,
    error::AcquireError,
    event::Event,
    owner::Claim,
    peer::{Part, Request, count_named},
    planted,
    slot::PeerSlot,
    state::Core,
    time::Time,
};

/// What is known of the client of a pending request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It never waited with an open connection: it asks from time to time.
    Polling,
    /// It waits with an open connection.
    Connected,
    /// It did, and the connection is gone. From this time on it is absent.
    Disconnected { absent_at: Time },
    /// It has had no connection for too long, and is passed over.
    Absent,
}

impl Presence {
    /// Whether a grant would reach the client.
    pub(crate) fn can_be_granted(self) -> bool {
        planted!(AbsentIsGranted) || matches!(self, Self::Polling | Self::Connected)
    }
}

impl Core {
    /// The client of a peer waits for its pending request with an open connection, until
    /// [`Core::disconnect`]. Does nothing if the peer waits for nothing.
    ///
    /// # Errors
    ///
    /// If the peer is not known. A request that would now wait for ever is refused with
    /// [`AcquireError::Deadlock`], and is absent until its client asks again at a better time.
    pub fn connect(&mut self, now: Time, claim: Claim<'_>) -> Result<(), AcquireError> {
        let now = self.begin_with(now, claim.peer);
        let slot = self.find(claim)?;
        let outcome = self.ask_again(slot, &[]);
        if let Some(request) = &mut self.peers[slot].pending
            && request.presence == Presence::Polling
        {
            request.presence = Presence::Connected;
            self.events.push(Event::Connected { peer: claim.peer });
        }
        self.finish(now);
        outcome.map(drop)
    }

    /// The last open connection with which the client of a peer waited is gone.
    pub fn disconnect(&mut self, now: Time, claim: Claim<'_>) {
        let now = self.begin_with(now, claim.peer);
        if let Ok(slot) = self.find(claim)
            && !planted!(GoneIsPresent)
        {
            self.start_absence(now, slot);
        }
        self.finish(now);
    }

    /// The client of a peer asks whether it waits for nothing any more: a waiter whose connection is gone is
    /// granted what it waits for if that is its turn.
    ///
    /// # Errors
    ///
    /// If the peer is not known, or its request would now wait for ever.
    pub fn poll(&mut self, now: Time, claim: Claim<'_>) -> Result<bool, AcquireError> {
        let now = self.begin_with(now, claim.peer);
        let slot = self.find(claim)?;
        let outcome = self.ask_again(slot, &[]);
        if let Ok(true) = outcome {
            self.grant_touched(now);
            self.start_absence(now, slot);
        }
        self.finish(now);
        match outcome {
            // A request that cannot be examined is as pending as it was.
            Ok(_) | Err(AcquireError::Limit(_)) => {
                Ok(self.peers.get(slot).is_none_or(|peer| peer.pending.is_none()))
            }
            Err(refused) => Err(refused),
        }
    }

    /// Puts the pending request of a peer back in line, if its client was gone: then what this makes
    /// possible is to be granted, and its absence to begin anew, if it does not stay. Tells whether it was.
    ///
    /// `named` is what its client names now; it may shrink what it waits for.
    pub(crate) fn ask_again(&mut self, slot: PeerSlot, named: &[Part]) -> Result<bool, AcquireError> {
        let Some(request) = &self.peers[slot].pending else { return Ok(false) };
        let presence = request.presence;
        // Others may have begun to wait behind what a request left to them that was absent, or too large.
        let asked = |part: &Part| count_named(named, part.semaphore, part.count);
        let shrinks = request.parts.iter().any(|part| asked(part) < part.count);
        let may_be_stuck = presence == Presence::Absent || shrinks || self.must_be_examined(slot, request);
        if may_be_stuck && self.detecting > 0 {
            self.examine(slot, named)?;
        }
        match presence {
            Presence::Polling | Presence::Connected => return Ok(false),
            Presence::Disconnected { absent_at } => _ = self.absences.remove(&(absent_at, slot)),
            Presence::Absent => {}
        }
        self.set_presence(slot, Presence::Connected);
        Ok(true)
    }

    /// Refuses a request in line that would wait for ever; from then on it is absent.
    fn examine(&mut self, slot: PeerSlot, named: &[Part]) -> Result<(), AcquireError> {
        let Some(request) = &self.peers[slot].pending else { return Ok(()) };
        let Request { rank, presence, ref parts, .. } = **request;
        let asked = |part: &Part| Part { count: count_named(named, part.semaphore, part.count), ..*part };
        let new: Vec<Part> = parts.iter().map(asked).collect();
        let outcome = self.check_deadlock(&Candidate { peer: slot, rank, new: &new, named });
        match (&outcome, presence) {
            (Ok(()), _) => {
                let examined_at = self.next_sequence;
                if let Some(request) = &mut self.peers[slot].pending {
                    request.examined_at = examined_at;
                }
            }
            (Err(_), Presence::Absent) => {}
            (Err(AcquireError::Deadlock { .. }), _) => self.begin_absence(slot, presence),
            // Nobody knows that it waits for ever, so it keeps its place.
            (Err(_), _) => return Ok(()),
        }
        outcome
    }

    /// Begins the time after which a request is absent, if its client waited with a connection.
    pub(crate) fn start_absence(&mut self, now: Time, slot: PeerSlot) {
        let absent_at = now + self.settings.absent_after;
        if let Some(request) = &mut self.peers[slot].pending
            && request.presence == Presence::Connected
        {
            request.presence = Presence::Disconnected { absent_at };
            if !planted!(AbsenceNeverBegins) {
                self.absences.insert((absent_at, slot));
            }
        }
    }

    /// Passes over the first request in the index of absences.
    pub(crate) fn begin_first_absence(&mut self) {
        if let Some((_, slot)) = self.absences.pop_first() {
            self.set_presence(slot, Presence::Absent);
        }
    }

    /// Passes over a request whose client is there.
    fn begin_absence(&mut self, slot: PeerSlot, presence: Presence) {
        match presence {
            Presence::Polling => self.events.push(Event::Connected { peer: self.peers[slot].id }),
            Presence::Disconnected { absent_at } => _ = self.absences.remove(&(absent_at, slot)),
            Presence::Connected | Presence::Absent => {}
        }
        self.set_presence(slot, Presence::Absent);
    }

    /// Enters the queues anew, for whether the request holds up others may change, and has them looked at.
    fn set_presence(&mut self, slot: PeerSlot, presence: Presence) {
        let Some(mut request) = self.peers[slot].pending.take() else { return };
        self.leave_queues(slot, &request);
        request.presence = presence;
        self.enter_queues(slot, *request);
    }

    /// Whether a request holds up nobody in any queue: its client is absent, or it asks one of several semaphores
    /// for more than its `max`, so that it cannot be granted now.
    pub(crate) fn is_passed_over(&self, request: &Request) -> bool {
        let is_beyond = |part: &Part| part.count > self.semaphores[part.semaphore].spec.max;
        (request.presence == Presence::Absent && !planted!(AbsentHoldsUpOthers))
            || (request.parts.len() > 1 && request.parts.iter().any(is_beyond))
    }
}
