//! Commands whose answer shows the peer: each looks at it in the same step in which it was changed.

use std::{sync::Arc, time::Duration};

use throttle_core::{Acquire, AcquireError, EndCause, Labels, PeerId, PeerView, Status, Time, UnknownPeer};
use throttle_journal::Wall;

use super::{
    Ending,
    commands::AcquireRefusal,
    handle::{Engine, Shared},
    keys::{Key, KeyReused},
};
use crate::telemetry::trace::{Subject, about};

/// The shortest lease: one of no length at all would be over before its answer could show the peer.
const INSTANT: Duration = Duration::from_micros(1);

/// A peer to be made.
#[derive(Clone, Debug)]
pub struct NewPeer<'a> {
    /// The length of its lease.
    pub expires_in: Duration,
    /// What its client tells of it.
    pub labels: Option<Labels>,
    /// Makes a repeat of the request find the same peer.
    pub key: Option<Key<'a>>,
}

/// Locks to be asked for.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Each semaphore and the count asked for, all or nothing.
    pub locks: &'a [(&'a str, i64)],
    /// Higher is served first; 0 is usual.
    pub priority: i32,
    /// How long to wait for a grant.
    pub wait: Duration,
}

/// What became of a request for locks, with a look at its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<R> {
    /// All are acquired.
    Acquired(R),
    /// They are not acquired yet.
    Pending(R),
    /// They are not acquired, and will not be: the request left the queue without a grant.
    NotAcquired,
}

/// Why a request that makes a peer is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionRefusal {
    /// Its key marked another request.
    KeyReused,
    /// The peer that the same request made earlier is gone.
    Gone(PeerId),
    /// The locks are not to be had by asking this way.
    Acquire(AcquireRefusal),
}

