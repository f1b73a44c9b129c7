//! What the client knows about one peer: its locks, how long they are promised, and whether they were lost.
//!
//! No I/O happens here. The holder and the thread that renews meet in it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use crate::{Error, Loss, LossReason, clock::Moment, outer::Claim, transport::Link};

/// How long [`Guard::release`](crate::Guard::release) waits for the server; after that it goes on in the background.
pub(crate) const RELEASE_PATIENCE: Duration = Duration::from_secs(5);
/// How a server ends what it says of a peer that is gone.
const ADVICE: &str = " It holds nothing any more. Make a new one with POST /v1/peers.";

/// One peer, seen from the client.
pub(crate) struct Lease {
    pub(crate) link: Link,
    pub(crate) peer: u64,
    pub(crate) ttl: Duration,
    /// Only one request at a time may bring locks back or release them, else one would undo the other.
    pub(crate) gate: tokio::sync::Mutex<()>,
    /// The holder has no use for it any more.
    pub(crate) ended: CancellationToken,
    /// It was taken away.
    pub(crate) lost: CancellationToken,
    /// The peer belongs to a lock around this process, which releases it, and brings it back after a restart.
    pub(crate) shared: Option<Shared>,
    state: Mutex<State>,
}

/// What is known of a peer that belongs to a lock around this process.
pub(crate) struct Shared {
    /// What is held around this process already.
    around: BTreeMap<String, Held>,
    right: Mutex<Right>,
}

struct Right {
    claim: Option<Claim>,
    /// What was asked for.
    asked: Vec<String>,
}

impl Shared {
    /// Without the claim nothing may be asked for.
    pub(crate) fn new(claim: Option<Claim>, around: BTreeMap<String, Held>) -> Self {
        Self { around, right: Mutex::new(Right { claim, asked: Vec::new() }) }
    }

    fn right(&self) -> MutexGuard<'_, Right> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of what is asked for in the name of the peer. `false` if nothing may be.
    pub(crate) fn note(&self, names: &[&str]) -> bool {
        let mut right = self.right();
        let is_noted = right.claim.as_mut().is_some_and(|claim| claim.note(names).is_ok());
        if is_noted {
            right.asked = names.iter().map(|&name| name.to_owned()).collect();
        }
        is_noted
    }

    /// What was asked for in the name of the peer.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.right().asked.clone()
    }

    /// Shares the peer with others. What is still noted, its owner releases.
    pub(crate) fn yield_claim(&self) {
        self.right().claim = None;
    }
}

/// What is held of a semaphore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) count: u64,
    pub(crate) token: Option<u64>,
}

struct State {
    locks: BTreeMap<String, Held>,
    /// The server's state that granted the locks; `None` if the server cannot tell.
    instance: Option<String>,
    deadline: Moment,
    confirmed_at: Moment,
    restored_at: Option<Moment>,
    loss: Option<Loss>,
}

impl Lease {
    /// A peer that was asked for at `sent_at`.
    pub(crate) fn new(
        link: Link,
        peer: u64,
        ttl: Duration,
        sent_at: Moment,
        instance: Option<String>,
    ) -> Self {
        let state = State {
            locks: BTreeMap::new(),
            instance,
            deadline: sent_at + ttl,
            confirmed_at: sent_at,
            restored_at: None,
            loss: None,
        };
        Self {
            link,
            peer,
            ttl,
            gate: tokio::sync::Mutex::new(()),
            ended: CancellationToken::new(),
            lost: CancellationToken::new(),
            shared: None,
            state: Mutex::new(state),
        }
    }

