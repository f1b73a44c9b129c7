//! What changed, for those who look on: gathered once for all of them, at a bounded pace.
//!
//! A dashboard must not cost the server what a reader of all events does. So there is one reader, while anybody
//! looks on; four times a second at most it says what changed, written once and shared by all.

use std::{
    collections::{BTreeSet, VecDeque},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{body::Bytes, extract::State};
use futures_util::stream;
use throttle_api::{Code, Digits, Event, Labels, MissedUpdates, Numbered, Update};
use throttle_core::{Event as Core, Name, PeerId};
use throttle_node::{LoggedEvent, Page};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::{Instant, timeout_at},
};

use super::{
    convert, documented,
    events::{block, seen_by, sees_all, stream_of},
    problem::{Answer, Problem},
};
use crate::{
    http::{App, extract::Who, refusal::Refusal},
    runtime::{News, Subscription, wall_now},
    security::{Caller, Right},
};

/// The least time between two updates.
const PACE: Duration = Duration::from_millis(250);
/// The longest time between two: by it readers know that the server lives.
const SILENCE: Duration = Duration::from_secs(5);
/// How many semaphores an update tells of, and how many peers.
const CHANGED: usize = 200;
/// How many semaphores are looked at while the engine is locked once.
const STEP: usize = 50;
/// How many events an update tells of: the last ones.
const EVENTS: usize = 20;
/// How many events a reader is told of when it begins.
const FIRST_EVENTS: usize = 100;
/// How many updates are kept for a reader that is slow.
const KEPT: usize = 16;

/// Tells what changes to those who look on, at most four times a second, by server-sent events.
///
/// An event `update` has an Update as its data. The first one has the latest events and nothing that changed: look
/// at what matters to you after it. Without any change there is one every five seconds. An event `missed` tells that
/// the reader was too slow for some: look again.
#[utoipa::path(
    get,
    path = "/v1/updates",
    operation_id = "read_updates",
    tag = documented::SERVER,
    responses(
        (status = 200, body = Update, content_type = "text/event-stream", description = "A stream without an end."),
        documented::ReadUpdates
    )
)]
pub(in crate::http) async fn updates(State(app): State<Arc<App>>, Who(caller): Who) -> Answer {
    let receiver = app.updates.subscribe(&app)?;
    let first = first(&app, &caller);
    let pass = app.guard.pass(&caller);
    let looks_on = (app, caller, pass);
    let frames =
        stream::unfold((Some(first), receiver, looks_on), async |(first, mut receiver, looks_on)| {
            if let Some(first) = first {
                return Some((Ok::<_, Infallible>(first), (None, receiver, looks_on)));
            }
            let told = receiver.recv().await;
            if !looks_on.0.guard.is_good(looks_on.2) {
                return None;
            }
            let frame = match told {
                Ok(told) => told.for_caller(&looks_on.0, &looks_on.1),
                Err(RecvError::Lagged(updates)) => {
                    let mut frame = Vec::new();
                    block(&mut frame, "missed", &MissedUpdates { updates });
                    frame.into()
                }
                Err(RecvError::Closed) => return None,
            };
            Some((Ok(frame), (None, receiver, looks_on)))
        });
    Ok(stream_of(frames))
}

/// What a reader is told when it begins.
fn first(app: &App, caller: &Caller) -> Bytes {
    let latest = app.engine.latest_events(FIRST_EVENTS);
    let mut frame = b"retry: 1000\n".to_vec();
    let told = Told { update: unchanged(app), latest, frame: Bytes::new() };
    block(&mut frame, "update", &told.update_for(app, caller));
    frame.into()
}

/// An update, and how it is written for whoever sees everything.
#[derive(Debug)]
struct Told {
    /// Without its events.
    update: Update,
    latest: Vec<(u64, LoggedEvent)>,
    frame: Bytes,
}

impl Told {
    /// The update as it is written for a caller.
    fn for_caller(&self, app: &App, caller: &Caller) -> Bytes {
        if sees_all(caller) {
            return self.frame.clone();
        }
        let mut frame = Vec::new();
        block(&mut frame, "update", &self.update_for(app, caller));
        frame.into()
    }

    /// What a caller may see of it.
    fn update_for(&self, app: &App, caller: &Caller) -> Update {
        let mut update = self.update.clone();
        if sees_all(caller) {
            update.events = numbered(app, &self.latest);
            return update;
        }
        let may_read = |semaphore: &str| caller.may(Right::Read, semaphore);
        let seen = |logged: &LoggedEvent| seen_by(app, caller, logged, convert::event(logged));
        let latest = self.latest.iter();
        let latest = latest.filter_map(|(number, logged)| Some((*number, logged, seen(logged)?)));
        update.events = labelled(app, latest);
        update.changed.retain(|semaphore| may_read(&semaphore.name));
        update.removed.retain(|semaphore| may_read(semaphore));
        update.changed_peers.retain(|peer| app.engine.is_for(PeerId(peer.0).by(caller.by())));
        if !caller.may_all(Right::Read) {
            // How much there is that he may not see is not for him.
            (update.semaphores, update.peers, update.skipped) = (0, 0, 0);
        }
        update
    }
}

fn numbered(app: &App, events: &[(u64, LoggedEvent)]) -> Vec<Numbered> {
    labelled(app, events.iter().map(|(number, logged)| (*number, logged, convert::event(logged))))
}

