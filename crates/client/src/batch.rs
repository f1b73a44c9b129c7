//! Renewals of many peers in one request.
//!
//! A request for one peer also tells what it holds, and one for many does not. So each lease is renewed by a request of
//! its own, up to so many in a second; beyond that they take turns with requests for many.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use throttle_api::{AnyDigits, Renewed};
use tokio::sync::{Notify, oneshot};

use crate::{
    Error,
    clock::{Moment, now},
    delivery::Exchanged,
    transport::{Effort, Link},
    v1,
};

const LOOKS_PER_SECOND: f64 = 20.0;
/// Far below the limit of a body, which is 1 MiB.
const MOST_AT_ONCE: usize = 1000;

/// A lease that is to be renewed now.
pub(crate) struct Due {
    pub(crate) peer: u64,
    pub(crate) ttl: Duration,
    /// When the server last told what the peer holds. Who waits for that for longest has it told first.
    pub(crate) looked_at: Moment,
    /// What an attempt at one server may take.
    pub(crate) limit: Duration,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It is its turn for a request of its own.
    Alone,
    /// It was renewed with others, by a request that was sent then to a state of the server with this id.
    Renewed { sent_at: Moment, instance: Option<String> },
    /// The server does not know the peer. What became of it, a request of its own tells.
    Gone,
    /// It was not renewed. If the request for many was refused, one of its own may not be.
    Failed { is_refused: bool },
}

/// The leases that are due at the same moment. Clones share them.
#[derive(Clone)]
pub(crate) struct Batches {
    state: Arc<Mutex<State>>,
    /// Rings whenever a request for many is over.
    over: Arc<Notify>,
}

struct State {
    due: Vec<Waiting>,
    /// The peers that requests for many are under way for.
    underway: HashSet<u64>,
    /// How many requests for one peer may be sent now.
    looks: f64,
    counted_at: Moment,
}

struct Waiting {
    due: Due,
    reply: oneshot::Sender<Turn>,
}

impl Default for Batches {
    fn default() -> Self {
        let state =
            State { due: Vec::new(), underway: HashSet::new(), looks: LOOKS_PER_SECOND, counted_at: now() };
        Self { state: Arc::new(Mutex::new(state)), over: Arc::default() }
    }
}

