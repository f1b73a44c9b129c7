//! Looking at the state. Every answer is as of the time of the last command: call
//! [`Core::advance`] first.

use std::{
    ops::{Bound, Range},
    time::Duration,
};

use crate::{
    error::{LimitReached, Resource, UnknownPeer, UnknownSemaphore},
    names::{Labels, Name, PeerId, Token},
    obstacle::AheadView,
    owner::{By, Claim, Owner},
    peer::{Held, Peer, Request},
    presence::Presence,
    queue::{Rank, Waiter},
    semaphore::{Semaphore, Spec},
    slot::SemaphoreSlot,
    state::Core,
    time::Time,
};

impl Core {
    /// How many peers live.
    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// How many semaphores there are.
    pub fn semaphore_count(&self) -> usize {
        self.semaphores.len()
    }

    /// Whether one more semaphore may be made.
    ///
    /// # Errors
    ///
    /// If there are as many as the limit allows.
    pub fn check_room_for_semaphore(&self) -> Result<(), LimitReached> {
        self.check_room(Resource::Semaphores, self.semaphores.len() + 1)
    }

    /// One peer, if whoever names it may act on it.
    pub fn peer(&self, peer: Claim<'_>) -> Result<PeerView<'_>, UnknownPeer> {
        let slot = self.find(peer)?;
        Ok(PeerView { core: self, peer: &self.peers[slot] })
    }

    /// Peers in a fixed order, each with a cursor, from the peer after that cursor on. A peer that lives
    /// throughout a walk in several steps is seen once.
    pub fn peers(&self, after: Option<usize>) -> impl Iterator<Item = (usize, PeerView<'_>)> {
        self.peers_at(after.map_or(0, |cursor| cursor.saturating_add(1))..usize::MAX)
    }

    /// Peers at these places in their table, in order, each with its place. No place beyond
    /// [`Core::peer_places`] is taken.
    pub fn peers_at(&self, places: Range<usize>) -> impl Iterator<Item = (usize, PeerView<'_>)> {
        self.peers.iter_at(places).map(|(place, peer)| (place, PeerView { core: self, peer }))
    }

    /// How many places the table of peers has.
    pub fn peer_places(&self) -> usize {
        self.peers.places()
    }

    /// One semaphore.
    pub fn semaphore(&self, name: &str) -> Result<SemaphoreView<'_>, UnknownSemaphore> {
        let slot = self.semaphore_slot(name)?;
        Ok(SemaphoreView { core: self, semaphore: &self.semaphores[slot] })
    }

    /// Semaphores by name, from the first one after `after` on.
    pub fn semaphores(&self, after: Option<&str>) -> impl Iterator<Item = SemaphoreView<'_>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.semaphore_slots
            .range::<str, _>((from, Bound::Unbounded))
            .map(|(_, &slot)| SemaphoreView { core: self, semaphore: &self.semaphores[slot] })
    }
}

/// What can be seen of a peer.
#[derive(Clone, Copy)]
pub struct PeerView<'a> {
    pub(crate) core: &'a Core,
    pub(crate) peer: &'a Peer,
}

impl<'a> PeerView<'a> {
    /// Its id.
    pub fn id(&self) -> PeerId {
        self.peer.id
    }

    /// When it was made or restored.
    pub fn created_at(&self) -> Time {
        self.peer.created_at
    }

    /// The length of its lease.
    pub fn expires_in(&self) -> Duration {
        self.peer.expires_in
    }

    /// The promised end of its lease, without the margin.
    pub fn expires_at(&self) -> Time {
        self.peer.expires_at
    }

    /// What its client told of it.
    pub fn labels(&self) -> Option<&'a Labels> {
        self.peer.labels.as_ref()
    }

    /// Whose it is.
    pub fn owner(&self) -> &'a Owner {
        &self.peer.owner
    }

    /// Whether somebody may act on it.
    pub fn is_for(&self, by: By<'_>) -> bool {
        self.core.may_act(by, self.peer)
    }

    /// Whether it waits for nothing.
    pub fn is_acquired(&self) -> bool {
        self.peer.pending.is_none()
    }

    /// Its acquired locks.
    pub fn locks(&self) -> impl Iterator<Item = HeldView<'a>> {
        let core = self.core;
        self.peer.locks.iter().map(move |held| HeldView { core, held })
    }

    /// Its acquired lock on one semaphore.
    pub fn lock(&self, semaphore: &str) -> Option<HeldView<'a>> {
        let slot = self.core.semaphore_slots.get(semaphore)?;
        let held = self.peer.held(*slot)?;
        Some(HeldView { core: self.core, held })
    }

    /// What it waits for.
    pub fn pending(&self) -> Option<PendingView<'a>> {
        let request = self.peer.pending.as_deref()?;
        Some(PendingView { core: self.core, request })
    }
}

