//! The engine itself: the core behind its mutex, and what follows from every command.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
};

use rand::{Rng as _, SeedableRng, rngs::StdRng};
use throttle_core::{Core, EndCause, Event, PeerId, Time};
use throttle_journal::Wall;
use tokio::sync::Notify;
use tracing::level_filters::LevelFilter;

use super::{
    blocked::Blocked,
    clock::Clock,
    diary::{self, Note},
    ended::{Ended, Ending},
    feed::Feed,
    keys::{Key, Keys},
};
use crate::{
    journal::{JournalFailed, Outbox, Record, State},
    metrics::Recorder,
    telemetry::trace,
};

/// Serves commands on one core. Cheap to share behind an [`Arc`].
pub struct Engine {
    shared: Mutex<Shared>,
    /// Told when something falls due earlier than the driver expects.
    pub(super) earlier: Notify,
    /// Told when there are events that no reader was told of.
    pub(super) unread: Notify,
    /// How many may read events at the same time.
    pub(super) event_streams_max: usize,
    /// How many of those who read events are parts of the server.
    pub(super) own_streams: AtomicUsize,
    outbox: Option<Outbox>,
}

/// What an engine is made of.
pub struct Parts {
    /// The state that it begins with.
    pub state: State,
    /// How much it keeps beside that.
    pub bounds: Bounds,
    /// Counts what happens.
    pub recorder: Recorder,
    /// Where what happens is left to be written down. Without it, nothing is.
    pub outbox: Option<Outbox>,
}

/// How much the engine keeps beside the core.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Requests that wait at the same time.
    pub blocked_requests: usize,
    /// Peers whose end is remembered.
    pub remembered_peers: usize,
    /// Keys of requests that may be repeated.
    pub idempotency_keys: usize,
    /// Events kept for those who read them.
    pub events: usize,
    /// Readers of events at the same time.
    pub event_streams: usize,
}

pub(super) struct Shared {
    pub(super) core: Core,
    pub(super) clock: Clock,
    pub(super) random: StdRng,
    pub(super) blocked: Blocked,
    pub(super) keys: Keys,
    pub(super) ended: Ended,
    pub(super) feed: Feed,
    /// Why an operator releases the peer that this command ends.
    pub(super) reason: Option<Arc<str>>,
    /// No request may wait any longer.
    pub(super) is_draining: bool,
    /// When the driver looks at the core next.
    pub(super) armed_for: Time,
    /// When grants that are held back for peers that may come back will be given out.
    pub(super) holds_until: Option<Time>,
    /// Where the wall clock is, as it was last written down.
    written_wall: Wall,
    outbox: Option<Outbox>,
    /// What this command has written down besides its events.
    records: Vec<Record>,
    recorder: Recorder,
    /// What is to be logged once the engine is let go.
    notes: Vec<Note>,
}

impl Engine {
    /// An engine that goes on from a state. Every lease begins anew in full.
    ///
    /// Fails only if the system has no randomness to give.
    pub fn new(parts: Parts) -> Result<Arc<Self>, getrandom::Error> {
        let Parts { state, bounds, mut recorder, outbox } = parts;
        let State { mut core, keys: known, holds_until, wall, .. } = state;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let mut clock = Clock::start(core.now(), wall);
        let now = clock.now();
        let holds_until = holds_until.filter(|&until| until > now);
        if holds_until.is_some() {
            core.hold_grants();
        }
        core.end_replay(now);
        for semaphore in core.semaphores(None) {
            recorder.adopt(semaphore.name(), semaphore.pattern());
        }
        let mut keys = Keys::new(bounds.idempotency_keys);
        // In the order in which they were used, for the oldest go first.
        let mut known: Vec<_> = known
            .into_iter()
            .filter_map(|(peer, key)| Some((core.peer(peer).ok()?.created_at(), peer, key)))
            .collect();
        known.sort_unstable_by_key(|&(at, peer, _)| (at, peer));
        for (_, peer, (text, fingerprint)) in &known {
            keys.remember(Some(Key::known(text, *fingerprint)), *peer);
        }
        let shared = Shared {
            core,
            clock,
            random: StdRng::from_seed(seed),
            blocked: Blocked::new(bounds.blocked_requests),
            keys,
            ended: Ended::new(bounds.remembered_peers),
            // The time goes on where an earlier run of the same state ended, so it exceeds every number given then.
            feed: Feed::new(bounds.events, now.as_micros()),
            reason: None,
            is_draining: false,
            armed_for: Time::default(),
            holds_until,
            written_wall: wall,
            outbox: outbox.clone(),
            records: Vec::new(),
            recorder,
            notes: Vec::new(),
        };
        let engine = Self {
            shared: Mutex::new(shared),
            earlier: Notify::new(),
            unread: Notify::new(),
            event_streams_max: bounds.event_streams,
            own_streams: AtomicUsize::new(0),
            outbox,
        };
        // Something may have been due at once.
        engine.with(|_, _| ());
        Ok(Arc::new(engine))
    }

    /// Waits until everything that happened before this call is safe: answers that tell of it may leave then.
    ///
    /// # Errors
    ///
    /// If that will never be so.
    pub async fn settled(&self) -> Result<(), JournalFailed> {
        match &self.outbox {
            None => Ok(()),
            Some(outbox) => outbox.settled().await,
        }
    }

