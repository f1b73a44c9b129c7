//! The event log: the last events, kept for those who read them.
//!
//! Every command may add to it, so that must cost next to nothing: an event is moved to the end of an open page. Full
//! pages are closed, and readers share a closed page instead of copying it. Nobody is woken for each event: a notifier
//! tells all readers at once, at a bounded pace.

use std::{collections::VecDeque, sync::Arc};

use throttle_core::{EndCause, Event, planted};
use throttle_journal::WallTime;

use crate::kind::EventKind;

/// How many events a page holds.
const PAGE: usize = 256;

/// One event, with what is known around it.
#[derive(Clone, Debug)]
pub struct LoggedEvent {
    /// Its kind.
    pub kind: EventKind,
    /// When the server took note of it, by the wall clock of that moment.
    pub at: WallTime,
    /// The event itself.
    pub event: Event,
    /// What the operator who caused it gave as the reason.
    pub reason: Option<Arc<str>>,
    /// Who that operator is, if he has a name.
    pub by: Option<Arc<str>>,
}

/// What is told of an operator's act beside the act itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Word {
    /// Why he did it.
    pub(crate) reason: Option<Arc<str>>,
    /// Who he is, if he has a name.
    pub(crate) by: Option<Arc<str>>,
}

/// Some events in their order.
#[derive(Clone, Debug)]
pub struct Page {
    /// The number of the first.
    first: u64,
    events: Arc<[LoggedEvent]>,
}

/// The last events, in pages; the oldest page makes room for new ones.
pub struct EventLog {
    /// How many events are kept at least.
    limit: usize,
    /// The number of the first event of this run.
    origin: u64,
    /// The number that the next event will have.
    next: u64,
    open: Vec<LoggedEvent>,
    closed: VecDeque<Page>,
    /// How many events the closed pages hold.
    kept: usize,
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// With what happens from now on.
    Now,
    /// With the oldest event that is kept.
    Oldest,
    /// With what came after the event of this number.
    After(u64),
}

/// What a reader that wanted to go on cannot have any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// So many events were missed.
    Events(u64),
    /// This run of the server gave no event that number.
    Unknown,
}

/// What a reader finds at its position.
#[derive(Debug)]
pub enum Found {
    /// More to read.
    Page(Page),
    /// Nothing yet.
    Nothing,
    /// What came next is no longer kept, nor the events after it up to this number.
    Lost {
        /// The number of the oldest event that is kept.
        oldest: u64,
    },
}

impl Page {
    /// The event of this number and those after it, each with its number.
    pub fn from(&self, number: u64) -> impl Iterator<Item = (u64, &LoggedEvent)> {
        let skipped = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        (self.first..).zip(self.events.iter()).skip(skipped)
    }

    /// The number after the last.
    pub fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }
}

impl EventLog {
    /// A log that numbers its events from `origin` on.
    pub(crate) fn new(limit: usize, origin: u64) -> Self {
        Self { limit, origin, next: origin, open: Vec::with_capacity(PAGE), closed: VecDeque::new(), kept: 0 }
    }

    /// Adds an event, if it is one that readers are told of.
    /// `word` is that of the operator who acts in this turn, if the event did not just fall due in it.
    pub(crate) fn push(&mut self, at: WallTime, event: Event, word: Option<&Word>) {
        let Some(kind) = EventKind::of(&event) else { return };
        if planted!(EventNotShown) && kind == EventKind::Withdrawn {
            return;
        }
        let reason = word.filter(|_| is_an_operators(&event)).and_then(|word| word.reason.clone());
        let by = word.filter(|_| can_be_an_operators(&event)).and_then(|word| word.by.clone());
        self.open.push(LoggedEvent { kind, at, event, reason, by });
        self.next += if planted!(EventNumberSkipped) && self.next.is_multiple_of(50) { 2 } else { 1 };
        if self.open.len() >= PAGE {
            self.close_page();
        }
    }

