//! What can be asked of the engine: each act of the node, with what its trace says it is about.

use std::{sync::Arc, time::Duration};

use throttle_core::{
    By, Claim, Core, EndCause, HolderView, PeerId, PeerView, ReleaseError, RemoveError, Restore,
    RestoreError, SemaphoreView, Spec, Token, UnknownPeer, UnknownSemaphore,
};
use throttle_journal::Wall;
use throttle_node::{
    Adopted, Ask, Condition, Declared, Difference, Ending, Holding, NewPeer, Outcome, Refusal, SetRefusal,
    managing::Found,
};

use super::engine::{Engine, Turn};
use crate::telemetry::trace::{Subject, about};

/// How many holders and waiters a semaphore is removed from under in one go.
const USERS_AT_ONCE: usize = 1000;
/// The pause between two goes.
const EVICTION_PAUSE: Duration = Duration::from_millis(1);
/// How many leases are moved in one go, so that many of them hold up no grant.
const LEASES_AT_ONCE: usize = 256;

/// The name of whoever acts on what others have, if he has one.
type Operator<'a> = Option<&'a str>;

impl Engine {
    /// Makes a peer that holds nothing. A repeat finds the one that the first request made.
    pub fn new_peer(&self, new: &NewPeer<'_>) -> Result<PeerId, Refusal> {
        let made = self.turn(|turn| turn.new_peer(new));
        made.inspect(|&peer| about(Subject::Peer(peer)))
    }

