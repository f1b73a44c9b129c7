//! The engine itself: the node behind its mutex, and what the shell does with what comes of every turn.

use std::{
    collections::HashMap,
    error::Error,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
};

use rand::{Rng as _, SeedableRng, rngs::StdRng};
use throttle_core::{Core, Event, Time};
use throttle_journal::{Epoch, Wall};
use throttle_node::{Bounds, Condition, Follower, Node, Observed, Output, Ticket};
use tokio::sync::{Notify, oneshot, watch};
use tracing::level_filters::LevelFilter;

use super::{
    clock::Clock,
    lead::{Deposed, Lead},
    lines::{self, Line},
};
use crate::{
    journal::{JournalFailed, Outbox},
    telemetry::trace::{self, TraceIds},
};

/// Told of every event, while the engine is held: it must be quick.
pub trait Observer: Send {
    /// A semaphore is there from the start, by the name of its pattern if it has one.
    fn adopt(&mut self, core: &Core);
    /// Something happened.
    fn observe(&mut self, event: &Event);
}

/// Runs one node. Cheap to share behind an [`Arc`].
pub struct Engine {
    shared: Mutex<Guarded>,
    /// Told when something falls due earlier than the driver expects.
    pub(super) earlier: Notify,
    /// Told when there are events that no reader was told of.
    pub(super) unread: Notify,
    /// How many may read events at the same time.
    pub(super) event_streams_max: usize,
    /// How many of those who read events are parts of the server.
    pub(super) own_streams: AtomicUsize,
    outbox: Option<Outbox>,
    lead: Option<Arc<Lead>>,
}

/// Why an answer may not leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotSafe {
    /// The journal cannot be written.
    Failed(JournalFailed),
    /// Another server leads by now.
    Deposed,
    /// It is not known in time whether what it tells will last.
    Late,
}

impl fmt::Display for NotSafe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failed) => failed.fmt(f),
            Self::Deposed => f.write_str("another server leads by now"),
            Self::Late => f.write_str("etcd did not answer in time"),
        }
    }
}

impl Error for NotSafe {}

impl From<JournalFailed> for NotSafe {
    fn from(failed: JournalFailed) -> Self {
        Self::Failed(failed)
    }
}

impl From<Deposed> for NotSafe {
    fn from(Deposed: Deposed) -> Self {
        Self::Deposed
    }
}

/// What an engine is made of.
pub struct Parts {
    /// What is known so far.
    pub follower: Follower,
    /// How much the node keeps beside that.
    pub bounds: Bounds,
    /// How many may read events at the same time.
    pub event_streams: usize,
    /// Counts what happens.
    pub observer: Box<dyn Observer>,
    /// The epoch in which the node leads, and where what happens is left to be written down. Without it, nothing is.
    pub log: Option<(Epoch, Outbox)>,
    /// By which it is known that this server leads, if it is one of several.
    pub lead: Option<Arc<Lead>>,
}

/// The node, and what the shell has around it.
pub(super) struct Guarded {
    pub(super) node: Node,
    pub(super) clock: Clock,
    random: StdRng,
    /// The tasks of the requests that wait.
    pub(super) wakers: HashMap<Ticket, Waker, foldhash::fast::RandomState>,
    /// When the driver looks at the node next.
    pub(super) armed_for: Time,
    /// Whether the notifier knows of the latest event.
    pub(super) is_announced: bool,
    /// By which readers of events are told that there is more.
    pub(super) news: watch::Sender<()>,
    observer: Box<dyn Observer>,
    outbox: Option<Outbox>,
}

/// The task of a request that waits.
pub(super) struct Waker {
    /// Where the request is in its trace.
    pub(super) trace: Option<TraceIds>,
    /// Told when it is woken, with the place in a trace of what woke it.
    pub(super) sender: oneshot::Sender<Option<TraceIds>>,
}

/// A turn of the node: the present, and what a command may need.
pub(super) struct Turn<'a> {
    pub(super) node: &'a mut Node,
    pub(super) now: Time,
    pub(super) clock: &'a mut Clock,
    pub(super) wakers: &'a mut HashMap<Ticket, Waker, foldhash::fast::RandomState>,
    random: &'a mut StdRng,
    outbox: Option<&'a Outbox>,
}

