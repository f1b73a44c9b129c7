//! What the server shows: views and refusals of the node as answers.

use std::{collections::BTreeMap, sync::Arc};

use throttle_core::{
    AcquireError, By, Claim, Core, Owner, PeerId, PeerView, RemoveError, RestoreError, SemaphoreView, Spec,
    UnknownSemaphore, Usage, WaiterView,
};
use throttle_journal::Wall;
use throttle_node::{Node, Refusal, SetRefusal};

use crate::message::{Answer, Call, Lock, Locks, Peer, Refused, Semaphore};

/// How many holders and waiters are shown.
const LISTED: usize = 1_000;

/// What a look at a node shows of its locks.
pub struct Everything {
    pub semaphores: Vec<Semaphore>,
    pub peers: usize,
    pub is_holding: bool,
    /// How many semaphores are members of patterns.
    pub members: usize,
    /// What peers use, by whose they are: counted one by one, and by the node's word.
    pub counted: BTreeMap<Owner, Usage>,
    pub used: BTreeMap<Owner, Usage>,
}

pub fn everything(node: &Node) -> Everything {
    let core = node.core();
    let counted = counted(core);
    Everything {
        semaphores: core.semaphores(None).map(|one| semaphore(&one)).collect(),
        peers: core.peer_count(),
        is_holding: core.is_holding_grants(),
        members: core.semaphores(None).filter(|one| one.pattern().is_some()).count(),
        used: counted.keys().map(|owner| (owner.clone(), core.usage(owner))).collect(),
        counted,
    }
}

/// What peers use, by whose they are.
fn counted(core: &Core) -> BTreeMap<Owner, Usage> {
    let mut counted = BTreeMap::<Owner, Usage>::new();
    for (_, peer) in core.peers(None) {
        let usage = counted.entry(peer.owner().clone()).or_default();
        usage.peers += 1;
        usage.pending += usize::from(peer.pending().is_some());
    }
    for semaphore in core.semaphores(None) {
        counted.entry(semaphore.maker().clone()).or_default().members +=
            usize::from(semaphore.pattern().is_some());
    }
    counted.retain(|owner, _| *owner != Owner::NOBODY);
    counted
}

pub fn peer(seen: PeerView<'_>, wall: Wall) -> Peer {
    let lock = |lock: throttle_core::HeldView<'_>| Lock {
        semaphore: Arc::from(&**lock.semaphore()),
        count: lock.count(),
        token: lock.token().map(|token| token.0),
        since: wall.at(lock.since()).as_micros(),
    };
    let mut pending = Locks::new();
    if let Some(request) = seen.pending() {
        pending.extend(request.locks().map(|(name, count)| (Arc::from(&**name), count)));
    }
    let expires_at = wall.at(seen.expires_at()).as_micros();
    let asked_at = seen.pending().map(|request| request.since().as_micros());
    Peer { id: seen.id().0, expires_at, locks: seen.locks().map(lock).collect(), pending, asked_at }
}

pub fn semaphore(seen: &SemaphoreView<'_>) -> Semaphore {
    Semaphore {
        name: Arc::from(&**seen.name()),
        max: seen.spec().max,
        acquired: seen.acquired(),
        pending: seen.pending(),
        cooling: seen.cooling(),
        waiting: seen.waiting(),
        holders: seen.holders().take(LISTED).map(|one| (one.peer.id().0, one.lock.count())).collect(),
        queue: seen.queue(0).take(LISTED).map(|one| (one.peer.id().0, one.count())).collect(),
        absent: seen.queue(0).filter(WaiterView::is_absent).map(|one| one.peer.id().0).collect(),
    }
}

/// A member of a pattern that nobody uses.
pub fn unused(name: &Arc<str>, spec: Spec) -> Semaphore {
    let (holders, queue, absent) = (Vec::new(), Vec::new(), Vec::new());
    let name = name.clone();
    Semaphore { name, max: spec.max, acquired: 0, pending: 0, cooling: 0, waiting: 0, holders, queue, absent }
}

pub fn gone(node: &Node, peer: Claim<'_>) -> Answer {
    let ending = node.ending(peer).map(|ending| (ending.cause, ending.reason.clone()));
    Answer::Gone { peer: peer.peer.0, ending }
}

pub fn unknown(_: UnknownSemaphore) -> Answer {
    Answer::Refused(Refused::UnknownSemaphore)
}

pub fn set(outcome: Result<(), SetRefusal>) -> Answer {
    match outcome {
        Ok(()) => Answer::Done,
        Err(SetRefusal::Limit(_)) => Answer::Refused(Refused::Limit),
        Err(SetRefusal::Unknown(error)) => unknown(error),
    }
}

pub fn removed(outcome: &Result<(), RemoveError>) -> Answer {
    match outcome {
        Ok(()) => Answer::Done,
        Err(RemoveError::UnknownSemaphore(_)) => Answer::Refused(Refused::UnknownSemaphore),
        Err(RemoveError::InUse(_)) => Answer::Refused(Refused::InUse),
    }
}

pub fn refusal(node: &Node, by: By<'_>, call: &Call, refusal: &Refusal) -> Answer {
    Answer::Refused(match refusal {
        Refusal::Gone(peer) => return gone(node, peer.by(by)),
        Refusal::Acquire(error) => match error {
            AcquireError::UnknownPeer => return gone(node, PeerId(call.peer().unwrap_or_default()).by(by)),
            AcquireError::UnknownSemaphore(_) => Refused::UnknownSemaphore,
            AcquireError::ExceedsMax { .. } => Refused::ExceedsMax,
            AcquireError::Hierarchy { .. } => Refused::Hierarchy,
            AcquireError::AlreadyPending => Refused::AlreadyPending,
            AcquireError::Deadlock { .. } => Refused::Deadlock,
            AcquireError::Limit(_) => Refused::Limit,
            AcquireError::CountBelowOne { .. } | AcquireError::NamedTwice(_) => Refused::Invalid,
        },
        Refusal::Restore(error) => match error {
            RestoreError::UnknownSemaphore(_) => Refused::UnknownSemaphore,
            RestoreError::ExceedsMax { .. } => Refused::ExceedsMax,
            RestoreError::Conflict | RestoreError::Denied | RestoreError::DoesNotFit { .. } => {
                Refused::RestoreConflict
            }
            RestoreError::Limit(_) => Refused::Limit,
            RestoreError::CountBelowOne { .. } | RestoreError::NamedTwice(_) => Refused::Invalid,
        },
        Refusal::Limit(_) | Refusal::TooManyWaits(_) | Refusal::Behind { .. } => Refused::Limit,
        Refusal::KeyReused => Refused::KeyReused,
    })
}