    /// A peer that belongs to a lock around this process. It was renewed at `sent_at`.
    pub(crate) fn shared(
        link: Link,
        peer: u64,
        ttl: Duration,
        sent_at: Moment,
        instance: Option<String>,
        shared: Shared,
    ) -> Self {
        Self { shared: Some(shared), ..Self::new(link, peer, ttl, sent_at, instance) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until when the server promised to keep the locks.
    pub(crate) fn deadline(&self) -> Moment {
        self.state().deadline
    }

    /// When the last request was sent that moved the deadline.
    pub(crate) fn confirmed_at(&self) -> Moment {
        self.state().confirmed_at
    }

    /// The server knows the peer. Its promise counts from before the request was sent.
    pub(crate) fn confirm(&self, sent_at: Moment, instance: Option<String>) {
        let mut state = self.state();
        if state.loss.is_none() {
            state.deadline = state.deadline.max(sent_at + self.ttl);
            state.confirmed_at = state.confirmed_at.max(sent_at);
            state.instance = instance;
        }
    }

    /// The server took the locks back; it was asked to at `sent_at`.
    pub(crate) fn restored(&self, sent_at: Moment, instance: Option<String>) {
        self.confirm(sent_at, instance);
        self.state().restored_at = Some(sent_at);
    }

    /// Whether the locks were restored by a request that was sent after this moment.
    pub(crate) fn was_restored_since(&self, moment: Moment) -> bool {
        self.state().restored_at.is_some_and(|restored_at| restored_at >= moment)
    }

    /// A lock was acquired.
    pub(crate) fn grant(&self, semaphore: &str, count: u64, token: Option<u64>) {
        self.state().locks.insert(semaphore.to_owned(), Held { count, token });
    }

    /// What is held around this process counts as held from now on: its loss is the loss of this, too.
    pub(crate) fn lean_on_what_is_around(&self) {
        if let Some(shared) = &self.shared {
            self.state().locks.extend(shared.around.clone());
        }
    }

    /// What was acquired, and is not held around this process anyway.
    pub(crate) fn own(&self) -> Vec<(String, u64)> {
        let is_own =
            |name: &String| self.shared.as_ref().is_none_or(|shared| !shared.around.contains_key(name));
        let state = self.state();
        let own = state.locks.iter().filter(|(name, _)| is_own(name));
        own.map(|(name, held)| (name.clone(), held.count)).collect()
    }

    pub(crate) fn holds_anything(&self) -> bool {
        !self.state().locks.is_empty()
    }

    /// The locks to be restored, and the tokens they had.
    pub(crate) fn holdings(&self) -> (BTreeMap<String, u64>, BTreeMap<String, u64>) {
        let state = self.state();
        let counts = state.locks.iter().map(|(name, lock)| (name.clone(), lock.count)).collect();
        let tokens =
            state.locks.iter().filter_map(|(name, lock)| Some((name.clone(), lock.token?))).collect();
        (counts, tokens)
    }

    /// Whether an answer comes from another state than the one that granted the locks.
    pub(crate) fn moved(&self, instance: Option<&str>) -> bool {
        let state = self.state();
        !state.locks.is_empty() && state.instance.is_some() && state.instance.as_deref() != instance
    }

    /// Whether an unknown peer may come back with its locks.
    ///
    /// If the server's state is the one that granted them, it ended them on purpose, and someone else may hold
    /// them. Servers up to 0.5 do not tell; there every client always restored.
    pub(crate) fn may_restore(&self, instance: Option<&str>) -> bool {
        let state = self.state();
        state.locks.is_empty() || state.instance.is_none() || state.instance.as_deref() != instance
    }

    /// Whether the server's state is the one that granted the locks, as far as it tells.
    pub(crate) fn is_from(&self, instance: Option<&str>) -> bool {
        let state = self.state();
        state.instance.is_some() && state.instance.as_deref() == instance
    }

    /// Why the locks are lost, if they are. Once the promised time passed without a renewal, they are.
    pub(crate) fn loss(&self) -> Option<Loss> {
        {
            let state = self.state();
            if state.loss.is_some() {
                return state.loss.clone();
            }
            if state.locks.is_empty() || !state.deadline.has_passed() || self.ended.is_cancelled() {
                return None;
            }
        }
        let ttl = humantime::format_duration(self.ttl);
        Some(self.lose(LossReason::Expired, &format!("no renewal succeeded within the promised {ttl}"), None))
    }

    /// The server ended the peer, or one of its locks. What it says of that tells more than `why`.
    pub(crate) fn lose_to_server(&self, why: &str, detail: Option<String>) -> Loss {
        let why = match &detail {
            // What the sentences after it advise is for whoever speaks to the server by hand.
            Some(detail) => {
                let told = detail.strip_suffix(ADVICE).unwrap_or(detail);
                told.strip_prefix(&format!("Peer {} ", self.peer))
                    .map_or_else(|| told.to_owned(), |how| format!("it {how}"))
            }
            None => why.to_owned(),
        };
        self.lose(LossReason::Released, &why, detail)
    }

    /// Counts all locks as lost and tells everybody who listens. Only the first call has an effect.
    pub(crate) fn lose(&self, reason: LossReason, why: &str, detail: Option<String>) -> Loss {
        let loss = {
            let mut state = self.state();
            if let Some(loss) = &state.loss {
                return loss.clone();
            }
            let names: Vec<String> = state.locks.keys().cloned().collect();
            let what = names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
            let of = format!(
                "(peer {} at {}): {}.",
                self.peer,
                self.link.server().shown,
                why.trim_end_matches('.')
            );
            let message = if names.is_empty() {
                format!("the wait for a lock was ended {of}")
            } else {
                format!("lost the lock on {what} {of} Someone else may hold it by now.")
            };
            state.loss.insert(Loss::new(reason, names, message, detail)).clone()
        };
        self.lost.cancel();
        loss
    }

    /// The release of the locks failed, and nothing renews them any more.
    pub(crate) fn not_released(&self, source: Error) -> Error {
        let state = self.state();
        Error::NotReleased {
            semaphores: state.locks.keys().cloned().collect(),
            peer_id: self.peer,
            url: self.link.server().shown.clone(),
            held_for: state.deadline.remaining(),
            source: Box::new(source),
        }
    }

    /// Fails if the locks are lost.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.loss().map_or(Ok(()), |loss| Err(loss.into()))
    }

    /// What a single attempt at one server to keep the locks may take: a third of what remains, so that one that hangs
    /// leaves time for others. Of several servers all but one may hang, and there is time to ask each of them; so it is
    /// a fourth where there are two, and so on.
    pub(crate) fn attempt_limit(&self) -> Duration {
        const SHORTEST: Duration = Duration::from_millis(50);
        let parts = self.servers() + 2;
        let remaining = {
            let state = self.state();
            if state.locks.is_empty() { self.ttl } else { state.deadline.remaining() }
        };
        let part = (remaining / parts).max(self.ttl / (4 * parts)).min(remaining);
        part.min(self.link.settings.timeout).max(SHORTEST)
    }

    /// What a single attempt at one server to release the locks may take. Each of several servers is asked while the
    /// holder waits for it.
    pub(crate) fn release_limit(&self) -> Duration {
        const SHORTEST: Duration = Duration::from_secs(1);
        let limit = self.link.settings.timeout.min(SHORTEST.max(self.ttl / 6));
        match self.servers() {
            1 => limit,
            count => limit.min(RELEASE_PATIENCE / (count + 1)),
        }
    }

    fn servers(&self) -> u32 {
        u32::try_from(self.link.settings.servers.len()).unwrap_or(u32::MAX / 8)
    }

    /// How long after a failed renewal the next one is due, at first and at most.
    pub(crate) fn retry_delays(&self) -> (Duration, Duration) {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(5));
        (first.min(self.ttl / 20), longest.min(self.ttl / 10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, clock::now};

    const TTL: Duration = Duration::from_mins(1);

    /// A lease that holds a lock, granted by a server's state of this id.
    fn holding(instance: Option<&str>) -> Lease {
        let client = Client::new("localhost:1").unwrap();
        let lease = Lease::new(client.background().clone(), 1, TTL, now(), instance.map(str::to_owned));
        lease.grant("A", 1, Some(7));
        lease
    }

    #[test]
    fn a_peer_is_restored_only_to_another_state_than_the_one_that_granted_its_locks() {
        let lease = holding(Some("i1"));
        assert!(!lease.may_restore(Some("i1")));
        assert!(lease.may_restore(Some("i2")));
        assert!(lease.may_restore(None), "the server was replaced by an older one");
        lease.restored(now(), Some("i2".to_owned()));
        assert!(!lease.may_restore(Some("i2")));
    }

    #[test]
    fn to_a_server_that_cannot_tell_a_peer_is_always_restored() {
        let lease = holding(None);
        assert!(lease.may_restore(None));
        assert!(!lease.moved(None));
    }

    #[test]
    fn only_the_first_loss_counts() {
        let lease = holding(Some("i1"));
        assert_eq!(lease.loss(), None);
        let first = lease.lose(LossReason::Released, "an operator ended it", None);
        assert!(lease.lost.is_cancelled());
        assert_eq!(lease.lose(LossReason::Expired, "late", None), first);
        let deadline = lease.deadline();
        lease.confirm(now() + TTL, None);
        assert_eq!(lease.deadline(), deadline, "nothing revives it");
    }

    #[test]
    fn the_loss_says_what_the_server_says() {
        let told = |detail: Option<&str>| {
            let loss = holding(Some("i1")).lose_to_server("the server ended it", detail.map(str::to_owned));
            assert_eq!(loss.detail(), detail);
            let message = loss.to_string();
            let (_, message) = message.split_once("localhost:1): ").unwrap();
            message.strip_suffix(" Someone else may hold it by now.").unwrap().to_owned()
        };
        assert_eq!(told(None), "the server ended it.");
        assert_eq!(told(Some("Who knows.")), "Who knows.");
        let whole = "Peer 1 was released by an operator at noon: stuck. It holds nothing any more. Make a new one \
                     with POST /v1/peers.";
        assert_eq!(told(Some(whole)), "it was released by an operator at noon: stuck.");
    }

    #[test]
    fn an_older_answer_never_shortens_the_promise() {
        let lease = holding(None);
        let later = now() + Duration::from_secs(10);
        lease.confirm(later, None);
        lease.confirm(now(), None);
        assert_eq!(lease.deadline(), later + TTL);
    }
}