impl Turn<'_> {
    /// Whether so much waits to be written down that nothing more should happen.
    pub(super) fn is_behind(&self) -> bool {
        self.outbox.is_some_and(Outbox::is_full)
    }

    /// Where the wall clock is.
    pub(super) fn wall(&mut self) -> Wall {
        self.clock.wall(self.now)
    }

    pub(super) fn random(&mut self) -> u64 {
        self.random.next_u64()
    }
}

impl Engine {
    /// An engine whose node begins to lead. Every lease begins anew in full.
    ///
    /// # Errors
    ///
    /// Only if the system has no randomness to give.
    pub fn new(parts: Parts) -> Result<Arc<Self>, getrandom::Error> {
        let Parts { follower, bounds, event_streams, mut observer, log, lead } = parts;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let mut clock = Clock::start(follower.now(), follower.wall(), lead.clone());
        let now = clock.now();
        let node = follower.promote(now, log.as_ref().map(|(epoch, _)| *epoch), bounds);
        observer.adopt(node.core());
        let outbox = log.map(|(_, outbox)| outbox);
        let shared = Guarded {
            node,
            clock,
            random: StdRng::from_seed(seed),
            wakers: HashMap::default(),
            armed_for: Time::default(),
            is_announced: false,
            news: watch::Sender::new(()),
            observer,
            outbox: outbox.clone(),
        };
        let engine = Self {
            shared: Mutex::new(shared),
            earlier: Notify::new(),
            unread: Notify::new(),
            event_streams_max: event_streams,
            own_streams: AtomicUsize::new(0),
            outbox,
            lead,
        };
        // Something may have been due at once.
        engine.turn(|_| ());
        Ok(Arc::new(engine))
    }

    /// Waits until an answer may leave.
    ///
    /// # Errors
    ///
    /// If that will never be so, or nobody knows soon enough.
    pub async fn condition(&self, condition: Condition) -> Result<(), NotSafe> {
        match (condition, &self.lead) {
            (Condition::Committed(_) | Condition::Confirmed, Some(lead)) => {
                Box::pin(self.led(lead, condition)).await
            }
            // A single server always leads.
            (Condition::Now, _) | (Condition::Confirmed, None) => Ok(()),
            (Condition::Committed(offset), None) => match &self.outbox {
                None => Ok(()),
                Some(outbox) => Ok(outbox.flushed(offset).await?),
            },
        }
    }

    /// Waits until everything that happened before this call is safe: answers that tell of it may leave then.
    ///
    /// # Errors
    ///
    /// If that will never be so, or nobody knows soon enough.
    pub async fn settled(&self) -> Result<(), NotSafe> {
        match &self.outbox {
            None => Ok(()),
            Some(outbox) if self.lead.is_none() => Ok(outbox.all_flushed().await?),
            Some(outbox) => self.condition(Condition::Committed(outbox.put_upto())).await,
        }
    }

    /// The same for one of several servers: it led when the command had run, and what the answer tells is in the log.
    async fn led(&self, lead: &Lead, condition: Condition) -> Result<(), NotSafe> {
        let safe = async {
            match (condition, &self.outbox) {
                (Condition::Committed(offset), Some(outbox)) if outbox.is_open(offset) => {
                    // What is appended after the command has run confirms that this server led then.
                    tokio::select! {
                        flushed = outbox.flushed(offset) => Ok(flushed?),
                        Deposed = lead.over() => Err(NotSafe::Deposed),
                    }
                }
                (Condition::Committed(offset), Some(outbox)) => {
                    let (flushed, confirmed) = tokio::join!(outbox.flushed(offset), lead.confirmed());
                    flushed?;
                    Ok(confirmed?)
                }
                _ => Ok(lead.confirmed().await?),
            }
        };
        tokio::time::timeout(lead.patience, safe).await.unwrap_or(Err(NotSafe::Late))
    }

    /// Whether what happens is written down before it is told.
    pub fn is_durable(&self) -> bool {
        self.outbox.is_some()
    }

    /// Whether so much waits to be written down that nothing more should happen.
    pub fn is_behind(&self) -> bool {
        self.outbox.as_ref().is_some_and(Outbox::is_full)
    }