impl Engine {
    /// Makes a peer that holds nothing. A repeat finds the one that the first request made.
    pub fn new_peer_once<R>(
        &self,
        new: &NewPeer<'_>,
        look: impl FnOnce(PeerView<'_>, Wall) -> R,
    ) -> Result<R, SessionRefusal> {
        let (peer, seen) = self.with(|shared, now| {
            let known = shared.keys.find(new.key)?;
            let peer = match known {
                Some(peer) => peer,
                None => shared.new_peer(now, new)?,
            };
            let seen = shared.look_at(now, peer, look).map_err(|_| SessionRefusal::Gone(peer));
            Ok::<_, SessionRefusal>((peer, seen))
        })?;
        about(Subject::Peer(peer));
        seen
    }

    /// Moves the end of a peer's lease, by its own length if no other is given.
    pub fn heartbeat_and_look<R>(
        &self,
        peer: PeerId,
        expires_in: Option<Duration>,
        look: impl FnOnce(PeerView<'_>, Wall) -> R,
    ) -> Result<R, UnknownPeer> {
        about(Subject::Peer(peer));
        self.with(|shared, now| {
            let length = match expires_in {
                Some(length) => length.max(INSTANT),
                None => shared.core.peer(peer)?.expires_in(),
            };
            shared.core.heartbeat(now, peer, length)?;
            shared.look_at(now, peer, look)
        })
    }

    /// Ends a peer on the word of an operator. Tells whether it was known.
    pub fn release_with_reason(&self, peer: PeerId, reason: Arc<str>) -> bool {
        about(Subject::Peer(peer));
        self.with(|shared, now| {
            let was_known = shared.core.end_peer(now, peer, EndCause::Operator);
            shared.reason = was_known.then_some(reason);
            was_known
        })
    }

    /// How a peer ended, if that is remembered.
    pub fn ending(&self, peer: PeerId) -> Option<Ending> {
        self.lock().ended.of(peer).cloned()
    }

    /// Asks for locks; if they are not granted at once, waits for them.
    ///
    /// The wait ends, still pending, when the promised time of the peer is over, so that its client can ask
    /// again within the margin. Dropping the future leaves the request in the queue until its peer ends; it is
    /// passed over once its client has been gone for too long.
    pub async fn acquire_and_look<R>(
        &self,
        peer: PeerId,
        ask: &Ask<'_>,
        expires_in: Option<Duration>,
        look: impl Fn(PeerView<'_>, Wall) -> R,
    ) -> Result<Outcome<R>, AcquireRefusal> {
        about(Subject::Peer(peer));
        about(Subject::Locks(ask.locks));
        let (first, until) = self.with(|shared, now| {
            let first = shared.ask(now, peer, ask, expires_in.map(|length| length.max(INSTANT)), &look);
            first.map(|first| (first, now + ask.wait))
        })?;
        let is_over = ask.wait.is_zero() || expires_in == Some(Duration::ZERO);
        if is_over || !matches!(first, Outcome::Pending(_)) {
            return Ok(first);
        }
        self.wait(peer, until).await?;
        self.with(|shared, now| shared.outcome(now, peer, ask, &look)).map_err(AcquireRefusal::Refused)
    }

    /// Makes a peer together with its locks, and waits for them. A refused request leaves no peer behind.
    ///
    /// With `leaves`, a wait that ends without a grant ends the peer too, and so does dropping the future,
    /// unless a repeat of the request waits for it.
    pub async fn session<R>(
        &self,
        new: &NewPeer<'_>,
        ask: &Ask<'_>,
        leaves: bool,
        look: impl Fn(PeerView<'_>, Wall) -> R,
    ) -> Result<Outcome<R>, SessionRefusal> {
        about(Subject::Locks(ask.locks));
        let is_over = ask.wait.is_zero() || new.expires_in.is_zero();
        let (peer, first, until) = self.with(|shared, now| {
            let (peer, first) = shared.begin_session(now, new, ask, &look)?;
            let first = match first {
                Outcome::Pending(_) if is_over && leaves => {
                    shared.leave(now, peer, new.key);
                    Outcome::NotAcquired
                }
                first => first,
            };
            Ok::<_, SessionRefusal>((peer, first, now + ask.wait))
        })?;
        about(Subject::Peer(peer));
        if is_over || !matches!(first, Outcome::Pending(_)) {
            return Ok(first);
        }
        let mut departure = Departure { engine: self, peer, key: new.key, is_due: leaves };
        match self.wait(peer, until).await {
            Ok(_) => {}
            Err(AcquireRefusal::Refused(AcquireError::UnknownPeer)) => {
                return Err(SessionRefusal::Gone(peer));
            }
            Err(refusal) => {
                // Nobody knows of the peer but this request, which is refused.
                departure.is_due = true;
                return Err(refusal.into());
            }
        }
        self.with(|shared, now| {
            let found = match shared.outcome(now, peer, ask, &look) {
                Err(AcquireError::UnknownPeer) => return Err(SessionRefusal::Gone(peer)),
                found => found.map_err(AcquireRefusal::Refused),
            };
            if leaves && !matches!(found, Ok(Outcome::Acquired(_))) {
                shared.leave(now, peer, new.key);
                return Ok(found.map(|_| Outcome::NotAcquired)?);
            }
            Ok(found?)
        })
        .inspect(|_| departure.is_due = false)
    }
}

/// Ends the peer of a request whose client will never learn of it.
struct Departure<'a> {
    engine: &'a Engine,
    peer: PeerId,
    key: Option<Key<'a>>,
    is_due: bool,
}

impl Drop for Departure<'_> {
    fn drop(&mut self) {
        if self.is_due {
            self.engine.with(|shared, now| {
                // A repeat with the same key may have been told of a grant.
                let is_granted = shared.core.peer(self.peer).is_ok_and(|peer| peer.is_acquired());
                if self.key.is_none() || !is_granted {
                    shared.leave(now, self.peer, self.key);
                }
            });
        }
    }
}

impl Shared {
    fn new_peer(&mut self, now: Time, new: &NewPeer<'_>) -> Result<PeerId, SessionRefusal> {
        let lease = new.expires_in.max(INSTANT);
        let random = self.random();
        let made = self.core.new_peer(now, lease, random, new.labels.clone());
        let peer = made.map_err(AcquireRefusal::Limit)?;
        if let Some(key) = &new.key {
            self.write_down(key.record(peer));
        }
        self.keys.remember(new.key, peer);
        Ok(peer)
    }

    fn begin_session<R>(
        &mut self,
        now: Time,
        new: &NewPeer<'_>,
        ask: &Ask<'_>,
        look: impl Fn(PeerView<'_>, Wall) -> R,
    ) -> Result<(PeerId, Outcome<R>), SessionRefusal> {
        if let Some(peer) = self.keys.find(new.key)? {
            let again = self.ask(now, peer, ask, Some(new.expires_in.max(INSTANT)), look);
            return again.map(|outcome| (peer, outcome)).map_err(|refusal| match refusal {
                AcquireRefusal::Refused(AcquireError::UnknownPeer) => SessionRefusal::Gone(peer),
                refusal => refusal.into(),
            });
        }
        let peer = self.new_peer(now, new)?;
        self.ask(now, peer, ask, None, look).map(|outcome| (peer, outcome)).map_err(|refusal| {
            self.leave(now, peer, new.key);
            refusal.into()
        })
    }

    fn ask<R>(
        &mut self,
        now: Time,
        peer: PeerId,
        ask: &Ask<'_>,
        expires_in: Option<Duration>,
        look: impl Fn(PeerView<'_>, Wall) -> R,
    ) -> Result<Outcome<R>, AcquireRefusal> {
        let request = Acquire { peer, locks: ask.locks, priority: ask.priority, expires_in };
        let status = self.core.acquire(now, &request).map_err(AcquireRefusal::Refused)?;
        let seen = self.look_at(now, peer, look).map_err(unknown_peer)?;
        Ok(match status {
            Status::Acquired(_) => Outcome::Acquired(seen),
            Status::Pending => Outcome::Pending(seen),
        })
    }

    fn look_at<R>(
        &mut self,
        now: Time,
        peer: PeerId,
        look: impl FnOnce(PeerView<'_>, Wall) -> R,
    ) -> Result<R, UnknownPeer> {
        let seen = self.core.peer(peer)?;
        Ok(look(seen, self.clock.wall(now)))
    }

    /// What became of the request by now.
    fn outcome<R>(
        &mut self,
        now: Time,
        peer: PeerId,
        ask: &Ask<'_>,
        look: impl Fn(PeerView<'_>, Wall) -> R,
    ) -> Result<Outcome<R>, AcquireError> {
        let seen = self.core.peer(peer)?;
        if ask.locks.iter().all(|(semaphore, _)| seen.lock(semaphore).is_some()) {
            return Ok(Outcome::Acquired(look(seen, self.clock.wall(now))));
        }
        if !seen.is_acquired() {
            return Ok(Outcome::Pending(look(seen, self.clock.wall(now))));
        }
        for (semaphore, _) in ask.locks {
            self.core.semaphore(semaphore)?;
        }
        Ok(Outcome::NotAcquired)
    }

    /// Ends a peer whose request is over without a grant, unless a repeat of that request still waits.
    fn leave(&mut self, now: Time, peer: PeerId, key: Option<Key<'_>>) {
        if !self.blocked.has(peer) {
            self.keys.forget(key);
            self.core.end_peer(now, peer, EndCause::Released);
        }
    }
}

pub(super) fn unknown_peer(UnknownPeer: UnknownPeer) -> AcquireRefusal {
    AcquireRefusal::Refused(AcquireError::UnknownPeer)
}

impl From<KeyReused> for SessionRefusal {
    fn from(KeyReused: KeyReused) -> Self {
        Self::KeyReused
    }
}

impl From<AcquireRefusal> for SessionRefusal {
    fn from(refusal: AcquireRefusal) -> Self {
        Self::Acquire(refusal)
    }
}