/// What can be seen of an acquired lock, from its peer.
#[derive(Clone, Copy)]
pub struct HeldView<'a> {
    core: &'a Core,
    held: &'a Held,
}

impl<'a> HeldView<'a> {
    /// The semaphore.
    pub fn semaphore(&self) -> &'a Name {
        &self.core.semaphores[self.held.semaphore].name
    }

    /// The count held.
    pub fn count(&self) -> i64 {
        self.held.count
    }

    /// The fencing token, null for a restored lock without one.
    pub fn token(&self) -> Option<Token> {
        self.held.token
    }

    /// Since when it is held.
    pub fn since(&self) -> Time {
        self.held.since
    }
}

/// What can be seen of a pending request.
#[derive(Clone, Copy)]
pub struct PendingView<'a> {
    pub(crate) core: &'a Core,
    pub(crate) request: &'a Request,
}

impl<'a> PendingView<'a> {
    /// Each semaphore and the count asked for.
    pub fn locks(&self) -> impl Iterator<Item = (&'a Name, i64)> {
        let core = self.core;
        self.request.parts.iter().map(move |part| (&core.semaphores[part.semaphore].name, part.count))
    }

    /// The priority asked for.
    pub fn priority(&self) -> i32 {
        self.request.priority
    }

    /// Since when it waits.
    pub fn since(&self) -> Time {
        self.request.since
    }

    /// Whether it is passed over, since its client waited with a connection that has been gone for too long.
    pub fn is_absent(&self) -> bool {
        self.request.presence == Presence::Absent
    }

    /// A guess, from how long locks were held lately, at how long it will still wait; `None` without
    /// anything to go by, or while it cannot be granted.
    pub fn estimated_wait(&self) -> Option<Duration> {
        let is_known = |ahead: AheadView<'_>| {
            ahead.waiter.peer.pending().is_some_and(|request| request.estimate().is_some())
        };
        // Whoever is ahead and waits for something else may wait for as long as that takes.
        self.ahead().all(is_known).then(|| self.estimate())?
    }

    /// The same without a look at those ahead.
    fn estimate(&self) -> Option<Duration> {
        let parts = self.request.parts.iter();
        let waits = parts.map(|part| {
            self.core.semaphores[part.semaphore].estimated_wait(self.core.now, self.request.rank, part.count)
        });
        // The longest one decides, and one that nothing is known of leaves all unknown.
        waits.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Its place, counted from 1, in the queue where it stands farthest back.
    pub fn position(&self) -> usize {
        let rank = self.request.rank;
        let ahead = |semaphore: SemaphoreSlot| self.core.semaphores[semaphore].queue.ahead_of(rank).0;
        self.request.parts.iter().map(|part| ahead(part.semaphore)).max().unwrap_or(0) + 1
    }
}

impl Semaphore {
    /// How long a waiter might wait: what has to come free before it fits, at the rate at which locks came
    /// free lately, if all of `max` is in use.
    fn estimated_wait(&self, now: Time, rank: Rank, count: i64) -> Option<Duration> {
        let max = u128::try_from(self.spec.max).ok().filter(|&max| max > 0 && count <= self.spec.max)?;
        let wanted = self.queue.ahead_of(rank).1 + i128::from(count);
        let lacking = self.acquired + self.cooling_sum + wanted - i128::from(self.spec.max);
        let lacking = u128::try_from(lacking).unwrap_or(0);
        let hold_us = self.mean_hold_us.map(u128::from);
        // Without holders nothing can be had sooner than the rate gives it back.
        let due = if self.acquired == 0 && lacking > 0 { self.due_for(wanted) } else { None };
        let due = due.map_or(Duration::ZERO, |at| at.since(now));
        let turn_us = hold_us.into_iter().chain(self.spec.per.map(|per| per.as_micros())).max()?;
        let guess = u64::try_from(turn_us.saturating_mul(lacking) / max).unwrap_or(u64::MAX);
        Some(Duration::from_micros(guess).max(due))
    }
}

/// What can be seen of a semaphore.
#[derive(Clone, Copy)]
pub struct SemaphoreView<'a> {
    pub(crate) core: &'a Core,
    pub(crate) semaphore: &'a Semaphore,
}

