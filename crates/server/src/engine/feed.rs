//! What happened lately, kept for those who read it.
//!
//! Whoever changes the core also writes here, so that must cost next to nothing: an event is moved to the end of
//! an open page. Full pages are sealed, and readers share a sealed page instead of copying it. Nobody is woken
//! for each event: a herald tells all readers at once, at a bounded pace.

use std::{collections::VecDeque, sync::Arc};

use throttle_core::{EndCause, Event};
use throttle_journal::WallTime;
use tokio::sync::watch;

use super::kind::Kind;

/// How many events a page holds.
const PAGE: usize = 256;

/// One event, with what is known around it.
#[derive(Clone, Debug)]
pub struct Happening {
    /// Its kind.
    pub kind: Kind,
    /// When the server took note of it, by the wall clock of that moment.
    pub at: WallTime,
    /// The event itself.
    pub event: Event,
    /// What the operator who caused it gave as the reason.
    pub reason: Option<Arc<str>>,
}

/// Some events in their order.
#[derive(Clone, Debug)]
pub struct Page {
    /// The number of the first.
    first: u64,
    events: Arc<[Happening]>,
}

/// The last events, in pages; the oldest page makes room for new ones.
pub(super) struct Feed {
    /// How many events are kept at least.
    limit: usize,
    /// The number of the first event of this run.
    origin: u64,
    /// The number that the next event will have.
    next: u64,
    open: Vec<Happening>,
    sealed: VecDeque<Page>,
    /// How many events the sealed pages hold.
    kept: usize,
    /// Whether the herald knows of the latest event.
    is_announced: bool,
    news: watch::Sender<()>,
}

/// What a reader finds at its place.
#[derive(Debug)]
pub(super) enum Found {
    /// More to read.
    Page(Page),
    /// Nothing yet.
    Nothing,
    /// What came next is no longer kept, nor the events after it up to this number.
    Lost { oldest: u64 },
}

impl Page {
    /// The event of this number and those after it, each with its number.
    pub fn from(&self, number: u64) -> impl Iterator<Item = (u64, &Happening)> {
        let skipped = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        (self.first..).zip(self.events.iter()).skip(skipped)
    }

    /// The number after the last.
    pub fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }
}

impl Feed {
    /// A feed that numbers its events from `origin` on.
    pub(super) fn new(limit: usize, origin: u64) -> Self {
        Self {
            limit,
            origin,
            next: origin,
            open: Vec::with_capacity(PAGE),
            sealed: VecDeque::new(),
            kept: 0,
            is_announced: false,
            news: watch::Sender::new(()),
        }
    }

    /// Adds an event, if it is one that readers are told of.
    pub(super) fn push(&mut self, at: WallTime, event: Event, reason: Option<&Arc<str>>) {
        let Some(kind) = Kind::of(&event) else { return };
        let reason = reason.filter(|_| is_an_operators(&event)).cloned();
        self.open.push(Happening { kind, at, event, reason });
        self.next += 1;
        if self.open.len() >= PAGE {
            self.seal();
        }
    }

    /// Makes the open page one that readers see.
    pub(super) fn seal(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let first = self.next - self.open.len() as u64;
        self.kept += self.open.len();
        self.sealed.push_back(Page { first, events: self.open.drain(..).collect() });
        while let Some(oldest) = self.sealed.front().map(|page| page.events.len())
            && self.kept - oldest >= self.limit
        {
            self.sealed.pop_front();
            self.kept -= oldest;
        }
    }

    /// Whether the herald is to be called, since there are events that it does not know of, and readers.
    pub(super) fn announce(&mut self) -> bool {
        !self.is_announced && self.readers() > 0 && {
            self.is_announced = true;
            true
        }
    }

    /// Shows the readers everything up to now. The herald's.
    pub(super) fn reveal(&mut self) {
        self.seal();
        self.is_announced = false;
    }

    /// By which readers are told that there is more.
    pub(super) fn news(&self) -> &watch::Sender<()> {
        &self.news
    }

    /// How many read.
    pub(super) fn readers(&self) -> usize {
        self.news.receiver_count()
    }

    /// The number that the next event will have.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The number of the oldest event that is kept.
    pub(super) fn oldest(&self) -> u64 {
        self.next - (self.kept + self.open.len()) as u64
    }

    /// The last events, up to so many, each with its number, the oldest first.
    pub(super) fn latest(&self, limit: usize) -> Vec<(u64, Happening)> {
        let sealed = self.sealed.iter().rev().flat_map(|page| page.events.iter().rev());
        let latest = self.open.iter().rev().chain(sealed).take(limit);
        let mut latest: Vec<_> = (0..self.next).rev().zip(latest.cloned()).collect();
        latest.reverse();
        latest
    }

