//! Bringing back a peer that the server forgot.

use std::time::Duration;

use crate::{
    error::{LimitReached, Resource, RestoreError, Share, UnknownPeer, UnknownSemaphore},
    event::Event,
    names::{Labels, Token},
    owner::Claim,
    peer::{Held, Part},
    planted,
    semaphore::Semaphore,
    slot::{PeerSlot, SemaphoreSlot},
    state::{Core, RestorePolicy},
    time::Time,
};

/// A peer that a client brings back.
#[derive(Clone, Debug)]
pub struct Restore<'a> {
    /// The id that it had, and who brings it back: an unknown one is his from now on.
    pub peer: Claim<'a>,
    /// The length of its lease.
    pub expires_in: Duration,
    /// What it holds.
    pub locks: &'a [RestoreLock<'a>],
    /// What its client tells of it, if the peer is not known.
    pub labels: Option<Labels>,
}

/// A lock that a client brings back.
#[derive(Clone, Copy, Debug)]
pub struct RestoreLock<'a> {
    /// The semaphore.
    pub semaphore: &'a str,
    /// The count held.
    pub count: i64,
    /// The fencing token of the grant, to be kept if it can be.
    pub token: Option<Token>,
}

impl Core {
    /// Brings a peer back under its id with the locks it holds; they count as acquired even if all that is acquired
    /// goes beyond `max`. A single lock beyond a `max` that is not 0 is refused: nobody could have been granted it, and
    /// it would starve all others.
    ///
    /// For a known peer this only moves its lease (never to an earlier end), and only if it holds just
    /// these locks or none are named. No token is minted, since that of a zombie would outrank the
    /// holder's: a lock has the token it names if that was given before and is not live, else none.
    pub fn restore(&mut self, now: Time, restore: &Restore<'_>) -> Result<(), RestoreError> {
        let now = self.begin_with(now, restore.peer.peer);
        let outcome = self.try_restore(now, restore);
        self.finish(now);
        outcome
    }

    fn try_restore(&mut self, now: Time, restore: &Restore<'_>) -> Result<(), RestoreError> {
        let named: Vec<_> = restore.locks.iter().map(|lock| (lock.semaphore, lock.count)).collect();
        let parts = self.resolve(restore.peer.by, &named, RestoreError::NamedTwice)?;
        if let Some(part) = parts.iter().find(|part| part.count < 1) {
            let semaphore = self.name_of(part.semaphore);
            return Err(RestoreError::CountBelowOne { semaphore, count: part.count });
        }
        if self.slot_of(restore.peer.peer).is_ok() {
            let slot = self.find(restore.peer).map_err(|UnknownPeer| RestoreError::Conflict)?;
            if !parts.is_empty() && !self.holds_just(slot, &parts) && !planted!(RestoreOfOthersAccepted) {
                return Err(RestoreError::Conflict);
            }
            if self.peers[slot].expires_at < now + restore.expires_in {
                self.renew(now, slot, Some(restore.expires_in));
            }
        } else {
            if !planted!(RestorePolicyIgnored) {
                self.check_policy(&parts)?;
            }
            self.check_room(Resource::Peers, self.peers.len() + 1)?;
            self.check_room(Resource::Locks, parts.len())?;
            let Claim { peer, by } = restore.peer;
            self.check_share(by, Share::Peers)?;
            let slot = self.insert_peer(now, peer, by.owner(), restore.expires_in, restore.labels.clone());
            for (lock, part) in restore.locks.iter().zip(&parts) {
                self.restore_lock(now, slot, *part, lock.token);
            }
        }
        Ok(())
    }

    /// Whether a peer that is not known may bring these back.
    fn check_policy(&self, parts: &[Part]) -> Result<(), RestoreError> {
        if let Some(part) =
            parts.iter().find(|part| self.semaphores[part.semaphore].spec.is_beyond(part.count))
        {
            let Semaphore { name, spec, .. } = &self.semaphores[part.semaphore];
            return Err(RestoreError::ExceedsMax {
                semaphore: name.clone(),
                count: part.count,
                max: spec.max,
            });
        }
        match self.settings.restore {
            RestorePolicy::Deny if !parts.is_empty() => Err(RestoreError::Denied),
            RestorePolicy::IfFree => parts.iter().try_for_each(|part| {
                let on = &self.semaphores[part.semaphore];
                if on.acquired + i128::from(part.count) <= i128::from(on.spec.max) {
                    return Ok(());
                }
                Err(RestoreError::DoesNotFit {
                    semaphore: on.name.clone(),
                    count: part.count,
                    acquired: i64::try_from(on.acquired).unwrap_or(i64::MAX),
                    max: on.spec.max,
                })
            }),
            RestorePolicy::Allow | RestorePolicy::Deny => Ok(()),
        }
    }

    fn holds_just(&self, slot: PeerSlot, parts: &[Part]) -> bool {
        let locks = &self.peers[slot].locks;
        let same = |part: &Part| {
            locks.iter().any(|held| held.semaphore == part.semaphore && held.count == part.count)
        };
        locks.len() == parts.len() && parts.iter().all(same)
    }

    fn restore_lock(&mut self, now: Time, slot: PeerSlot, part: Part, token: Option<Token>) {
        let Part { semaphore, count } = part;
        self.announce(semaphore);
        let is_free = |token: &Token| token.0 < self.next_token && !self.serials.contains(token.0);
        let token = token.filter(is_free).or(planted!(RestoreMintsToken).then_some(Token(self.next_token)));
        let serial = token.map_or(self.next_token, |token| token.0);
        // A lock without a token still needs a number that no token will ever have.
        self.next_token = self.next_token.max(serial + 1);
        self.hold(slot, Held { semaphore, count, serial, token, since: now });
        self.events.push(Event::Restored {
            peer: self.peers[slot].id,
            semaphore: self.name_of(semaphore),
            count,
            token,
            serial,
            at: now,
        });
        self.report_overcommit(semaphore);
    }

    /// Tells if more is acquired on a semaphore than its `max`.
    pub(crate) fn report_overcommit(&mut self, semaphore: SemaphoreSlot) {
        let on = &self.semaphores[semaphore];
        if on.acquired > i128::from(on.spec.max) {
            self.events.push(Event::Overcommitted {
                semaphore: on.name.clone(),
                acquired: i64::try_from(on.acquired).unwrap_or(i64::MAX),
                max: on.spec.max,
            });
        }
    }
}

impl From<UnknownSemaphore> for RestoreError {
    fn from(UnknownSemaphore(name): UnknownSemaphore) -> Self {
        Self::UnknownSemaphore(name)
    }
}

impl From<LimitReached> for RestoreError {
    fn from(limit: LimitReached) -> Self {
        Self::Limit(limit)
    }
}