impl<'a> SemaphoreView<'a> {
    /// The pattern that it was made from.
    pub fn pattern(&self) -> Option<&'a Name> {
        self.semaphore.pattern.as_ref()
    }

    /// For whom it counts, as the member of a pattern: it came to be by one of his requests.
    pub fn maker(&self) -> &'a Owner {
        &self.semaphore.maker
    }

    /// Whether it takes no new requests and goes once it is idle.
    pub fn is_leaving(&self) -> bool {
        self.semaphore.is_leaving
    }

    /// Its name.
    pub fn name(&self) -> &'a Name {
        &self.semaphore.name
    }

    /// What it was declared to be.
    pub fn spec(&self) -> Spec {
        self.semaphore.spec
    }

    /// While it is paused: its full count before that, if that is known.
    pub fn max_before_pause(&self) -> Option<i64> {
        self.semaphore.max_before_pause
    }

    /// The count acquired.
    pub fn acquired(&self) -> i64 {
        clamp(self.semaphore.acquired)
    }

    /// The count that waits to be acquired.
    pub fn pending(&self) -> i64 {
        clamp(self.semaphore.queue.sum())
    }

    /// The count released that its rate still holds back.
    pub fn cooling(&self) -> i64 {
        clamp(self.semaphore.cooling_sum)
    }

    /// `max` minus what is acquired; negative when overcommitted.
    pub fn remainder(&self) -> i64 {
        clamp(i128::from(self.semaphore.spec.max) - self.semaphore.acquired)
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.semaphore.queue.len()
    }

    /// How long the request has waited that waits longest.
    pub fn longest_wait(&self) -> Duration {
        self.semaphore.queue.oldest().map_or(Duration::ZERO, |since| self.core.now.since(since))
    }

    /// How many locks are acquired.
    pub fn holder_count(&self) -> usize {
        self.semaphore.holders.len()
    }

    /// The acquired locks, in order of grant.
    pub fn holders(&self) -> impl Iterator<Item = HolderView<'a>> + use<'a> {
        self.holders_after(None).map(|(_, holder)| holder)
    }

    /// The acquired locks in order of grant, each with its number, from the one after that of this number on. A lock
    /// that is held throughout a walk in several steps is seen once.
    pub fn holders_after(
        &self,
        number: Option<u64>,
    ) -> impl Iterator<Item = (u64, HolderView<'a>)> + use<'a> {
        let core = self.core;
        let from = number.map_or(Bound::Unbounded, Bound::Excluded);
        let later = self.semaphore.holders.range((from, Bound::Unbounded));
        later.filter_map(move |(&serial, &slot)| {
            let peer = &core.peers[slot];
            let held = peer.locks.iter().find(|held| held.serial == serial)?;
            Some((serial, HolderView { peer: PeerView { core, peer }, lock: HeldView { core, held } }))
        })
    }

    /// The acquired lock whose grant has this fencing token.
    pub fn holder(&self, token: Token) -> Option<HolderView<'a>> {
        let core = self.core;
        let peer = &core.peers[*self.semaphore.holders.get(&token.0)?];
        let held = peer.locks.iter().find(|held| held.token == Some(token))?;
        Some(HolderView { peer: PeerView { core, peer }, lock: HeldView { core, held } })
    }

    /// The waiting requests in order, from the one at `position` (counted from 0) on.
    pub fn queue(&self, position: usize) -> impl Iterator<Item = WaiterView<'a>> {
        let Self { core, semaphore } = *self;
        let waiters = semaphore.queue.iter_from(position);
        waiters.map(move |waiter| {
            let peer = PeerView { core, peer: &core.peers[waiter.peer] };
            WaiterView { peer, semaphore, waiter }
        })
    }
}

/// What can be seen of an acquired lock, from its semaphore.
#[derive(Clone, Copy)]
pub struct HolderView<'a> {
    /// The peer that holds it.
    pub peer: PeerView<'a>,
    /// The lock.
    pub lock: HeldView<'a>,
}

/// What can be seen of a waiting request, from one of its semaphores.
#[derive(Clone, Copy)]
pub struct WaiterView<'a> {
    /// The peer that waits.
    pub peer: PeerView<'a>,
    pub(crate) semaphore: &'a Semaphore,
    pub(crate) waiter: &'a Waiter,
}

impl WaiterView<'_> {
    /// Whether it is passed over; see [`PendingView::is_absent`].
    pub fn is_absent(&self) -> bool {
        self.peer.pending().is_some_and(|request| request.is_absent())
    }

    /// Whether it holds up nobody behind it, while its semaphore is not paused: it is absent, or asks for more than the
    /// max of one of its semaphores, or waits for one of a higher level.
    pub fn is_passed_over(&self) -> bool {
        let max = self.semaphore.spec.max;
        max > 0 && self.waiter.needs > max.cast_unsigned()
    }

    /// The priority asked for.
    pub fn priority(&self) -> i32 {
        self.peer.pending().map_or(0, |request| request.priority())
    }

    /// A guess at how long it will still wait here; see [`PendingView::estimated_wait`].
    pub fn estimated_wait(&self) -> Option<Duration> {
        self.peer.pending()?.estimated_wait()
    }

    /// The count asked for on this semaphore.
    pub fn count(&self) -> i64 {
        self.waiter.count
    }

    /// Since when it waits.
    pub fn since(&self) -> Time {
        self.waiter.since
    }
}

fn clamp(sum: i128) -> i64 {
    i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX })
}