    /// Whether an event of this number was, or is to be, the next of this run.
    pub(super) fn knows(&self, number: u64) -> bool {
        (self.origin..=self.next).contains(&number)
    }

    /// What comes at this number, as far as it is sealed.
    pub(super) fn at(&self, number: u64) -> Found {
        let oldest = self.oldest();
        if number < oldest {
            return Found::Lost { oldest };
        }
        let index = self.sealed.partition_point(|page| page.end() <= number);
        self.sealed.get(index).cloned().map_or(Found::Nothing, Found::Page)
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

#[cfg(test)]
mod tests {
    use throttle_core::PeerId;

    use super::*;

    fn push(feed: &mut Feed, peers: std::ops::Range<u64>) {
        for peer in peers {
            let event = Event::PeerEnded { peer: PeerId(peer), cause: EndCause::Released };
            feed.push(WallTime::default(), event, None);
        }
    }

    /// Reads all from a number on: the number of the first event, and the peers.
    fn read(feed: &Feed, mut number: u64) -> Vec<u64> {
        let mut peers = Vec::new();
        while let Found::Page(page) = feed.at(number) {
            for (at, happening) in page.from(number) {
                assert_eq!(at, number);
                number += 1;
                let Event::PeerEnded { peer, .. } = happening.event else { panic!("{happening:?}") };
                peers.push(peer.0);
            }
        }
        peers
    }

    #[test]
    fn readers_see_what_is_sealed_once_and_in_order() {
        let mut feed = Feed::new(10_000, 500);
        assert!(matches!(feed.at(500), Found::Nothing));
        push(&mut feed, 0..3);
        assert!(matches!(feed.at(500), Found::Nothing), "not sealed yet");
        feed.seal();
        assert_eq!(read(&feed, 500), [0, 1, 2]);
        assert_eq!(read(&feed, 502), [2]);
        push(&mut feed, 3..700);
        feed.seal();
        feed.seal();
        assert_eq!(read(&feed, 500), (0..700).collect::<Vec<_>>());
        assert_eq!(read(&feed, 756), (256..700).collect::<Vec<_>>());
        assert_eq!((feed.next(), feed.oldest()), (1200, 500));
        assert!(feed.knows(500) && feed.knows(1200) && !feed.knows(499) && !feed.knows(1201));
    }

    #[test]
    fn the_oldest_make_room_but_the_limit_is_kept() {
        for limit in [1, 100, 256, 1000] {
            let mut feed = Feed::new(limit, 0);
            push(&mut feed, 0..5000);
            let kept = |feed: &Feed| usize::try_from(5000 - feed.oldest()).unwrap();
            assert!((limit..=limit + 2 * PAGE).contains(&kept(&feed)));
            feed.seal();
            assert!(kept(&feed) >= limit);
            let oldest = feed.oldest();
            assert!(matches!(feed.at(oldest - 1), Found::Lost { oldest: found } if found == oldest));
            assert_eq!(read(&feed, oldest), (oldest..5000).collect::<Vec<_>>());
            let latest = feed.latest(2).into_iter().map(|(number, _)| number);
            assert_eq!(latest.collect::<Vec<_>>(), [4998, 4999]);
        }
    }

    #[test]
    fn the_herald_is_called_once_and_only_if_somebody_reads() {
        let mut feed = Feed::new(100, 0);
        push(&mut feed, 0..1);
        assert!(!feed.announce());
        let reader = feed.news().subscribe();
        assert!(feed.announce() && !feed.announce());
        feed.reveal();
        push(&mut feed, 1..2);
        assert!(feed.announce());
        drop(reader);
        feed.reveal();
        assert!(!feed.announce());
    }

    #[test]
    fn a_reason_goes_with_what_the_operator_did_only() {
        let mut feed = Feed::new(100, 0);
        let reason: Arc<str> = "stuck".into();
        for cause in [EndCause::Expired, EndCause::Operator] {
            feed.push(WallTime::default(), Event::PeerEnded { peer: PeerId(1), cause }, Some(&reason));
        }
        feed.seal();
        let Found::Page(page) = feed.at(0) else { panic!("two events") };
        let reasons: Vec<_> = page.from(0).map(|(_, happening)| happening.reason.as_deref()).collect();
        assert_eq!(reasons, [None, Some("stuck")]);
    }
}
