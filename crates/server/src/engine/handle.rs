//! The engine itself: the core behind its mutex, and what follows from every command.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rand::{Rng as _, SeedableRng, rngs::StdRng};
use throttle_core::{Core, EndCause, Event, Settings, Time};
use tokio::sync::Notify;
use tracing::level_filters::LevelFilter;

use super::{
    blocked::Blocked,
    clock::Clock,
    diary::{self, Note},
    ended::{Ended, Ending},
    feed::Feed,
    keys::Keys,
};
use crate::{
    metrics::Recorder,
    telemetry::trace::{self, TraceIds},
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
    recorder: Recorder,
    /// What is to be logged once the engine is let go.
    notes: Vec<Note>,
}

impl Engine {
    /// An engine that starts with empty state and no semaphores.
    ///
    /// Fails only if the system has no randomness to give.
    pub fn new(
        settings: Settings,
        bounds: Bounds,
        recorder: Recorder,
    ) -> Result<Arc<Self>, getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let mut clock = Clock::start();
        let now = clock.now();
        // Microseconds of the time of day exceed what any earlier run can have counted up to.
        let core = Core::new(settings, now.as_micros(), getrandom::u64()?);
        let shared = Shared {
            core,
            clock,
            random: StdRng::from_seed(seed),
            blocked: Blocked::new(bounds.blocked_requests),
            keys: Keys::new(bounds.idempotency_keys),
            ended: Ended::new(bounds.remembered_peers),
            // The time of day exceeds every number that an earlier run can have given.
            feed: Feed::new(bounds.events, now.as_micros()),
            reason: None,
            is_draining: false,
            armed_for: Time::default(),
            recorder,
            notes: Vec::new(),
        };
        Ok(Arc::new(Self {
            shared: Mutex::new(shared),
            earlier: Notify::new(),
            unread: Notify::new(),
            event_streams_max: bounds.event_streams,
        }))
    }

    /// Runs `command` on the core as it is now, and lets everything follow that it makes happen.
    pub(super) fn with<R>(&self, command: impl FnOnce(&mut Shared, Time) -> R) -> R {
        let mut shared = self.lock();
        let now = shared.clock.now();
        shared.core.advance(now);
        // What fell due is not the doing of whoever asks for something now.
        let mut is_unread = shared.core.has_events() && shared.publish(now, None);
        let reply = command(&mut shared, now);
        is_unread |= shared.core.has_events() && shared.publish(now, trace::current());
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
    pub(super) fn random(&mut self) -> u64 {
        self.random.next_u64()
    }

    /// Counts what happened, remembers what will be asked for, and wakes those whom it concerns. `cause` is the place
    /// in its trace of the request that made it happen. Tells whether readers of events are to be told.
    #[inline(never)]
    fn publish(&mut self, now: Time, cause: Option<TraceIds>) -> bool {
        let reason = self.reason.take();
        let level = LevelFilter::current();
        // A grant over several semaphores is an event for each, and wakes its request with the first.
        let mut last_woken = None;
        for event in self.core.drain_events() {
            self.recorder.record(&event);
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
                    self.ended.remember(peer, Ending { cause: end, reason, at: now });
                    self.blocked.wake(peer, cause);
                }
                _ => {}
            }
            if level >= LevelFilter::INFO {
                self.notes.extend(Note::of(&event, level, reason.as_ref(), trace));
            }
            self.feed.push(now, event, reason.as_ref());
        }
        self.feed.announce()
    }
}