impl Batches {
    /// Waits until no request is under way that renews the peer with others. A lease that has ended takes no part in
    /// another one.
    pub(crate) async fn settled(&self, peer: u64) {
        loop {
            let over = self.over.notified();
            if !self.state().underway.contains(&peer) {
                return;
            }
            over.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Those that take their turn alone, and the others by the length of their leases.
    fn divide(&mut self, time: Moment) -> (Vec<Waiting>, BTreeMap<Duration, Vec<Waiting>>) {
        let mut due: Vec<_> = self.due.drain(..).filter(|waiting| !waiting.reply.is_closed()).collect();
        due.sort_by_key(|waiting| waiting.due.looked_at);
        let passed = self.counted_at.until(time).as_secs_f64();
        self.looks = LOOKS_PER_SECOND.min(self.looks + passed * LOOKS_PER_SECOND);
        self.counted_at = time;
        let (mut alone, mut together) = (Vec::new(), BTreeMap::<_, Vec<_>>::new());
        for waiting in due {
            if self.looks >= 1.0 {
                self.looks -= 1.0;
                alone.push(waiting);
            } else {
                self.underway.insert(waiting.due.peer);
                together.entry(waiting.due.ttl).or_default().push(waiting);
            }
        }
        (alone, together)
    }
}

impl Link {
    /// Waits for the turn of a lease among those that are due at this moment. To be called on the background thread.
    pub(crate) async fn turn(&self, due: Due) -> Turn {
        let (reply, turn) = oneshot::channel();
        let is_first = {
            let mut state = self.batches.state();
            state.due.push(Waiting { due, reply });
            state.due.len() == 1
        };
        if is_first {
            let link = self.clone();
            // The others that woke up now join before it begins.
            tokio::spawn(async move {
                tokio::task::yield_now().await;
                link.begin();
            });
        }
        turn.await.unwrap_or(Turn::Failed { is_refused: true })
    }

    fn begin(&self) {
        let (alone, together) = self.batches.state().divide(now());
        for Waiting { reply, .. } in alone {
            // A lease that ended meanwhile needs no renewal, here and below.
            let _ = reply.send(Turn::Alone);
        }
        for (ttl, mut waiting) in together {
            while !waiting.is_empty() {
                let part: Vec<_> = waiting.drain(..waiting.len().min(MOST_AT_ONCE)).collect();
                let link = self.clone();
                tokio::spawn(async move { link.renew_together(ttl, part).await });
            }
        }
    }

    async fn renew_together(&self, ttl: Duration, part: Vec<Waiting>) {
        let peers: Vec<u64> = part.iter().map(|waiting| waiting.due.peer).collect();
        let limit = part.iter().map(|waiting| waiting.due.limit).min().unwrap_or_default();
        let outcome = self.heartbeats(&peers, ttl, limit).await;
        {
            let mut state = self.batches.state();
            for peer in &peers {
                state.underway.remove(peer);
            }
        }
        self.batches.over.notify_waiters();
        for Waiting { due, reply } in part {
            let turn = match &outcome {
                Ok((gone, _)) if gone.contains(&due.peer) => Turn::Gone,
                Ok((_, renewed)) => renewed.clone(),
                Err(error) => Turn::Failed { is_refused: !may_pass(error) },
            };
            let _ = reply.send(turn);
        }
    }

    async fn heartbeats(
        &self,
        peers: &[u64],
        ttl: Duration,
        limit: Duration,
    ) -> Result<(HashSet<u64>, Turn), Error> {
        let request = v1::heartbeats(peers, ttl);
        let Exchanged { answer, sent_at, .. } = self.exchange(&request, Effort::once(limit)).await?;
        let Renewed { gone, .. } = answer.parse(&request)?;
        let gone = gone.into_iter().filter_map(|id| match id {
            AnyDigits::Number(id) => Some(id),
            AnyDigits::Beyond(_) => None,
        });
        Ok((gone.collect(), Turn::Renewed { sent_at, instance: answer.instance }))
    }
}

/// Whether the same request may succeed later.
fn may_pass(error: &Error) -> bool {
    match error {
        Error::Unreachable { .. } => true,
        Error::Server { status, .. } => *status == 429 || *status >= 500,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(peer: u64, ttl: Duration, looked_at: Moment) -> (Waiting, oneshot::Receiver<Turn>) {
        let (reply, turn) = oneshot::channel();
        (Waiting { due: Due { peer, ttl, looked_at, limit: ttl }, reply }, turn)
    }

    fn peers(waiting: &[Waiting]) -> Vec<u64> {
        waiting.iter().map(|waiting| waiting.due.peer).collect()
    }

    #[test]
    fn they_take_turns_and_whoever_waited_for_longest_is_first() {
        let (short, long) = (Duration::from_secs(30), Duration::from_mins(1));
        let start = now();
        let batches = Batches::default();
        let mut state = batches.state();
        state.counted_at = start;
        let mut turns = Vec::new();
        for peer in 0..30 {
            let ttl = if peer % 2 == 0 { short } else { long };
            // The last ones were looked at first.
            let (waiting, turn) = waiting(peer, ttl, start + Duration::from_secs(100 - peer));
            state.due.push(waiting);
            turns.push(turn);
        }
        // One of them has no use for it any more.
        drop(turns.pop());
        let (alone, together) = state.divide(start);
        assert_eq!(peers(&alone), (9..29).rev().collect::<Vec<_>>());
        assert_eq!(peers(&together[&short]), [8, 6, 4, 2, 0]);
        assert_eq!(peers(&together[&long]), [7, 5, 3, 1]);
        let (waiting, _turn) = waiting(7, short, start);
        state.due.push(waiting);
        assert!(
            state.divide(start + Duration::from_millis(49)).0.is_empty(),
            "not more than so many in a second"
        );
        let (waiting, _turn) = self::waiting(7, short, start);
        state.due.push(waiting);
        assert_eq!(peers(&state.divide(start + Duration::from_millis(51)).0), [7]);
    }
}