/// Events with what the clients of those peers tell of them that still live, or just ended.
fn labelled<'a>(app: &App, events: impl Iterator<Item = (u64, &'a LoggedEvent, Event)>) -> Vec<Numbered> {
    let events: Vec<_> = events.collect();
    app.engine.view(|core| {
        let of = |event: &Core| match event {
            Core::PeerEnded { labels, .. } => labels.clone(),
            _ => core.peer(convert::subjects(event).1?.by_server()).ok()?.labels().cloned(),
        };
        let numbered = |(number, logged, event): (_, &LoggedEvent, _)| Numbered {
            number,
            event,
            labels: Labels::new(of(&logged.event)),
        };
        events.into_iter().map(numbered).collect()
    })
}

/// An update that tells of no change.
fn unchanged(app: &App) -> Update {
    let (semaphores, peers) = app.engine.view(|core| (core.semaphore_count(), core.peer_count()));
    Update { at: convert::stamp(wall_now()), semaphores, peers, ..Update::default() }
}

/// All who look on.
pub(in crate::http) struct Updates {
    limit: usize,
    /// There while anybody looks on.
    sender: Mutex<Option<broadcast::Sender<Arc<Told>>>>,
}

impl Updates {
    pub(in crate::http) fn new(limit: usize) -> Self {
        Self { limit, sender: Mutex::default() }
    }

    fn subscribe(&self, app: &Arc<App>) -> Result<broadcast::Receiver<Arc<Told>>, Problem> {
        let mut sender = self.lock();
        let readers = sender.as_ref().map_or(0, broadcast::Sender::receiver_count);
        if readers >= self.limit {
            let sentence =
                format!("the limit of {} readers of updates at the same time is reached", self.limit);
            return Err(Refusal::Limit { sentence, excess: None }.into());
        }
        if let Some(sender) = &*sender {
            return Ok(sender.subscribe());
        }
        let subscription = app.engine.watch().ok_or_else(|| {
            Problem::new(Code::Unavailable, "The server is about to stop. Connect again in a second.")
        })?;
        let (new, receiver) = broadcast::channel(KEPT);
        tokio::spawn(run(Arc::clone(app), subscription, new.clone()));
        *sender = Some(new);
        Ok(receiver)
    }

    /// Ends the telling if nobody looks on any more.
    fn is_over(&self) -> bool {
        let mut sender = self.lock();
        let is_over = sender.as_ref().is_none_or(|sender| sender.receiver_count() == 0);
        if is_over {
            *sender = None;
        }
        is_over
    }

    fn lock(&self) -> MutexGuard<'_, Option<broadcast::Sender<Arc<Told>>>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells until nobody looks on or the server stops.
async fn run(app: Arc<App>, mut subscription: Subscription, sender: broadcast::Sender<Arc<Told>>) {
    let mut gathered = Gathered::default();
    let mut said = Instant::now();
    let mut due = said + PACE;
    loop {
        match timeout_at(due, subscription.next()).await {
            Ok(Some(News::Events(page, from))) => gathered.take(&page, from),
            Ok(Some(News::Dropped(missed))) => {
                gathered.miss(missed);
                let Some(anew) = app.engine.watch() else { break };
                subscription = anew;
            }
            Ok(None) => break,
            Err(_) => {}
        }
        let now = Instant::now();
        if now < due {
            continue;
        }
        if app.updates.is_over() {
            return;
        }
        due = now + PACE;
        if gathered.total > 0 || now >= said + SILENCE {
            said = now;
            let update = std::mem::take(&mut gathered).written(&app);
            // What is not safe yet may still be undone by a power cut.
            if app.engine.settled().await.is_err() {
                break;
            }
            // Fails if the last reader has just gone.
            let _ = sender.send(Arc::new(update));
        }
    }
    // So that the readers' streams end.
    *app.updates.lock() = None;
}

/// What happened since the update before.
#[derive(Debug, Default)]
struct Gathered {
    semaphores: BTreeSet<Name>,
    peers: BTreeSet<PeerId>,
    is_partial: bool,
    latest: VecDeque<(u64, LoggedEvent)>,
    total: u64,
}

impl Gathered {
    fn take(&mut self, page: &Page, from: u64) {
        for (number, logged) in page.from(from) {
            let (semaphore, peer) = convert::subjects(&logged.event);
            self.is_partial |= !semaphore.is_none_or(|name| note(&mut self.semaphores, name));
            self.is_partial |= !peer.is_none_or(|peer| note(&mut self.peers, peer));
            if number + EVENTS as u64 >= page.end() {
                self.latest.push_back((number, logged.clone()));
            }
            self.total += 1;
        }
        let old = self.latest.len().saturating_sub(EVENTS);
        self.latest.drain(..old);
    }

    fn miss(&mut self, events: u64) {
        self.is_partial = true;
        self.total += events;
    }

    fn written(self, app: &App) -> Told {
        let mut update = Update {
            skipped: self.total.saturating_sub(self.latest.len() as u64),
            is_partial: self.is_partial,
            changed_peers: self.peers.iter().map(|peer| Digits(peer.0)).collect(),
            ..unchanged(app)
        };
        let names: Vec<&Name> = self.semaphores.iter().collect();
        for names in names.chunks(STEP) {
            app.engine.view(|core| {
                for &name in names {
                    match core.semaphore(name) {
                        Ok(semaphore) => update.changed.push(convert::semaphore(semaphore)),
                        Err(_) => update.removed.push(name.shared()),
                    }
                }
            });
        }
        let latest = Vec::from(self.latest);
        update.events = numbered(app, &latest);
        let mut frame = Vec::new();
        block(&mut frame, "update", &update);
        update.events = Vec::new();
        Told { update, latest, frame: frame.into() }
    }
}

/// Whether there is room to take note of `one`.
fn note<T: Ord + Clone>(all: &mut BTreeSet<T>, one: &T) -> bool {
    all.contains(one) || all.len() < CHANGED && all.insert(one.clone())
}
