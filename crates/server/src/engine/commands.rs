//! What can be asked of the engine: the commands of the core, and waiting for a grant.

use std::{error::Error, fmt, time::Duration};

use throttle_core::{
    Acquire, AcquireError, EndCause, Labels, LimitReached, PeerId, ReleaseError, Restore, RestoreError,
    RestoreLock, Status, Time, UnknownPeer, UnknownSemaphore,
};

use super::{
    blocked::TooManyBlocked,
    handle::{Engine, Shared},
};
use crate::telemetry::trace::{Subject, about};

/// How many leases are moved in one go, so that many of them hold up no grant.
const LEASES_AT_ONCE: usize = 256;

/// Why locks are not to be had by asking this way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcquireRefusal {
    /// The core refused the request.
    Refused(AcquireError),
    /// The peer could not be made.
    Limit(LimitReached),
    /// The peer could not be restored.
    Restore(RestoreError),
    /// The request is in the queue, but cannot wait there with its connection open.
    TooManyBlocked(TooManyBlocked),
}

/// A peer of the first dialect: what it holds and asks for comes with every request.
#[derive(Clone, Copy, Debug)]
pub struct Joint<'a> {
    /// Its id.
    pub peer: PeerId,
    /// The length of its lease.
    pub expires_in: Duration,
    /// What it holds.
    pub active: &'a [(&'a str, i64)],
    /// What it asks for.
    pub pending: &'a [(&'a str, i64)],
}

/// What a heartbeat did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// It moved the end of a lease, which begins anew at a restart anyway: its answer need not wait for the journal.
    Passing,
    /// It changed something that is written down.
    Lasting,
}

impl Engine {
    /// Makes a peer that holds nothing.
    pub fn new_peer(&self, expires_in: Duration, labels: Option<Labels>) -> Result<PeerId, LimitReached> {
        let made = self.with(|shared, now| {
            let random = shared.random();
            shared.core.new_peer(now, expires_in, random, labels)
        });
        made.inspect(|&peer| about(Subject::Peer(peer)))
    }

    /// Moves the end of a peer's lease.
    pub fn heartbeat(&self, peer: PeerId, expires_in: Duration) -> Result<Effect, UnknownPeer> {
        about(Subject::Peer(peer));
        self.with(|shared, now| {
            shared.core.heartbeat(now, peer, expires_in)?;
            Ok(shared.effect(&[peer]))
        })
    }

    /// Moves the end of many peers' leases, and returns those of them that are not known.
    pub async fn heartbeats(&self, peers: &[PeerId], expires_in: Duration) -> (Vec<PeerId>, Effect) {
        about(Subject::Peers(peers.len()));
        let (mut gone, mut effect) = (Vec::new(), Effect::Passing);
        let mut parts = peers.chunks(LEASES_AT_ONCE).peekable();
        while let Some(part) = parts.next() {
            self.with(|shared, now| {
                let unknown = |&&peer: &&PeerId| shared.core.heartbeat(now, peer, expires_in).is_err();
                gone.extend(part.iter().filter(unknown));
                effect = effect.max(shared.effect(part));
            });
            if parts.peek().is_some() {
                tokio::task::yield_now().await;
            }
        }
        // That a peer is gone is something that must not be taken back.
        if gone.is_empty() { (gone, effect) } else { (gone, Effect::Lasting) }
    }

    /// Ends a peer. Tells whether it was known.
    pub fn end_peer(&self, peer: PeerId, cause: EndCause) -> bool {
        about(Subject::Peer(peer));
        self.with(|shared, now| shared.core.end_peer(now, peer, cause))
    }

    /// Releases what a peer has on one semaphore.
    pub fn release_lock(&self, peer: PeerId, semaphore: &str) -> Result<(), ReleaseError> {
        about(Subject::Peer(peer));
        about(Subject::Semaphore(semaphore));
        self.with(|shared, now| shared.core.release_lock(now, peer, semaphore))
    }

    /// Releases what a peer has on several semaphores, in one step. If one of them is unknown, nothing is released.
    pub fn release_locks(&self, peer: PeerId, semaphores: &[String]) -> Result<(), ReleaseError> {
        about(Subject::Peer(peer));
        for semaphore in semaphores {
            about(Subject::Semaphore(semaphore));
        }
        self.with(|shared, now| {
            let core = &mut shared.core;
            core.peer(peer).map_err(|UnknownPeer| ReleaseError::UnknownPeer)?;
            for semaphore in semaphores {
                if core.pattern_of(semaphore).is_none() {
                    core.semaphore(semaphore)
                        .map_err(|UnknownSemaphore(name)| ReleaseError::UnknownSemaphore(name))?;
                }
            }
            for semaphore in semaphores {
                // A semaphore that leaves is gone with its last lock, or with the request that asked for it, too.
                let _ = core.release_lock(now, peer, semaphore);
            }
            Ok(())
        })
    }

    /// Whether a peer waits for nothing.
    pub fn is_acquired(&self, peer: PeerId) -> Result<bool, UnknownPeer> {
        about(Subject::Peer(peer));
        self.with(|shared, now| shared.core.poll(now, peer))
    }

    /// What is left of a semaphore; negative when it is overcommitted.
    pub fn remainder(&self, semaphore: &str) -> Result<i64, UnknownSemaphore> {
        about(Subject::Semaphore(semaphore));
        self.view(|core| match (core.semaphore(semaphore), core.pattern_of(semaphore)) {
            (Err(_), Some((_, spec))) => Ok(spec.max),
            (seen, _) => Ok(seen?.remainder()),
        })
    }