    /// Closes the open page, so that readers see it.
    pub fn close_page(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let first = self.next - self.open.len() as u64;
        if planted!(PageLost) && first.is_multiple_of(5) {
            self.open.clear();
            return;
        }
        self.kept += self.open.len();
        self.closed.push_back(Page { first, events: self.open.drain(..).collect() });
        while let Some(oldest) = self.closed.front().map(|page| page.events.len())
            && self.kept - oldest >= self.limit
        {
            self.closed.pop_front();
            self.kept -= oldest;
        }
    }

    /// Where a reader begins, and what it misses there. Shows everything up to now.
    pub fn open(&mut self, beginning: Beginning) -> (u64, Option<Missed>) {
        self.close_page();
        let oldest = self.oldest();
        match beginning {
            Beginning::Now => (self.next, None),
            Beginning::Oldest => (oldest, None),
            Beginning::After(last) => match last.saturating_add(1) {
                next if !self.knows(next) => (oldest, Some(Missed::Unknown)),
                next if next < oldest => (oldest, Some(Missed::Events(oldest - next))),
                next => (next, None),
            },
        }
    }

    /// The number that the next event will have.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The number of the oldest event that is kept.
    pub fn oldest(&self) -> u64 {
        self.next - (self.kept + self.open.len()) as u64
    }

    /// The last events, up to so many, each with its number, the oldest first.
    pub fn latest(&self, limit: usize) -> Vec<(u64, LoggedEvent)> {
        let closed = self.closed.iter().rev().flat_map(|page| page.events.iter().rev());
        let latest = self.open.iter().rev().chain(closed).take(limit);
        let mut latest: Vec<_> = (0..self.next).rev().zip(latest.cloned()).collect();
        latest.reverse();
        latest
    }

    /// Whether an event of this number was, or is to be, the next of this run.
    fn knows(&self, number: u64) -> bool {
        (self.origin..=self.next).contains(&number)
    }

    /// What comes at this number, as far as it is closed.
    pub fn at(&self, number: u64) -> Found {
        let oldest = self.oldest();
        if number < oldest {
            return Found::Lost { oldest };
        }
        let index = self.closed.partition_point(|page| page.end() <= number);
        self.closed.get(index).cloned().map_or(Found::Nothing, Found::Page)
    }
}

/// Whether an operator made this happen to a peer.
fn is_an_operators(event: &Event) -> bool {
    matches!(
        event,
        Event::Released { cause: EndCause::Operator, .. }
            | Event::Withdrawn { cause: EndCause::Operator, .. }
            | Event::PeerEnded { cause: EndCause::Operator, .. }
    )
}

/// Whether it is what an operator's act makes happen, in the turn of such an act.
fn can_be_an_operators(event: &Event) -> bool {
    let is_removed = matches!(
        event,
        Event::Released { cause: EndCause::Removed, .. } | Event::Withdrawn { cause: EndCause::Removed, .. }
    );
    let is_set = matches!(event, Event::SemaphoreSet { .. } | Event::SemaphoreRemoved { .. });
    is_removed || is_set || is_an_operators(event)
}

#[cfg(test)]
mod tests {
    use throttle_core::{Owner, PeerId};

    use super::*;

    fn push(log: &mut EventLog, peers: std::ops::Range<u64>) {
        for peer in peers {
            let event = Event::PeerEnded {
                peer: PeerId(peer),
                owner: Owner::NOBODY,
                labels: None,
                cause: EndCause::Released,
            };
            log.push(WallTime::default(), event, None);
        }
    }

    /// Reads all from a number on: the number of the first event, and the peers.
    fn read(log: &EventLog, mut number: u64) -> Vec<u64> {
        let mut peers = Vec::new();
        while let Found::Page(page) = log.at(number) {
            for (at, logged) in page.from(number) {
                assert_eq!(at, number);
                number += 1;
                let Event::PeerEnded { peer, .. } = logged.event else { panic!("{logged:?}") };
                peers.push(peer.0);
            }
        }
        peers
    }

