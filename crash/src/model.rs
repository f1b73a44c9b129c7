//! What a client knows of its peer: what was acknowledged, and what may have become of a request whose answer was lost.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use throttle_api as api;

use crate::{
    clock::lifetime,
    ledger::{Grant, Ledger, Times},
    view::Labels,
};

/// A fencing token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// No answer has shown it yet.
    Unread,
    /// As an answer showed it; a restored lock may have none.
    Known(Option<u64>),
}

/// A lock that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lock {
    pub(crate) count: i64,
    pub(crate) token: Token,
    /// It was not granted before this.
    pub(crate) after: Instant,
    /// When the request for it was about to be sent. None: it was restored.
    pub(crate) asked: Option<Instant>,
    pub(crate) priority: i32,
}

/// A request that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) locks: BTreeMap<String, i64>,
    pub(crate) priority: i32,
    /// When it began to wait, as the server tells it.
    pub(crate) since: Option<api::Stamp>,
    /// When it was about to be sent.
    pub(crate) asked: Instant,
    /// When it was known to wait: whoever asks after this stands behind it.
    pub(crate) queued: Option<Instant>,
    /// It waited at least until then.
    pub(crate) seen: Instant,
}

/// A state that a peer may be in. What it waits for may be granted by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) expires_in: Duration,
    pub(crate) locks: BTreeMap<String, Lock>,
    pub(crate) pending: Option<Request>,
}

impl State {
    pub(crate) fn new(expires_in: Duration) -> Self {
        Self { expires_in, locks: BTreeMap::new(), pending: None }
    }

    /// What it waits for, granted.
    pub(crate) fn granted(&self) -> Self {
        let mut state = self.clone();
        if let Some(Request { locks, seen, asked, priority, .. }) = state.pending.take() {
            let lock =
                |count| Lock { count, token: Token::Unread, after: seen, asked: Some(asked), priority };
            state.locks.extend(locks.into_iter().map(|(name, count)| (name, lock(count))));
        }
        state
    }

    pub(crate) fn uses(&self, semaphore: &str) -> bool {
        self.locks.contains_key(semaphore)
            || self.pending.as_ref().is_some_and(|request| request.locks.contains_key(semaphore))
    }

    /// Without anything on a semaphore.
    pub(crate) fn without(&self, semaphore: &str) -> Self {
        let mut state = self.clone();
        state.locks.remove(semaphore);
        state.pending = state.pending.filter(|request| !request.locks.contains_key(semaphore));
        state
    }

    /// The states that a request for locks may lead to.
    pub(crate) fn asked(&self, ask: &Ask, sent: Instant) -> Vec<Self> {
        let mut after = self.clone();
        after.expires_in = ask.expires_in.unwrap_or(self.expires_in);
        if after.pending.is_some() {
            // A different request is refused, unless what waits is granted before it comes.
            let mut states = after.granted().asked(ask, sent);
            for (name, &count) in &ask.locks {
                let pending = after.pending.as_mut().and_then(|request| request.locks.get_mut(name));
                let held = after.locks.get_mut(name).map(|lock| &mut lock.count);
                if let Some(old) = held.or(pending) {
                    *old = count.min(*old);
                }
            }
            states.push(after);
            return states;
        }
        let mut new = BTreeMap::new();
        for (name, &count) in &ask.locks {
            match after.locks.get_mut(name) {
                Some(lock) => lock.count = lock.count.min(count),
                None => drop(new.insert(name.clone(), count)),
            }
        }
        if !new.is_empty() {
            let (priority, since, queued) = (ask.priority, None, None);
            after.pending = Some(Request { locks: new, priority, since, asked: sent, queued, seen: sent });
        }
        vec![after]
    }

    /// The state that the server shows, if this can be that one.
    fn shown(&self, view: &api::Peer, sent: Instant, received: Instant, times: Times) -> Option<Self> {
        let mut state = match &view.pending {
            Some(seen) => {
                let mut state = self.clone();
                let request = state.pending.as_mut()?;
                let is_same_place = request.since.is_none_or(|since| times.are_alike(since, seen.since));
                let asked: BTreeMap<String, i64> =
                    seen.locks.iter().map(|(name, count)| (name.to_string(), *count)).collect();
                if request.locks != asked || request.priority != seen.priority || !is_same_place {
                    return None;
                }
                request.since = Some(seen.since);
                request.queued.get_or_insert(received);
                request.seen = sent;
                state
            }
            None => self.granted(),
        };
        if state.locks.len() != view.locks.len() {
            return None;
        }
        for seen in &view.locks {
            let lock = state.locks.get_mut(&*seen.semaphore)?;
            let shown = seen.token.map(|api::Digits(token)| token);
            if lock.count != seen.count || matches!(lock.token, Token::Known(token) if token != shown) {
                return None;
            }
            lock.token = Token::Known(shown);
        }
        Some(state)
    }
}

