//! Subscriptions: reading events as they happen.

use std::{
    error::Error,
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use throttle_node::{Beginning, Found, LoggedEvent, Missed, Page};
use tokio::sync::watch;

use super::engine::{Engine, Guarded};

/// The least time between two wake-ups of all readers.
const PACE: Duration = Duration::from_millis(20);

/// What a reader gets.
#[derive(Clone, Debug)]
pub enum News {
    /// Events, from this number on.
    Events(Page, u64),
    /// The reader was too slow, and this many events it had not read are no longer kept.
    Dropped(u64),
}

/// Why there is nothing to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeError {
    /// As many read as may.
    TooMany {
        /// How many may.
        limit: usize,
    },
    /// The server is about to stop.
    Draining,
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany { limit } => {
                write!(f, "the limit of {limit} event streams at the same time is reached")
            }
            Self::Draining => f.write_str("the server is about to stop"),
        }
    }
}

impl Error for SubscribeError {}

/// One reader of events.
pub struct Subscription {
    engine: Arc<Engine>,
    news: watch::Receiver<()>,
    /// The number of the next event to read.
    next: u64,
    /// Whether it reads for the server itself, which is no stream of a client.
    is_own: bool,
}

impl Engine {
    /// Begins to read events, and tells what is missing at the beginning.
    pub fn subscribe(
        self: &Arc<Self>,
        beginning: Beginning,
    ) -> Result<(Subscription, Option<Missed>), SubscribeError> {
        let mut shared = self.lock();
        if shared.node.is_draining() {
            return Err(SubscribeError::Draining);
        }
        if self.streams_of(&shared) >= self.event_streams_max {
            return Err(SubscribeError::TooMany { limit: self.event_streams_max });
        }
        // Nothing that happened before somebody read was announced.
        let (next, missed) = shared.node.events_mut().open(beginning);
        let news = shared.news.subscribe();
        drop(shared);
        Ok((Subscription { engine: Arc::clone(self), news, next, is_own: false }, missed))
    }

    /// Begins to read events from now on, for the server itself. `None`: it is about to stop.
    pub fn watch(self: &Arc<Self>) -> Option<Subscription> {
        let mut shared = self.lock();
        if shared.node.is_draining() {
            return None;
        }
        let (next, _) = shared.node.events_mut().open(Beginning::Now);
        let news = shared.news.subscribe();
        self.own_streams.fetch_add(1, Relaxed);
        drop(shared);
        Some(Subscription { engine: Arc::clone(self), news, next, is_own: true })
    }

    /// The last events, up to so many, each with its number, the oldest first.
    pub fn latest_events(&self, limit: usize) -> Vec<(u64, LoggedEvent)> {
        self.lock().node.events().latest(limit)
    }

    /// How many clients read events.
    pub fn event_streams(&self) -> usize {
        self.streams_of(&self.lock())
    }

    fn streams_of(&self, shared: &Guarded) -> usize {
        shared.news.receiver_count().saturating_sub(self.own_streams.load(Relaxed))
    }

    /// The notifier: wakes the readers of events when there is something to read. Runs for ever.
    pub async fn run_event_notifier(&self) {
        let news = self.lock().news.clone();
        loop {
            self.unread.notified().await;
            self.lock().show_events();
            // Outside the lock, since there may be many.
            news.send_replace(());
            tokio::time::sleep(PACE).await;
        }
    }
}

impl Subscription {
    /// The number of the next event to read.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// Waits for what comes next. `None`: the server is about to stop. May be dropped and called anew.
    pub async fn next(&mut self) -> Option<News> {
        loop {
            // The guard must be gone before the wait.
            let (found, is_draining) = {
                let mut shared = self.engine.lock();
                let is_draining = shared.node.is_draining();
                if is_draining {
                    // The notifier may not come to it any more.
                    shared.show_events();
                }
                (shared.node.events().at(self.next), is_draining)
            };
            match found {
                Found::Page(page) => {
                    // What is not safe yet may still be undone by a power cut. The server itself only gathers here.
                    if !self.is_own {
                        self.engine.settled().await.ok()?;
                    }
                    let from = std::mem::replace(&mut self.next, page.end());
                    return Some(News::Events(page, from));
                }
                Found::Lost { oldest } => return Some(News::Dropped(oldest - self.next)),
                Found::Nothing if is_draining => return None,
                Found::Nothing => self.news.changed().await.ok()?,
            }
        }
    }

    /// Whether events that it has not read are no longer kept.
    pub fn is_behind(&self) -> bool {
        matches!(self.engine.lock().node.events().at(self.next), Found::Lost { .. })
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if self.is_own {
            self.engine.own_streams.fetch_sub(1, Relaxed);
        }
    }
}