    #[test]
    fn readers_see_what_is_closed_once_and_in_order() {
        let mut log = EventLog::new(10_000, 500);
        assert!(matches!(log.at(500), Found::Nothing));
        push(&mut log, 0..3);
        assert!(matches!(log.at(500), Found::Nothing), "not closed yet");
        log.close_page();
        assert_eq!(read(&log, 500), [0, 1, 2]);
        assert_eq!(read(&log, 502), [2]);
        push(&mut log, 3..700);
        log.close_page();
        log.close_page();
        assert_eq!(read(&log, 500), (0..700).collect::<Vec<_>>());
        assert_eq!(read(&log, 756), (256..700).collect::<Vec<_>>());
        assert_eq!((log.next(), log.oldest()), (1200, 500));
        assert!(log.knows(500) && log.knows(1200) && !log.knows(499) && !log.knows(1201));
    }

    #[test]
    fn the_oldest_make_room_but_the_limit_is_kept() {
        for limit in [1, 100, 256, 1000] {
            let mut log = EventLog::new(limit, 0);
            push(&mut log, 0..5000);
            let kept = |log: &EventLog| usize::try_from(5000 - log.oldest()).unwrap();
            assert!((limit..=limit + 2 * PAGE).contains(&kept(&log)));
            log.close_page();
            assert!(kept(&log) >= limit);
            let oldest = log.oldest();
            assert!(matches!(log.at(oldest - 1), Found::Lost { oldest: found } if found == oldest));
            assert_eq!(read(&log, oldest), (oldest..5000).collect::<Vec<_>>());
            let latest = log.latest(2).into_iter().map(|(number, _)| number);
            assert_eq!(latest.collect::<Vec<_>>(), [4998, 4999]);
        }
    }

    #[test]
    fn a_reader_is_told_what_it_missed() {
        let mut log = EventLog::new(1, 100);
        push(&mut log, 0..600);
        for (beginning, next, missed) in [
            (Beginning::Now, 700, None),
            (Beginning::After(699), 700, None),
            (Beginning::After(698), 699, None),
            (Beginning::Oldest, 612, None),
            (Beginning::After(611), 612, None),
            (Beginning::After(610), 612, Some(Missed::Events(1))),
            (Beginning::After(99), 612, Some(Missed::Events(512))),
            (Beginning::After(98), 612, Some(Missed::Unknown)),
            (Beginning::After(700), 612, Some(Missed::Unknown)),
            (Beginning::After(u64::MAX), 612, Some(Missed::Unknown)),
        ] {
            assert_eq!(log.open(beginning), (next, missed), "{beginning:?}");
        }
    }

    #[test]
    fn a_reason_and_a_name_go_with_what_the_operator_did_only() {
        let mut log = EventLog::new(100, 0);
        let word = Word { reason: Some("stuck".into()), by: Some("ana".into()) };
        for cause in [EndCause::Expired, EndCause::Operator] {
            log.push(
                WallTime::default(),
                Event::PeerEnded { peer: PeerId(1), owner: Owner::NOBODY, labels: None, cause },
                Some(&word),
            );
        }
        log.push(WallTime::default(), Event::SemaphoreRemoved { semaphore: "A".into() }, Some(&word));
        log.push(WallTime::default(), Event::SemaphoreRemoved { semaphore: "A".into() }, None);
        log.close_page();
        let Found::Page(page) = log.at(0) else { panic!("four events") };
        let told = page.from(0).map(|(_, logged)| (logged.reason.as_deref(), logged.by.as_deref()));
        let ana = Some("ana");
        assert_eq!(told.collect::<Vec<_>>(), [(None, None), (Some("stuck"), ana), (None, ana), (None, None)]);
    }
}