/// A request for locks.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) locks: BTreeMap<String, i64>,
    pub(crate) priority: i32,
    pub(crate) expires_in: Option<Duration>,
}

/// The request that made a peer, to be repeated under its `Idempotency-Key`.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) path: &'static str,
    pub(crate) body: String,
    pub(crate) ask: Option<Ask>,
}

/// What is known of a peer.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) id: u64,
    pub(crate) labels: Labels,
    pub(crate) key: Option<Key>,
    /// One of these is so. None: it is gone.
    pub(crate) states: Vec<Option<State>>,
    /// It does not end before this, if nobody ends it.
    pub(crate) lives_until: Instant,
    /// It is left alone, so that it ends.
    pub(crate) is_abandoned: bool,
    /// A reader of events was told that it has ended.
    pub(crate) is_ended: bool,
    /// A request about it has no answer, and may have its effect late: it is left alone until the next check.
    pub(crate) is_unsettled: bool,
    /// When it was about to be made, or brought back.
    pub(crate) since: Instant,
}

impl Peer {
    /// The states in which it is there.
    pub(crate) fn living(&self) -> impl Iterator<Item = &State> {
        self.states.iter().flatten()
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.living().next().is_none()
    }

    /// Whether it may have, or wait for, something on a semaphore.
    pub(crate) fn may_use(&self, semaphore: &str) -> bool {
        self.living().any(|state| state.uses(semaphore))
    }

    /// The shortest that its lease may be.
    pub(crate) fn shortest(&self) -> Duration {
        self.living().map(|state| state.expires_in).min().unwrap_or_default()
    }

    /// What it holds on a semaphore whatever became of its requests, while it lives.
    pub(crate) fn surely_holds(&self, semaphore: &str) -> i64 {
        let held = |state: &Option<State>| state.as_ref()?.locks.get(semaphore).map(|lock| lock.count);
        self.states.iter().map(|state| held(state).unwrap_or(0)).min().unwrap_or(0)
    }

    /// Adds what may become of it by a request that is about to be sent.
    pub(crate) fn may_become(&mut self, states: Vec<Option<State>>, sent: Instant) {
        for state in states {
            // A lease may become shorter by it.
            if let Some(state) = &state {
                self.lives_until = self.lives_until.min(sent + lifetime(state.expires_in));
            }
            if !self.states.contains(&state) {
                self.states.push(state);
            }
        }
    }

    /// Its lease was begun anew, not before `since`.
    pub(crate) fn renewed(&mut self, since: Instant) {
        self.lives_until = self.lives_until.max(since + lifetime(self.shortest()));
    }

    /// Takes over what the server shows, if it can be.
    pub(crate) fn meet(
        &mut self,
        view: &api::Peer,
        sent: Instant,
        received: Instant,
        ledger: &mut Ledger,
    ) -> Result<(), String> {
        if !self.labels.are(&view.labels) {
            return Err(format!("peer {}: its labels are {:?}, not {:?}", self.id, view.labels, self.labels));
        }
        let mut shown = Vec::new();
        let times = ledger.times;
        for state in self.living().filter_map(|state| state.shown(view, sent, received, times).map(Some)) {
            if !shown.contains(&state) {
                shown.push(state);
            }
        }
        if shown.is_empty() {
            return Err(format!(
                "peer {}: the server shows {view:?}, but what was acknowledged leaves only {:#?}",
                self.id, self.states
            ));
        }
        self.states = shown;
        self.write_down(received, ledger)
    }

    /// Writes down the tokens that became known.
    pub(crate) fn write_down(&self, received: Instant, ledger: &mut Ledger) -> Result<(), String> {
        let Some(state) = self.living().next() else { return Ok(()) };
        for (semaphore, lock) in &state.locks {
            let Token::Known(token) = lock.token else { continue };
            // Each of the states may be so, and tells of another request that brought the lock.
            let locks = || self.living().filter_map(|state| state.locks.get(semaphore));
            if locks().any(|lock| lock.asked.is_none()) {
                continue;
            }
            let token =
                token.ok_or_else(|| format!("peer {}: a grant on {semaphore} without a token", self.id))?;
            let after = locks().map(|lock| lock.after).min().unwrap_or(lock.after);
            let (peer, semaphore) = (self.id, semaphore.clone());
            ledger.granted(Grant { token, peer, semaphore, after, before: received })?;
        }
        Ok(())
    }
}
