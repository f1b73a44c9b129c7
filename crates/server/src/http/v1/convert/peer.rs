//! A peer, what it holds, and what it waits for.

use throttle_api::{Blocker, Digits, Labels, Lock, Peer, Pending, Span};
use throttle_core::{HeldView, HolderView, PeerView, PendingView};
use throttle_journal::Wall;

use super::stamp;

/// How many of those who hold what a peer waits for are shown with it.
const BLOCKERS: usize = 10;

/// A peer as it is at this moment.
pub(in crate::http::v1) fn peer(peer: PeerView<'_>, wall: Wall) -> Peer {
    Peer {
        id: Digits(peer.id().0),
        labels: Labels::new(peer.labels().cloned()),
        created_at: stamp(wall.at(peer.created_at())),
        expires_at: stamp(wall.at(peer.expires_at())),
        locks: peer.locks().map(|held| lock(held, wall)).collect(),
        pending: peer.pending().map(|view| Box::new(pending(view, wall))),
    }
}

/// A peer as a list shows it: the labels of one that is in the way of many would come again and again.
pub(in crate::http::v1) fn listed_peer(view: PeerView<'_>, wall: Wall) -> Peer {
    let mut listed = peer(view, wall);
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

fn pending(pending: PendingView<'_>, wall: Wall) -> Pending {
    Pending {
        locks: pending.locks().map(|(name, count)| (name.shared(), count)).collect(),
        priority: pending.priority(),
        since: stamp(wall.at(pending.since())),
        position: pending.position(),
        estimated_wait: pending.estimated_wait().map(Span),
        blocked_by: pending.holders().take(BLOCKERS).map(|holder| blocker(holder, wall)).collect(),
    }
}

fn blocker(holder: HolderView<'_>, wall: Wall) -> Blocker {
    Blocker {
        semaphore: holder.lock.semaphore().shared(),
        peer: Digits(holder.peer.id().0),
        count: holder.lock.count(),
        since: stamp(wall.at(holder.lock.since())),
        labels: Labels::new(holder.peer.labels().cloned()),
    }
}
