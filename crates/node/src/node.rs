//! The node itself: the core, what is remembered beside it, and what follows from every turn.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use throttle_core::{Claim, Core, EndCause, Event, PeerId, Time, Token, planted};
use throttle_journal::{Epoch, Keys, Record, Wall, WallTime};

use crate::{
    endings::{Ending, Endings, TokenEndings},
    event_log::{EventLog, Word},
    idempotency,
    output::{Condition, Observed, Offset, Output},
    waits::{Ticket, Waits},
};

/// How much a node keeps beside the core.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Requests that wait at the same time.
    pub waits: usize,
    /// Peers whose end is remembered, and as many grants.
    pub endings: usize,
    /// Keys of requests that may be repeated.
    pub idempotency_keys: usize,
    /// Events kept for those who read them.
    pub events: usize,
}

/// A node that leads. See the [crate's documentation](crate) for how to use it.
pub struct Node {
    pub(crate) core: Core,
    epoch: Option<Epoch>,
    pub(crate) waits: Waits,
    pub(crate) keys: Keys,
    endings: Endings,
    token_endings: TokenEndings,
    events: EventLog,
    /// What is told of the operator who acts in this turn.
    pub(crate) word: Word,
    /// No request may wait any longer.
    pub(crate) is_draining: bool,
    /// When grants that are held back for peers that may come back will be given out.
    pub(crate) holds_until: Option<Time>,
    /// Where the wall clock is, as the log knows it.
    logged_wall: Wall,
    /// What this turn has for the log besides its events.
    records: Vec<Record>,
    /// Requests that are to be woken whatever the events of this turn are.
    pub(crate) woken: Vec<Ticket>,
    /// How many events of this turn fell due by themselves.
    fell_due: usize,
    /// How many turns were handed over for the log.
    offset: Offset,
    /// How many of them are safe.
    safe_upto: Offset,
    /// Peers of which something is not safe yet.
    unsafe_peers: HashMap<PeerId, Unsafe, foldhash::fast::RandomState>,
    /// The same in the order of the log.
    unsafe_order: VecDeque<(Offset, PeerId)>,
}

/// How many events a run may begin with at one instant.
const EVENTS_AT_ONCE_MAX: u64 = 1 << 20;

/// The number of the first event of a run, above all that earlier runs of the same state gave: the time goes on where
/// they ended. Where a clock was set back, it stands where the log ends, which may be where the last run began; so
/// the epoch, which never repeats, counts too.
fn first_number(now: Time, epoch: Option<Epoch>) -> u64 {
    if planted!(EventNumbersBeginAnew) {
        return 1;
    }
    let epochs = epoch.map_or(0, |epoch| epoch.0);
    now.as_micros().saturating_add(epochs.saturating_mul(EVENTS_AT_ONCE_MAX))
}

impl Node {
    pub(crate) fn new(
        core: Core,
        mut keys: Keys,
        now: Time,
        epoch: Option<Epoch>,
        bounds: Bounds,
        wall: Wall,
    ) -> Self {
        keys.set_limit(bounds.idempotency_keys);
        let mut endings = Endings::new(bounds.endings);
        idempotency::tell_endings(&keys, &mut endings);
        Self {
            core,
            epoch,
            waits: Waits::new(bounds.waits),
            keys,
            endings,
            token_endings: TokenEndings::new(bounds.endings),
            events: EventLog::new(bounds.events, first_number(now, epoch)),
            word: Word::default(),
            is_draining: false,
            holds_until: None,
            logged_wall: wall,
            records: Vec::new(),
            woken: Vec::new(),
            fell_due: 0,
            offset: Offset::default(),
            safe_upto: Offset::default(),
            unsafe_peers: HashMap::default(),
            unsafe_order: VecDeque::new(),
        }
    }

    /// The core, to look at.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// The last events, for those who read them.
    pub fn events(&self) -> &EventLog {
        &self.events
    }

    /// The last events, to be shown to readers up to now.
    pub fn events_mut(&mut self) -> &mut EventLog {
        &mut self.events
    }

    /// The epoch in which this node leads, if there is a log.
    pub fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    /// How a peer ended, if that is remembered, and is for whoever asks to know.
    pub fn ending(&self, peer: Claim<'_>) -> Option<&Ending> {
        self.endings.of(peer)
    }

    /// How the grant of a fencing token ended, if that is remembered.
    pub fn token_ending(&self, token: Token) -> Option<&Ending> {
        self.token_endings.of(token)
    }

    /// How many requests wait for a grant with their connection open.
    pub fn waits(&self) -> usize {
        self.waits.len()
    }

    /// Whether the server is about to stop.
    pub fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// Answers every request that waits as if its time were over, now and from now on.
    pub fn drain(&mut self) {
        if planted!(DrainForgotten) {
            return;
        }
        self.is_draining = true;
        let now = self.core.now();
        for (ticket, peer) in self.waits.drain() {
            // Its connection ends with this answer.
            self.core.disconnect(now, peer.by_server());
            self.woken.push(ticket);
        }
    }