    /// Runs `command` on the node as it is now, and lets everything follow that it makes happen.
    pub(super) fn turn<R>(&self, command: impl FnOnce(&mut Turn<'_>) -> R) -> R {
        let mut shared = self.lock();
        let (reply, now) = shared.run(command);
        let (mut lines, mut is_unread) = (Vec::new(), false);
        if shared.node.has_output() {
            lines = shared.publish(now);
            is_unread = shared.announce();
        }
        let is_due_earlier = shared.node.next_deadline().is_some_and(|at| at < shared.armed_for);
        drop(shared);
        if is_due_earlier {
            self.earlier.notify_one();
        }
        if is_unread {
            self.unread.notify_one();
        }
        if !lines.is_empty() {
            lines::write(lines);
        }
        reply
    }

    /// A look at the core as it is now.
    pub fn view<R>(&self, look: impl FnOnce(&Core) -> R) -> R {
        self.turn(|turn| look(turn.node.core()))
    }

    /// A look at the core as it is now, and at the wall clock.
    pub fn view_with_wall<R>(&self, look: impl FnOnce(&Core, Wall) -> R) -> R {
        self.turn(|turn| {
            let wall = turn.wall();
            look(turn.node.core(), wall)
        })
    }

    /// Where the wall clock is now.
    pub fn wall(&self) -> Wall {
        self.view_with_wall(|_, wall| wall)
    }

    /// What time it is to the core.
    pub fn now(&self) -> Time {
        self.turn(|turn| turn.now)
    }

    /// How many requests wait for a grant while their connection is open.
    pub fn blocked_requests(&self) -> usize {
        self.lock().node.waits()
    }

    /// Whether the server is about to stop.
    pub fn is_draining(&self) -> bool {
        self.lock().node.is_draining()
    }

    /// Answers every request that waits as if its time were over, and ends every reading of events, now and
    /// from now on.
    pub fn drain(&self) {
        self.turn(|turn| turn.node.drain());
        let news = self.lock().news.clone();
        news.send_replace(());
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Guarded> {
        // A thread that panicked ends the process in release builds; in tests the others may go on.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guarded {
    fn run<R>(&mut self, command: impl FnOnce(&mut Turn<'_>) -> R) -> (R, Time) {
        let Self { node, clock, random, wakers, outbox, .. } = self;
        let now = clock.now();
        if let Some(outbox) = outbox {
            node.appended(outbox.flushed_upto());
        }
        node.advance(now);
        let outbox = outbox.as_ref();
        (command(&mut Turn { node, now, clock, wakers, random, outbox }), now)
    }

    /// Does what the node says. Returns what is to be logged.
    #[inline(never)]
    fn publish(&mut self, now: Time) -> Vec<Line> {
        let Self { node, clock, wakers, observer, outbox, .. } = self;
        let (level, current) = (LevelFilter::current(), trace::current());
        let mut lines = Vec::new();
        // Where those are in their traces that were woken.
        let mut woken_traces = Vec::new();
        node.publish(now, clock.wall(now), |output| match output {
            Output::Append { records, upto } => {
                if let Some(outbox) = outbox {
                    outbox.put(records, upto);
                }
            }
            Output::Wake { ticket, fell_due } => {
                let Some(Waker { trace, sender }) = wakers.remove(&ticket) else { return };
                woken_traces.extend(trace.map(|trace| (ticket, trace)));
                // A request that is gone needs no word; its grant stays with the peer.
                let _ = sender.send(current.filter(|_| !fell_due));
            }
            Output::Observed(Observed { event, reason, fell_due, woken }) => {
                observer.observe(event);
                if level >= LevelFilter::INFO {
                    let woken_trace = || woken_traces.iter().find(|(ticket, _)| Some(*ticket) == woken);
                    let trace = match woken {
                        Some(_) => woken_trace().map(|&(_, trace)| trace),
                        None if is_end_of_wait(event) => None,
                        None => current.filter(|_| !fell_due),
                    };
                    lines.extend(Line::of(event, level, reason, trace));
                }
            }
        });
        lines
    }

    /// Whether the notifier is to be called, since there are events that it does not know of, and readers.
    fn announce(&mut self) -> bool {
        let is_new = !self.is_announced && self.news.receiver_count() > 0;
        self.is_announced |= is_new;
        is_new
    }

    /// Shows readers every event up to now.
    pub(super) fn show_events(&mut self) {
        self.node.events_mut().close_page();
        self.is_announced = false;
    }
}

/// Whether it happens to a request that waited, so that the trace is that of the request, not of what ended its wait.
fn is_end_of_wait(event: &Event) -> bool {
    matches!(event, Event::Granted { waited: Some(_), .. } | Event::Withdrawn { .. })
}