    /// The same, with a look at the peer.
    pub fn new_peer_and_look<R>(
        &self,
        new: &NewPeer<'_>,
        look: impl FnOnce(PeerView<'_>, Wall) -> R,
    ) -> Result<R, Refusal> {
        let (peer, seen) = self.turn(|turn| {
            let peer = turn.new_peer(new)?;
            Ok::<_, Refusal>((peer, turn.look_at(peer.by(new.by), look)))
        })?;
        about(Subject::Peer(peer));
        Ok(seen?)
    }

    /// Begins the lease of a peer anew. A journal that is behind takes no other length, but the lease begins anew.
    pub fn heartbeat(&self, peer: Claim<'_>, expires_in: Duration) -> Result<Condition, Refusal> {
        about(Subject::Peer(peer.peer));
        self.turn(|turn| turn.heartbeat(peer, Some(expires_in)))
    }

    /// The same, by its own length if no other is given, with a look at the peer.
    pub fn heartbeat_and_look<R>(
        &self,
        peer: Claim<'_>,
        expires_in: Option<Duration>,
        look: impl FnOnce(PeerView<'_>, Wall) -> R,
    ) -> Result<(R, Condition), Refusal> {
        about(Subject::Peer(peer.peer));
        self.turn(|turn| {
            turn.heartbeat(peer, expires_in)?;
            let condition = turn.node.shown(peer.peer);
            Ok((turn.look_at(peer, look)?, condition))
        })
    }

    /// Begins the leases of many peers anew, and returns those of them that are not known. A journal that is behind
    /// takes no other lengths, but all leases begin anew.
    pub async fn heartbeats(
        &self,
        by: By<'_>,
        peers: &[PeerId],
        expires_in: Duration,
    ) -> Result<(Vec<PeerId>, Condition), Refusal> {
        about(Subject::Peers(peers.len()));
        let (mut gone, mut condition, mut refused) = (Vec::new(), Condition::Now, None);
        let mut parts = peers.chunks(LEASES_AT_ONCE).peekable();
        while let Some(part) = parts.next() {
            let of_part = self.turn(|turn| {
                if turn.is_behind() {
                    return turn.node.keep_all(turn.now, by, part, expires_in, &mut gone);
                }
                Ok(turn.node.heartbeats(turn.now, by, part, expires_in, &mut gone))
            });
            match of_part {
                Ok(of_part) => condition = condition.max(of_part),
                Err(refusal) => refused = Some(refusal),
            }
            if parts.peek().is_some() {
                tokio::task::yield_now().await;
            }
        }
        refused.map_or(Ok((gone, condition)), Err)
    }

    /// Ends a peer. Tells whether it was known.
    pub fn end_peer(&self, peer: Claim<'_>, cause: EndCause) -> bool {
        about(Subject::Peer(peer.peer));
        self.turn(|turn| turn.node.end_peer(turn.now, peer, cause))
    }

    /// Ends a peer on the word of an operator. Tells whether it was known.
    pub fn release_with_reason(&self, peer: Claim<'_>, reason: Arc<str>, by: Operator<'_>) -> bool {
        about(Subject::Peer(peer.peer));
        self.turn(|turn| {
            turn.node.acts(by.map(Into::into));
            turn.node.end_peer_with_reason(turn.now, peer, reason)
        })
    }

    /// How a peer ended, if that is remembered, and is for whoever asks to know.
    pub fn ending(&self, peer: Claim<'_>) -> Option<Ending> {
        self.lock().node.ending(peer).cloned()
    }

    /// Whether a peer, or what is remembered of one, is for whoever names it.
    pub fn is_for(&self, peer: Claim<'_>) -> bool {
        let inner = self.lock();
        inner.node.core().peer(peer).is_ok() || inner.node.ending(peer).is_some()
    }

    /// How the grant of a fencing token ended, if that is remembered.
    pub fn token_ending(&self, token: Token) -> Option<Ending> {
        self.lock().node.token_ending(token).cloned()
    }

    /// Releases what a peer has on some semaphores, in one step. If one of them is unknown, nothing is released.
    pub fn release(&self, peer: Claim<'_>, semaphores: &[impl AsRef<str>]) -> Result<(), ReleaseError> {
        about(Subject::Peer(peer.peer));
        for semaphore in semaphores {
            about(Subject::Semaphore(semaphore.as_ref()));
        }
        self.turn(|turn| turn.node.release(turn.now, peer, semaphores))
    }

    /// Whether a peer has what it asked for. That a client asks puts a request that is passed over back in line, which
    /// a journal that is behind does not take.
    pub fn is_acquired(&self, peer: Claim<'_>) -> Result<bool, Refusal> {
        about(Subject::Peer(peer.peer));
        self.turn(|turn| {
            if turn.is_behind() && turn.node.core().peer(peer)?.pending().is_some() {
                return Err(Refusal::Behind { is_kept: false });
            }
            Ok(turn.node.poll(turn.now, peer)? == Outcome::Acquired)
        })
    }

    /// Brings back a peer that this server does not know.
    pub fn restore(&self, restore: &Restore<'_>) -> Result<(), RestoreError> {
        about(Subject::Peer(restore.peer.peer));
        self.turn(|turn| turn.node.restore(turn.now, restore))
    }

    /// What is left of a semaphore; negative when it is overcommitted.
    pub fn remainder(&self, semaphore: &str) -> Result<i64, UnknownSemaphore> {
        about(Subject::Semaphore(semaphore));
        self.turn(|turn| turn.node.remainder(semaphore))
    }

    /// Applies the changes of the configuration file. Returns what was there until then.
    pub fn declare(&self, difference: &Difference, declared: &Declared, by: &str) -> Adopted {
        self.turn(|turn| {
            turn.node.acts(Some(by.into()));
            turn.node.declare(turn.now, difference, declared)
        })
    }

    /// Creates a semaphore, or replaces what it is declared to be. Returns what it was, if it is not new.
    pub fn set_semaphore<R>(
        &self,
        name: &str,
        spec: Spec,
        by: Operator<'_>,
        look: impl FnOnce(SemaphoreView<'_>, Wall) -> R,
    ) -> Result<(Option<Spec>, R), SetRefusal> {
        about(Subject::Semaphore(name));
        self.turn(|turn| {
            turn.node.acts(by.map(Into::into));
            let before = turn.node.set_semaphore(turn.now, name, spec)?;
            Ok((before, turn.look_at_semaphore(name, look)?))
        })
    }

    /// Changes what a semaphore is declared to be. Returns what it was.
    pub fn change_semaphore<R>(
        &self,
        name: &str,
        change: impl FnOnce(Spec) -> Spec,
        by: Operator<'_>,
        look: impl FnOnce(SemaphoreView<'_>, Wall) -> R,
    ) -> Result<(Spec, R), SetRefusal> {
        about(Subject::Semaphore(name));
        self.turn(|turn| {
            turn.node.acts(by.map(Into::into));
            let before = turn.node.change_semaphore(turn.now, name, change)?;
            Ok((before, turn.look_at_semaphore(name, look)?))
        })
    }

    /// Removes a semaphore; with `force` also from under those who use it. Where they are many, that takes several
    /// goes, so that it holds up nobody else; if the caller is gone meanwhile, it takes no new requests, and is gone
    /// once it is idle.
    pub async fn remove_semaphore(
        &self,
        name: &str,
        force: bool,
        by: Operator<'_>,
    ) -> Result<(), RemoveError> {
        about(Subject::Semaphore(name));
        let by: Option<Arc<str>> = by.map(Into::into);
        let mut is_begun = false;
        let mut users = if force { self.users(name) } else { 0 };
        while users > USERS_AT_ONCE {
            is_begun = true;
            // It may be gone by now, as somebody else removes it too.
            let evicted = self.turn(|turn| {
                turn.node.acts(by.clone());
                turn.node.evict(turn.now, name)
            });
            users = evicted.unwrap_or_default();
            // Others wait for the lock meanwhile, and it goes to whoever is quickest.
            tokio::time::sleep(EVICTION_PAUSE).await;
        }
        let removed = self.turn(|turn| {
            turn.node.acts(by);
            turn.node.remove_semaphore(turn.now, name, force)
        });
        match removed {
            Err(RemoveError::UnknownSemaphore(_)) if is_begun => Ok(()),
            removed => removed,
        }
    }

    /// How many hold or wait for a semaphore.
    fn users(&self, name: &str) -> usize {
        let seen = |core: &Core| core.semaphore(name).map_or(0, |seen| seen.holder_count() + seen.waiting());
        self.view(seen)
    }

    /// A look at one semaphore; or at what a member of a pattern is declared to be that nobody uses now.
    pub fn semaphore<R>(
        &self,
        name: &str,
        look: impl FnOnce(SemaphoreView<'_>, Wall) -> R,
        look_at_unused: impl FnOnce(Spec) -> R,
    ) -> Result<R, UnknownSemaphore> {
        about(Subject::Semaphore(name));
        self.turn(|turn| {
            let wall = turn.wall();
            Ok(match turn.node.semaphore(name)? {
                Found::Used(seen) => look(seen, wall),
                Found::Unused(spec) => look_at_unused(spec),
            })
        })
    }

    /// A look at the holder whose grant has this token, if it is live.
    pub fn holder<R>(
        &self,
        semaphore: &str,
        token: Token,
        look: impl FnOnce(HolderView<'_>, Wall) -> R,
    ) -> Result<Option<R>, UnknownSemaphore> {
        self.turn(|turn| {
            let wall = turn.wall();
            Ok(turn.node.holder(semaphore, token)?.map(|holder| look(holder, wall)))
        })
    }

    /// Known names that are like `name`, quoted, the likeliest first.
    pub fn suggestions(&self, name: &str, may_know: impl Fn(&str) -> bool) -> Vec<String> {
        self.turn(|turn| turn.node.suggestions(name, may_know))
    }

    /// Holds back every grant for a time, but for what peers bring back.
    pub fn hold_grants(&self, duration: Duration) {
        self.turn(|turn| turn.node.hold_grants(turn.now, duration));
    }

    /// Whether grants are held back, and until when; and where the wall clock is.
    pub fn holding(&self) -> Option<(Holding, Wall)> {
        self.turn(|turn| Some((turn.node.holding(turn.now)?, turn.wall())))
    }

    /// Gives out what was held back. Tells whether anything was.
    pub fn resume_grants(&self) -> bool {
        self.turn(|turn| turn.node.resume_grants(turn.now))
    }

    /// Makes the peer of a request of the dialect v0.1, which brings what it holds and asks for, or has its lease begin
    /// anew if it is known: what a known peer says of its locks is not looked at. A refused request brings back no
    /// peer.
    pub fn keep_or_restore(&self, restore: &Restore<'_>, ask: &Ask<'_>) -> Result<Condition, Refusal> {
        about(Subject::Peer(restore.peer.peer));
        self.turn(|turn| turn.keep_or_restore(restore, ask))
    }
}

impl Turn<'_> {
    fn new_peer(&mut self, new: &NewPeer<'_>) -> Result<PeerId, Refusal> {
        let random = self.random();
        self.node.new_peer(self.now, random, new)
    }

    fn heartbeat(&mut self, peer: Claim<'_>, expires_in: Option<Duration>) -> Result<Condition, Refusal> {
        if self.is_behind() {
            return self.node.keep(self.now, peer, expires_in);
        }
        Ok(self.node.heartbeat(self.now, peer, expires_in)?)
    }

    pub(super) fn look_at<R>(
        &mut self,
        peer: Claim<'_>,
        look: impl FnOnce(PeerView<'_>, Wall) -> R,
    ) -> Result<R, UnknownPeer> {
        let wall = self.wall();
        Ok(look(self.node.core().peer(peer)?, wall))
    }

    fn look_at_semaphore<R>(
        &mut self,
        name: &str,
        look: impl FnOnce(SemaphoreView<'_>, Wall) -> R,
    ) -> Result<R, UnknownSemaphore> {
        let wall = self.wall();
        Ok(look(self.node.core().semaphore(name)?, wall))
    }

    pub(super) fn keep_or_restore(
        &mut self,
        restore: &Restore<'_>,
        ask: &Ask<'_>,
    ) -> Result<Condition, Refusal> {
        let peer = restore.peer;
        match self.heartbeat(peer, ask.expires_in) {
            Err(refusal) if refusal.is_unknown_peer() => {}
            kept => return kept,
        }
        if self.is_behind() {
            return Err(Refusal::Behind { is_kept: false });
        }
        self.node.restore(self.now, restore)?;
        if let Err(refusal) = self.node.acquire(self.now, peer, ask) {
            // Else the same request would find a known peer that waits for nothing, and be told that all is well.
            self.node.end_peer(self.now, peer, EndCause::Released);
            return Err(refusal);
        }
        Ok(self.node.committed())
    }
}
