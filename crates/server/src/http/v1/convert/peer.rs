//! A peer, what it holds, and what it waits for.

use throttle_api::{Blocker, BlockerKind, Digits, Labels, Lock, Peer, Pending, Span};
use throttle_core::{AheadView, Closed, ClosedView, HeldView, HolderView, Name, PeerView, PendingView};
use throttle_journal::Wall;

use super::stamp;
use crate::security::{Caller, Right};

/// How many of those who are in the way of a peer are shown with it.
const BLOCKERS: usize = 10;

/// A peer as it is at this moment, as far as the caller may see it: all of his own; of another, what it has to do with
/// semaphores that he may look at.
pub(in crate::http::v1) fn peer(peer: PeerView<'_>, wall: Wall, caller: &Caller) -> Peer {
    let is_own = peer.is_for(caller.by());
    let may_see = |semaphore: &str| is_own || caller.may(Right::Read, semaphore);
    let held = peer.locks().filter(|held| may_see(held.semaphore()));
    let asked = peer.pending().filter(|pending| pending.locks().all(|(semaphore, _)| may_see(semaphore)));
    Peer {
        id: id(peer, caller),
        labels: Labels::new(peer.labels().cloned()),
        created_at: stamp(wall.at(peer.created_at())),
        expires_at: stamp(wall.at(peer.expires_at())),
        locks: held.map(|held| lock(held, wall)).collect(),
        pending: asked.map(|view| Box::new(pending(view, wall, caller))),
    }
}

/// The id of a peer; 0 if it is not for the caller.
pub(super) fn id(peer: PeerView<'_>, caller: &Caller) -> Digits {
    Digits(if peer.is_for(caller.by()) { peer.id().0 } else { 0 })
}

/// Whether the caller may see anything of a peer.
pub(in crate::http::v1) fn is_visible(peer: PeerView<'_>, caller: &Caller) -> bool {
    let may_see = |semaphore: &str| caller.may(Right::Read, semaphore);
    caller.may_all(Right::Read)
        || peer.is_for(caller.by())
        || peer.locks().any(|held| may_see(held.semaphore()))
        || peer.pending().is_some_and(|pending| pending.locks().any(|(semaphore, _)| may_see(semaphore)))
}

/// A peer as a list shows it: the labels of one that is in the way of many would come again and again.
pub(in crate::http::v1) fn listed_peer(view: PeerView<'_>, wall: Wall, caller: &Caller) -> Peer {
    let mut listed = peer(view, wall, caller);
    for blocker in listed.pending.iter_mut().flat_map(|pending| &mut pending.blocked_by) {
        blocker.labels = Labels::default();
    }
    listed
}

fn lock(lock: HeldView<'_>, wall: Wall) -> Lock {
    Lock {
        semaphore: lock.semaphore().shared(),
        count: lock.count(),
        token: lock.token().map(|token| Digits(token.0)),
        since: stamp(wall.at(lock.since())),
    }
}

fn pending(pending: PendingView<'_>, wall: Wall, caller: &Caller) -> Pending {
    let may_see =
        |peer: PeerView<'_>, semaphore: &str| peer.is_for(caller.by()) || caller.may(Right::Read, semaphore);
    let ahead = pending.ahead().filter(|ahead| may_see(ahead.waiter.peer, ahead.semaphore.name()));
    let holders = pending.holders().filter(|holder| may_see(holder.peer, holder.lock.semaphore()));
    let in_the_way = pending
        .closed()
        .map(|closed| closed_semaphore(closed, wall))
        .chain(ahead.map(|ahead| request_ahead(ahead, wall, caller)))
        .chain(holders.map(|holder| blocking_holder(holder, wall, caller)));
    Pending {
        locks: pending.locks().map(|(name, count)| (name.shared(), count)).collect(),
        priority: pending.priority(),
        since: stamp(wall.at(pending.since())),
        position: pending.position(),
        estimated_wait: pending.estimated_wait().map(Span),
        blocked_by: in_the_way.take(BLOCKERS).collect(),
    }
}

fn closed_semaphore(ClosedView { semaphore, count, why }: ClosedView<'_>, wall: Wall) -> Blocker {
    let (kind, until) = match why {
        Closed::Paused => (BlockerKind::Paused, None),
        Closed::Rate { until } => (BlockerKind::Rate, until),
    };
    Blocker {
        kind: kind.into(),
        semaphore: semaphore.name().shared(),
        peer: None,
        count,
        since: None,
        labels: Labels::default(),
        waits_for: Vec::new(),
        until: until.map(|at| stamp(wall.at(at))),
    }
}

fn blocking_holder(holder: HolderView<'_>, wall: Wall, caller: &Caller) -> Blocker {
    Blocker {
        kind: BlockerKind::Holder.into(),
        semaphore: holder.lock.semaphore().shared(),
        peer: Some(id(holder.peer, caller)),
        count: holder.lock.count(),
        since: Some(stamp(wall.at(holder.lock.since()))),
        labels: Labels::new(holder.peer.labels().cloned()),
        waits_for: Vec::new(),
        until: None,
    }
}

fn request_ahead(AheadView { semaphore, waiter }: AheadView<'_>, wall: Wall, caller: &Caller) -> Blocker {
    let is_own = waiter.peer.is_for(caller.by());
    let lacking = waiter.peer.pending().into_iter().flat_map(|request| request.waits_for());
    Blocker {
        kind: BlockerKind::Ahead.into(),
        semaphore: semaphore.name().shared(),
        peer: Some(id(waiter.peer, caller)),
        count: waiter.count(),
        since: Some(stamp(wall.at(waiter.since()))),
        labels: Labels::new(waiter.peer.labels().cloned()),
        waits_for: lacking.filter(|name| is_own || caller.may(Right::Read, name)).map(Name::shared).collect(),
        until: None,
    }
}