    /// Brings back a peer that this server does not know.
    pub fn restore(&self, restore: &Restore<'_>) -> Result<(), RestoreError> {
        about(Subject::Peer(restore.peer));
        self.with(|shared, now| shared.core.restore(now, restore))
    }

    /// Asks for locks; if they are not granted at once, waits for them up to `block_for`.
    ///
    /// The wait ends, still pending, when the promised time of the peer is over, so that its client can ask
    /// again within the margin. Dropping the future leaves the request in the queue until its peer ends; it is
    /// passed over once its client has been gone for too long.
    pub async fn acquire(
        &self,
        request: &Acquire<'_>,
        block_for: Duration,
    ) -> Result<Status, AcquireRefusal> {
        about(Subject::Peer(request.peer));
        about(Subject::Locks(request.locks));
        let (status, until) = self.with(|shared, now| (shared.core.acquire(now, request), now + block_for));
        let status = status.map_err(AcquireRefusal::Refused)?;
        if status != Status::Pending || block_for.is_zero() || request.expires_in == Some(Duration::ZERO) {
            return Ok(status);
        }
        if !self.wait(request.peer, until).await? {
            return Ok(Status::Pending);
        }
        self.view(|core| {
            let peer = core.peer(request.peer).map_err(|_| AcquireError::UnknownPeer)?;
            // Whoever released the lock from elsewhere meanwhile ended the wait too.
            let mut locks = request.locks.iter().map(|(semaphore, _)| peer.lock(semaphore));
            let first = locks.next().flatten();
            let is_held = first.is_some() && locks.all(|lock| lock.is_some());
            Ok(if is_held { Status::Acquired(first.and_then(|lock| lock.token())) } else { Status::Pending })
        })
        .map_err(AcquireRefusal::Refused)
    }

    /// Makes a peer together with its request, without waiting. A refused request leaves no peer behind.
    pub fn new_peer_with_locks(
        &self,
        locks: &[(&str, i64)],
        expires_in: Duration,
    ) -> Result<(PeerId, Status), AcquireRefusal> {
        about(Subject::Locks(locks));
        let made = self.with(|shared, now| {
            let random = shared.random();
            // A peer whose lease has no length would end before it could ask.
            let lease = expires_in.max(Duration::from_secs(1));
            let peer = shared.core.new_peer(now, lease, random, None).map_err(AcquireRefusal::Limit)?;
            let request = Acquire { peer, locks, priority: 0, expires_in: Some(expires_in) };
            match shared.core.acquire(now, &request) {
                Ok(status) => Ok((peer, status)),
                Err(error) => {
                    shared.core.end_peer(now, peer, EndCause::Released);
                    Err(AcquireRefusal::Refused(error))
                }
            }
        });
        made.inspect(|&(peer, _)| about(Subject::Peer(peer)))
    }

    /// A heartbeat that brings an unknown peer back with what it holds and asks for. What a known peer says
    /// of its locks is not looked at. A refused request brings back no peer.
    pub fn keep_or_restore(&self, joint: &Joint<'_>) -> Result<Effect, AcquireRefusal> {
        about(Subject::Peer(joint.peer));
        self.with(|shared, now| shared.keep_or_restore(now, joint).map(|()| shared.effect(&[joint.peer])))
    }

    /// Like [`Engine::keep_or_restore`], then waits up to `block_for` until nothing is pending. Tells whether
    /// that is so.
    pub async fn keep_or_restore_and_wait(
        &self,
        joint: &Joint<'_>,
        block_for: Duration,
    ) -> Result<bool, AcquireRefusal> {
        about(Subject::Peer(joint.peer));
        about(Subject::Locks(joint.pending));
        let until = self.with(|shared, now| shared.keep_or_restore(now, joint).map(|()| now + block_for))?;
        if joint.expires_in.is_zero() {
            return Ok(joint.pending.is_empty());
        }
        self.wait(joint.peer, until).await
    }
}

impl Shared {
    /// What the command, a heartbeat of these peers, did by now. One that repeats another tells what that one did.
    fn effect(&self, peers: &[PeerId]) -> Effect {
        let is_lasting = self.core.has_events() || self.has_unsafe_lease(peers);
        if is_lasting { Effect::Lasting } else { Effect::Passing }
    }

    fn keep_or_restore(&mut self, now: Time, joint: &Joint<'_>) -> Result<(), AcquireRefusal> {
        if self.core.heartbeat(now, joint.peer, joint.expires_in).is_ok() {
            return Ok(());
        }
        let locks: Vec<_> = joint
            .active
            .iter()
            .map(|&(semaphore, count)| RestoreLock { semaphore, count, token: None })
            .collect();
        let (peer, lease) = (joint.peer, joint.expires_in.max(Duration::from_secs(1)));
        let restore = Restore { peer, expires_in: lease, locks: &locks, labels: None };
        self.core.restore(now, &restore).map_err(AcquireRefusal::Restore)?;
        let request = Acquire { peer, locks: joint.pending, priority: 0, expires_in: Some(joint.expires_in) };
        self.core.acquire(now, &request).map(drop).map_err(|error| {
            // Else the same request would find a known peer that waits for nothing, and be told that all is well.
            self.core.end_peer(now, peer, EndCause::Released);
            AcquireRefusal::Refused(error)
        })
    }
}

impl fmt::Display for AcquireRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::Limit(error) => error.fmt(f),
            Self::Restore(error) => error.fmt(f),
            Self::TooManyBlocked(error) => error.fmt(f),
        }
    }
}

impl Error for AcquireRefusal {}
