//! Peers: made, kept, restored, released.

use std::{sync::Arc, time::Duration};

use throttle_core::{
    By, Claim, EndCause, Labels, PeerId, ReleaseError, Restore, RestoreError, Time, UnknownPeer,
    UnknownSemaphore, planted,
};

use crate::{
    idempotency::{self, IdempotencyKey},
    node::Node,
    output::Condition,
    refusal::Refusal,
};

/// A peer to be made.
#[derive(Clone, Debug)]
pub struct NewPeer<'a> {
    /// Who asks for it, and has it from then on.
    pub by: By<'a>,
    /// The length of its lease.
    pub expires_in: Duration,
    /// What its client tells of it.
    pub labels: Option<Labels>,
    /// Makes a repeat of the request find the same peer.
    pub key: Option<IdempotencyKey<'a>>,
}

impl Node {
    /// Makes a peer that holds nothing. A repeat under the same key finds the one that the first request made.
    ///
    /// # Errors
    ///
    /// If there are too many peers, or the key belongs to another request, or to a peer that is gone.
    pub fn new_peer(&mut self, now: Time, random: u64, new: &NewPeer<'_>) -> Result<PeerId, Refusal> {
        match idempotency::find(&self.keys, new.key)? {
            None => self.make_peer(now, random, new),
            Some(peer) if self.core.peer(peer.by(new.by)).is_ok() => Ok(peer),
            Some(peer) => Err(Refusal::Gone(peer)),
        }
    }

    pub(crate) fn make_peer(&mut self, now: Time, random: u64, new: &NewPeer<'_>) -> Result<PeerId, Refusal> {
        let peer = self.core.new_peer(now, new.by, new.expires_in, random, new.labels.clone())?;
        if let Some(key) = new.key {
            if !planted!(KeyNotLogged) {
                self.append(key.record(peer));
            }
            if !planted!(KeyForgotten) {
                idempotency::remember(&mut self.keys, key, peer);
            }
        }
        Ok(peer)
    }

    /// Begins the lease of a peer anew, with its own length if no other is given.
    ///
    /// Where only that happened, the answer need not wait for the log: every lease begins anew at a restart.
    ///
    /// # Errors
    ///
    /// If the peer is not known.
    pub fn heartbeat(
        &mut self,
        now: Time,
        claim: Claim<'_>,
        expires_in: Option<Duration>,
    ) -> Result<Condition, UnknownPeer> {
        let length = match expires_in {
            Some(length) => length,
            None => self.core.peer(claim)?.expires_in(),
        };
        self.core.heartbeat(now, claim, length)?;
        self.lease_moved(claim.peer);
        Ok(self.condition(&[claim.peer]))
    }

    /// Begins the leases of many peers anew. Adds those that are not known to `gone`.
    pub fn heartbeats(
        &mut self,
        now: Time,
        by: By<'_>,
        peers: &[PeerId],
        expires_in: Duration,
        gone: &mut Vec<PeerId>,
    ) -> Condition {
        let known_before = gone.len();
        self.core.heartbeats(now, by, peers, expires_in, |peer| gone.push(peer));
        if self.waits.len() > 0 {
            for &peer in peers {
                self.lease_moved(peer);
            }
        }
        // That a peer is gone is something that must not be taken back.
        if gone.len() == known_before { self.condition(peers) } else { self.committed() }
    }

    /// Begins the lease of a peer anew while nothing may be added to the log: with the length that it has.
    ///
    /// # Errors
    ///
    /// If the peer is not known; or another length was asked for, which is to be asked for again.
    pub fn keep(
        &mut self,
        now: Time,
        claim: Claim<'_>,
        expires_in: Option<Duration>,
    ) -> Result<Condition, Refusal> {
        let length = self.core.peer(claim)?.expires_in();
        let condition = self.heartbeat(now, claim, Some(length))?;
        if expires_in.is_some_and(|asked| asked != length) {
            return Err(Refusal::Behind { is_kept: true });
        }
        Ok(condition)
    }

    /// The same for many peers. Tells what the answer waits for, unless another length was asked for.
    pub fn keep_all(
        &mut self,
        now: Time,
        by: By<'_>,
        peers: &[PeerId],
        expires_in: Duration,
        gone: &mut Vec<PeerId>,
    ) -> Result<Condition, Refusal> {
        let (known_before, mut is_other) = (gone.len(), false);
        for &peer in peers {
            match self.keep(now, peer.by(by), Some(expires_in)) {
                Ok(_) => {}
                Err(Refusal::Behind { .. }) => is_other = true,
                Err(_) => gone.push(peer),
            }
        }
        if is_other {
            return Err(Refusal::Behind { is_kept: true });
        }
        Ok(if gone.len() == known_before { self.condition(peers) } else { self.committed() })
    }

    /// Ends a peer: all its locks are free, its request leaves the queue. Tells whether it was known.
    pub fn end_peer(&mut self, now: Time, claim: Claim<'_>, cause: EndCause) -> bool {
        self.core.end_peer(now, claim, cause)
    }

    /// Ends a peer on the word of an operator, who gives a reason. Tells whether it was known.
    pub fn end_peer_with_reason(&mut self, now: Time, claim: Claim<'_>, reason: Arc<str>) -> bool {
        let was_known = self.core.end_peer(now, claim, EndCause::Operator);
        self.word.reason = was_known.then_some(reason);
        was_known
    }

    /// Releases what a peer has on some semaphores, in one step. If one of them is unknown, nothing is released.
    ///
    /// # Errors
    ///
    /// If the peer or a semaphore is not known.
    pub fn release(
        &mut self,
        now: Time,
        claim: Claim<'_>,
        semaphores: &[impl AsRef<str>],
    ) -> Result<(), ReleaseError> {
        if let [semaphore] = semaphores {
            return self.core.release_lock(now, claim, semaphore.as_ref());
        }
        self.core.peer(claim).map_err(|UnknownPeer| ReleaseError::UnknownPeer)?;
        for semaphore in semaphores {
            if self.core.pattern_of(semaphore.as_ref()).is_none() {
                self.core
                    .semaphore(semaphore.as_ref())
                    .map_err(|UnknownSemaphore(name)| ReleaseError::UnknownSemaphore(name))?;
            }
        }
        for semaphore in semaphores {
            // A semaphore that leaves is gone with its last lock, or with the request that asked for it, too.
            let _ = self.core.release_lock(now, claim, semaphore.as_ref());
        }
        Ok(())
    }

    /// Brings back a peer that this node does not know, with its locks.
    ///
    /// # Errors
    ///
    /// If the locks are not to be had any more.
    pub fn restore(&mut self, now: Time, restore: &Restore<'_>) -> Result<(), RestoreError> {
        self.core.restore(now, restore)
    }
}