    /// Whether what happens is written down before it is told.
    pub fn is_durable(&self) -> bool {
        self.outbox.is_some()
    }

    /// Whether so much waits to be written down that nothing more should happen.
    pub fn is_behind(&self) -> bool {
        self.outbox.as_ref().is_some_and(Outbox::is_full)
    }

    /// Runs `command` on the core as it is now, and lets everything follow that it makes happen.
    pub(super) fn with<R>(&self, command: impl FnOnce(&mut Shared, Time) -> R) -> R {
        let mut shared = self.lock();
        let now = shared.clock.now();
        shared.core.advance(now);
        let due = shared.core.events().len();
        let reply = command(&mut shared, now);
        let is_unread = shared.has_news() && shared.publish(now, due);
        let notes = mem::take(&mut shared.notes);
        let is_due_earlier = shared.core.next_deadline().is_some_and(|at| at < shared.armed_for);
        drop(shared);
        if is_due_earlier {
            self.earlier.notify_one();
        }
        if is_unread {
            self.unread.notify_one();
        }
        if !notes.is_empty() {
            diary::write(notes);
        }
        reply
    }

    /// A look at the core as it is now.
    pub fn view<R>(&self, look: impl FnOnce(&Core) -> R) -> R {
        self.with(|shared, _| look(&shared.core))
    }

    /// A look at the core as it is now, and at the wall clock.
    pub fn view_with_wall<R>(&self, look: impl FnOnce(&Core, Wall) -> R) -> R {
        self.with(|shared, now| {
            let wall = shared.clock.wall(now);
            look(&shared.core, wall)
        })
    }

    /// Where the wall clock is now.
    pub fn wall(&self) -> Wall {
        self.view_with_wall(|_, wall| wall)
    }

    /// What time it is to the core.
    pub fn now(&self) -> Time {
        self.with(|_, now| now)
    }

    /// How many requests wait for a grant while their connection is open.
    pub fn blocked_requests(&self) -> usize {
        self.lock().blocked.count()
    }

    /// Whether the server is about to stop.
    pub fn is_draining(&self) -> bool {
        self.lock().is_draining
    }

    /// Answers every request that waits as if its time were over, and ends every reading of events, now and
    /// from now on.
    pub fn drain(&self) {
        let mut shared = self.lock();
        shared.is_draining = true;
        shared.blocked.wake_all();
        shared.feed.reveal();
        shared.feed.news().send_replace(());
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Shared> {
        // A thread that panicked ends the process in release builds; in tests the others may go on.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Whether the lease of one of these peers, as it is now, is not safe yet.
    pub(super) fn has_unsafe_lease(&self, peers: &[PeerId]) -> bool {
        self.outbox.as_ref().is_some_and(|outbox| outbox.has_unsafe_lease(peers))
    }

    /// Whether this command did something that others are to know.
    fn has_news(&self) -> bool {
        self.core.has_events() || !self.records.is_empty()
    }

    /// Has something written down that is not an event of the core, together with the events of this command.
    pub(super) fn write_down(&mut self, record: Record) {
        if self.outbox.is_some() {
            self.records.push(record);
        }
    }

    /// Has it written down when the wall clock was set, or the server stood still: after a restart, what happened
    /// before is to be shown as it was.
    pub(super) fn write_down_wall(&mut self, now: Time) {
        let wall = self.clock.wall(now);
        if wall != self.written_wall {
            self.written_wall = wall;
            self.write_down(Record::Wall { ahead_us: wall.ahead_micros() });
        }
    }

    pub(super) fn random(&mut self) -> u64 {
        self.random.next_u64()
    }

    /// Counts what happened, remembers what will be asked for, and wakes those whom it concerns. The first `due`
    /// events fell due, and are not the doing of whoever asks for something now. Tells whether readers of events are
    /// to be told.
    #[inline(never)]
    fn publish(&mut self, now: Time, due: usize) -> bool {
        let reason = self.reason.take();
        // What happens now is shown by the clock of now, whatever becomes of that later.
        let at = self.clock.wall(now).at(now);
        if let Some(outbox) = &self.outbox {
            // All at once: a part of what a command did must not outlive a crash without the rest.
            let events = self.core.events().iter().filter_map(Record::of);
            outbox.put(self.records.drain(..).chain(events));
        }
        let current = trace::current();
        let level = LevelFilter::current();
        // A grant over several semaphores is an event for each, and wakes its request with the first.
        let mut last_woken = None;
        for (index, event) in self.core.drain_events().enumerate() {
            self.recorder.record(&event);
            let cause = current.filter(|_| index >= due);
            let mut trace = cause;
            match event {
                Event::Granted { peer, waited: Some(_), .. } | Event::Withdrawn { peer, .. } => {
                    trace = match last_woken {
                        Some((woken, trace)) if woken == peer => trace,
                        _ => self.blocked.wake(peer, cause),
                    };
                    last_woken = Some((peer, trace));
                }
                Event::PeerEnded { peer, cause: end } => {
                    let reason = reason.clone().filter(|_| end == EndCause::Operator);
                    self.ended.remember(peer, Ending { cause: end, reason, at });
                    self.blocked.wake(peer, cause);
                }
                _ => {}
            }
            if level >= LevelFilter::INFO {
                self.notes.extend(Note::of(&event, level, reason.as_ref(), trace));
            }
            self.feed.push(at, event, reason.as_ref());
        }
        self.feed.announce()
    }
}