    /// When something falls due next: never later than the first thing that does, maybe earlier.
    pub fn next_deadline(&self) -> Option<Time> {
        let holds_until = self.holds_until.filter(|_| !planted!(GrantsHeldForEver));
        let waits = self.waits.next_deadline().filter(|_| !planted!(WaitNeverEnds));
        let deadlines = [self.core.next_deadline(), waits, holds_until];
        deadlines.into_iter().flatten().min()
    }

    /// Begins a turn: does everything that is due by `now`.
    pub fn advance(&mut self, now: Time) {
        // What an operator did in a turn of which nothing came is over.
        self.word = Word::default();
        self.core.advance(now);
        if self.holds_until.is_some_and(|until| until <= now) && !planted!(GrantsHeldForEver) {
            self.resume_grants(now);
        }
        if self.waits.next_deadline().is_some_and(|at| at <= now) && !planted!(WaitNeverEnds) {
            self.end_waits(now);
        }
        self.fell_due = self.core.events().len();
    }

    /// Whether this turn has something to [publish](Node::publish).
    pub fn has_output(&self) -> bool {
        self.core.has_events() || !self.records.is_empty() || !self.woken.is_empty()
    }

    /// Ends a turn: remembers what will be asked for, and passes on what the shell is to do. `wall` is where the wall
    /// clock is now; what happens is shown by it, whatever becomes of that later.
    pub fn publish(&mut self, now: Time, wall: Wall, mut output: impl FnMut(Output<'_>)) {
        let word = std::mem::take(&mut self.word);
        let reason = word.reason.as_ref();
        let at = wall.at(now);
        self.hand_over(now, &mut output, |cause| ending(cause, reason, at));
        for ticket in self.woken.drain(..) {
            output(Output::Wake { ticket, fell_due: true });
        }
        // A grant over several semaphores is an event for each, and wakes its request with the first.
        let mut last_woken = None;
        for (index, event) in self.core.drain_events().enumerate() {
            let (fell_due, mut woken) = (index < self.fell_due, None);
            let mut wake = |ticket| output(Output::Wake { ticket, fell_due });
            match &event {
                Event::Granted { peer, waited: Some(_), .. } | Event::Withdrawn { peer, .. } => {
                    woken = match last_woken {
                        _ if planted!(WakeForgotten) && matches!(event, Event::Granted { .. }) => None,
                        Some((last, ticket)) if last == *peer => ticket,
                        _ => self.waits.take_all(*peer, wake),
                    };
                    last_woken = Some((*peer, woken));
                }
                Event::PeerEnded { peer, owner, cause, .. } => {
                    self.endings.remember(*peer, owner.clone(), ending(*cause, reason, at));
                    self.waits.take_all(*peer, &mut wake);
                }
                Event::Released { token: Some(token), cause, .. } => {
                    self.token_endings.remember(*token, ending(*cause, reason, at));
                }
                Event::Granted { waited: None, .. }
                | Event::SemaphoreSet { .. }
                | Event::SemaphoreRemoved { .. }
                | Event::SemaphoreRetired { .. }
                | Event::PeerCreated { .. }
                | Event::PeerOwned { .. }
                | Event::SemaphoreOwned { .. }
                | Event::LeaseChanged { .. }
                | Event::Queued { .. }
                | Event::Connected { .. }
                | Event::Shrunk { .. }
                | Event::Released { token: None, .. }
                | Event::Restored { .. }
                | Event::Overcommitted { .. }
                | Event::Counters { .. }
                | Event::Cooling { .. }
                | Event::Paused { .. } => {}
            }
            output(Output::Observed(Observed { event: &event, reason, fell_due, woken }));
            self.events.push(at, event, Some(&word).filter(|_| !fell_due));
        }
        self.fell_due = 0;
    }

    /// Hands the records of this turn over, all at once: a part of what a command did must not outlive a crash without
    /// the rest.
    fn hand_over(
        &mut self,
        now: Time,
        output: &mut impl FnMut(Output<'_>),
        ending: impl Fn(EndCause) -> Ending,
    ) {
        let is_logged = self.epoch.is_some();
        if !is_logged && self.keys.is_empty() {
            return;
        }
        for event in self.core.events() {
            // Right before the end of the peer: it may have been made, or brought back, in this turn.
            let kept = idempotency::note(&mut self.keys, event, now, &ending);
            if is_logged {
                self.records.extend(kept);
                self.records.extend(Record::of(event));
            }
        }
        if self.records.is_empty() {
            return;
        }
        self.offset.0 += 1;
        for record in &self.records {
            let Some(peer) = record.of_peer().map(PeerId) else { continue };
            let not_safe = self.unsafe_peers.entry(peer).or_default();
            if record.of_lease().is_some() {
                not_safe.lease = self.offset;
            }
            if std::mem::replace(&mut not_safe.any, self.offset) != self.offset {
                self.unsafe_order.push_back((self.offset, peer));
            }
        }
        if planted!(RecordsOutOfOrder) {
            self.records.reverse();
        }
        output(Output::Append { records: &self.records, upto: self.offset });
        self.records.clear();
    }

    /// Takes note that the log is safe up to `upto`.
    pub fn appended(&mut self, upto: Offset) {
        while let Some(&(at, peer)) = self.unsafe_order.front().filter(|(at, _)| *at <= upto) {
            self.unsafe_order.pop_front();
            if self.unsafe_peers.get(&peer).is_some_and(|not_safe| not_safe.any == at) {
                self.unsafe_peers.remove(&peer);
            }
        }
        self.safe_upto = self.safe_upto.max(upto);
    }

    /// What an answer waits for that tells everything up to now.
    pub fn committed(&self) -> Condition {
        // What this turn did is not handed over yet.
        let mut events = self.core.events().iter();
        if planted!(AnswerTooSoon) {
            return Condition::Confirmed;
        }
        let is_open = !self.records.is_empty() || events.any(|event| Record::of(event).is_some());
        Condition::Committed(Offset(self.offset.0 + u64::from(is_open)))
    }

    /// What the answer to a heartbeat of these peers waits for. One that repeats another tells what that one did; of
    /// what fell due for others in this turn it tells nothing.
    pub(crate) fn condition(&self, peers: &[PeerId]) -> Condition {
        if self.epoch.is_none() {
            return Condition::Confirmed;
        }
        if planted!(HeartbeatAnsweredTooSoon) {
            return Condition::Confirmed;
        }
        let is_moved = |event: &Event| of_this_turn(event, Record::of_lease, peers);
        let is_unsafe =
            |peer| self.unsafe_peers.get(peer).is_some_and(|not_safe| not_safe.lease > self.safe_upto);
        self.condition_if(is_moved, !self.unsafe_peers.is_empty() && peers.iter().any(is_unsafe))
    }

    /// What an answer waits for that shows this peer and what it holds. What it waits for has to do with others.
    pub fn shown(&self, peer: PeerId) -> Condition {
        if self.epoch.is_none() || planted!(HeartbeatAnsweredTooSoon) {
            return Condition::Confirmed;
        }
        let waits = self.core.peer(peer.by_server()).is_ok_and(|peer| peer.pending().is_some());
        let is_changed = |event: &Event| of_this_turn(event, Record::of_peer, &[peer]);
        self.condition_if(is_changed, waits || self.unsafe_peers.contains_key(&peer))
    }

    fn condition_if(&self, is_one: impl FnMut(&Event) -> bool, is_unsafe: bool) -> Condition {
        if is_unsafe || self.core.events().iter().any(is_one) {
            self.committed()
        } else {
            Condition::Confirmed
        }
    }

    /// Writes down where the wall clock is, if it was set or the server stood still: after a restart, what
    /// happened before is to be shown as it was.
    pub fn note_wall(&mut self, wall: Wall) {
        if wall != self.logged_wall {
            self.logged_wall = wall;
            self.append(Record::Wall { ahead_us: wall.ahead_micros() });
        }
    }

    /// Adds a record that is not an event of the core to those of this turn.
    pub(crate) fn append(&mut self, record: Record) {
        if self.epoch.is_some() {
            self.records.push(record);
        }
    }
}

/// Where the latest change of a peer is in the log.
#[derive(Clone, Copy, Debug, Default)]
struct Unsafe {
    /// That of its lease.
    lease: Offset,
    /// That of anything it has.
    any: Offset,
}

/// Whether an event is about one of these peers, by what is written of it.
fn of_this_turn(event: &Event, of: impl FnOnce(&Record) -> Option<u64>, peers: &[PeerId]) -> bool {
    Record::of(event).and_then(|record| of(&record)).is_some_and(|peer| peers.contains(&PeerId(peer)))
}

/// How something ended. A reason is told of what an operator ended.
fn ending(cause: EndCause, reason: Option<&Arc<str>>, at: WallTime) -> Ending {
    let is_told = cause == EndCause::Operator && !planted!(ReasonForgotten);
    Ending { cause, reason: reason.filter(|_| is_told).cloned(), at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_of_a_run_have_numbers_above_those_of_every_earlier_one() {
        let now = Time::from_micros(5);
        assert_eq!(first_number(now, None), 5);
        // The clock was set back, and the log ends where the last run began.
        let [before, after] = [3, 4].map(|epoch| first_number(now, Some(Epoch(epoch))));
        assert!(after - before >= EVENTS_AT_ONCE_MAX);
    }
}
