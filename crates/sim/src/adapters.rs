//! What each dialect makes of a request and of an answer: the adapters of the server, in short.

use std::{sync::Arc, time::Duration};

use throttle_core::{Account, By, Claim, EndCause, Labels, Owner, PeerId, Restore, RestoreLock, Time, Token};
use throttle_journal::Wall;
use throttle_node::{
    Ask, Condition, IdempotencyKey, NewPeer, Node, Outcome, Refusal, Step, Ticket, managing::Found,
};

use crate::{
    message::{Answer, Call, Locks},
    shown,
    time::duration,
};

/// How far a command has come.
pub(crate) enum Progress {
    Step { peer: PeerId, step: Step },
    Peer(PeerId),
    Answer(Answer),
    With(Answer, Condition),
}

/// The same, with a look at what the answer shows.
pub(crate) enum Seen {
    Answer(Answer, Condition),
    Blocked { peer: PeerId, ticket: Ticket, until: Time },
}

/// What a dialect makes of a request: the adapters of the server, in short.
pub(crate) fn act(
    node: &mut Node,
    now: Time,
    random: u64,
    instance: u64,
    account: &Account,
    call: &Call,
) -> Result<Progress, Refusal> {
    let (key, by) = (key_of(&account.owner, call), by(account));
    Ok(match call {
        Call::NewPeer { expires_in, .. } => {
            let labels: Option<Labels> = None;
            let new = NewPeer { by, expires_in: duration(*expires_in), labels, key };
            Progress::Peer(node.new_peer(now, random, &new)?)
        }
        Call::Session { expires_in, locks, priority, wait, leaves, .. } => {
            let new = NewPeer { by, expires_in: duration(*expires_in), labels: None, key };
            let (locks, wait) = (borrowed(locks), duration(*wait));
            let ask = Ask { locks: &locks, priority: *priority, expires_in: None, wait, if_pending: false };
            let (peer, step) = node.begin_session(now, random, &new, &ask, *leaves)?;
            Progress::Step { peer, step }
        }
        Call::Acquire { peer, locks, priority, expires_in, wait, if_pending } => {
            let (peer, locks) = (PeerId(*peer), borrowed(locks));
            let (expires_in, if_pending) = (expires_in.map(duration), *if_pending == Some(instance));
            let ask =
                Ask { locks: &locks, priority: *priority, expires_in, wait: duration(*wait), if_pending };
            Progress::Step { peer, step: node.acquire(now, peer.by(by), &ask)? }
        }
        Call::Heartbeat { peer, expires_in } => {
            let condition = node.heartbeat(now, PeerId(*peer).by(by), Some(duration(*expires_in)))?;
            Progress::With(Answer::Done, condition)
        }
        Call::Heartbeats { peers, expires_in } => {
            let (peers, mut gone): (Vec<_>, _) = (peers.iter().copied().map(PeerId).collect(), Vec::new());
            let condition = node.heartbeats(now, by, &peers, duration(*expires_in), &mut gone);
            let gone = gone.into_iter().map(|PeerId(peer)| peer).collect();
            Progress::With(Answer::Renewed { gone }, condition)
        }
        Call::KeepOrRestore { peer, expires_in, active, pending, wait } => {
            let (peer, lease) = (PeerId(*peer), duration(*expires_in));
            let condition = keep_or_restore(node, now, peer.by(by), lease, active, pending)?;
            match wait {
                None => Progress::With(Answer::Done, condition),
                Some(wait) => {
                    let step = node.wait(now, peer.by(by), now + duration(*wait))?;
                    Progress::Step { peer, step }
                }
            }
        }
        Call::Release { peer, semaphores } => {
            node.release(now, PeerId(*peer).by(by), semaphores).map_err(|error| match error {
                throttle_core::ReleaseError::UnknownPeer => throttle_core::AcquireError::UnknownPeer,
                throttle_core::ReleaseError::UnknownSemaphore(name) => {
                    throttle_core::AcquireError::UnknownSemaphore(name)
                }
            })?;
            Progress::Answer(Answer::Done)
        }
        Call::EndPeer { peer, reason } => {
            match reason {
                None => node.end_peer(now, PeerId(*peer).by(by), EndCause::Released),
                Some(reason) => node.end_peer_with_reason(now, PeerId(*peer).by(by), reason.clone()),
            };
            Progress::Answer(Answer::Done)
        }
        Call::IsAcquired { peer } => {
            Progress::Answer(Answer::Bool(node.poll(now, PeerId(*peer).by(by))? == Outcome::Acquired))
        }
        Call::Look { peer } => {
            node.core().peer(PeerId(*peer).by(by))?;
            Progress::Peer(PeerId(*peer))
        }
        Call::Restore { peer, expires_in, locks } => {
            restore(node, now, PeerId(*peer).by(by), duration(*expires_in), locks)?;
            Progress::Answer(Answer::Done)
        }
        Call::CheckToken { semaphore, token } => {
            let holder = node.holder(semaphore, Token(*token));
            Progress::Answer(holder.map_or_else(shown::unknown, |holder| Answer::Bool(holder.is_some())))
        }
        Call::LookAtSemaphore { semaphore } => Progress::Answer(match node.semaphore(semaphore) {
            Err(unknown) => shown::unknown(unknown),
            Ok(Found::Used(seen)) => Answer::Semaphore(shown::semaphore(&seen)),
            Ok(Found::Unused(spec)) => Answer::Semaphore(shown::unused(semaphore, spec)),
        }),
        Call::Remainder { semaphore } => {
            Progress::Answer(node.remainder(semaphore).map_or_else(shown::unknown, Answer::Count))
        }
        Call::SetSemaphore { semaphore, spec } => {
            Progress::Answer(shown::set(node.set_semaphore(now, semaphore, *spec).map(drop)))
        }
        Call::Resize { semaphore, max } => {
            let change =
                |spec| throttle_core::Spec { max: *max, origin: throttle_core::Origin::Runtime, ..spec };
            Progress::Answer(shown::set(node.change_semaphore(now, semaphore, change).map(drop)))
        }
        Call::RemoveSemaphore { semaphore, force } => {
            Progress::Answer(shown::removed(&node.remove_semaphore(now, semaphore, *force)))
        }
        Call::Resume => Progress::Answer(Answer::Bool(node.resume_grants(now))),
        // It is the shell that knows what the file said before.
        Call::Reload { .. } => Progress::Answer(Answer::Done),
    })
}

/// A heartbeat of the dialect v0.1, which brings an unknown peer back with what it holds and asks for.
fn keep_or_restore(
    node: &mut Node,
    now: Time,
    claim: Claim<'_>,
    lease: Duration,
    active: &Locks,
    pending: &Locks,
) -> Result<Condition, Refusal> {
    if let Ok(condition) = node.heartbeat(now, claim, Some(lease)) {
        return Ok(condition);
    }
    let lock = |(semaphore, count): &(Arc<str>, i64)| (semaphore.clone(), *count, None);
    let active: Vec<_> = active.iter().map(lock).collect();
    restore(node, now, claim, lease, &active)?;
    let locks = borrowed(pending);
    let ask =
        Ask { locks: &locks, priority: 0, expires_in: Some(lease), wait: Duration::ZERO, if_pending: false };
    if let Err(refusal) = node.acquire(now, claim, &ask) {
        node.end_peer(now, claim, EndCause::Released);
        return Err(refusal);
    }
    Ok(node.committed())
}

fn restore(
    node: &mut Node,
    now: Time,
    claim: Claim<'_>,
    expires_in: Duration,
    locks: &[(Arc<str>, i64, Option<u64>)],
) -> Result<(), Refusal> {
    let lock = |(semaphore, count, token): &'_ (Arc<str>, i64, Option<u64>)| {
        (semaphore.clone(), *count, token.map(Token))
    };
    let owned: Vec<_> = locks.iter().map(lock).collect();
    let locks: Vec<_> = owned
        .iter()
        .map(|(semaphore, count, token)| RestoreLock { semaphore, count: *count, token: *token })
        .collect();
    Ok(node.restore(now, &Restore { peer: claim, expires_in, locks: &locks, labels: None })?)
}

/// What the answer shows, and what it waits for.
pub(crate) fn seen(node: &Node, wall: Wall, progress: Progress) -> Seen {
    let committed = node.committed();
    let look = |peer: PeerId| {
        node.core().peer(peer.by_server()).map_or_else(
            |_| shown::gone(node, peer.by_server()),
            |seen| Answer::Peer(shown::peer(seen, wall)),
        )
    };
    match progress {
        Progress::Answer(answer) => Seen::Answer(answer, committed),
        Progress::With(answer, condition) => Seen::Answer(answer, condition),
        Progress::Peer(peer) => Seen::Answer(look(peer), committed),
        Progress::Step { step: Step::Done(Outcome::NotAcquired), .. } => {
            Seen::Answer(Answer::NotAcquired, committed)
        }
        Progress::Step { peer, step: Step::Done(Outcome::Acquired | Outcome::Pending) } => {
            Seen::Answer(look(peer), committed)
        }
        Progress::Step { peer, step: Step::Blocked { ticket, until } } => {
            Seen::Blocked { peer, ticket, until }
        }
    }
}

pub(crate) fn refused(node: &Node, account: &Account, call: &Call, refusal: &Refusal) -> Seen {
    Seen::Answer(shown::refusal(node, by(account), call, refusal), node.committed())
}

/// Who acts: operators, and everybody where nobody has to say who he is, are nobody.
pub(crate) fn by(account: &Account) -> By<'_> {
    if account.owner == Owner::NOBODY { By::Anybody } else { By::Owner(account) }
}

/// The key of a request, with what tells it from others.
pub(crate) fn key_of<'a>(owner: &'a Owner, call: &'a Call) -> Option<IdempotencyKey<'a>> {
    let (Call::NewPeer { key, expires_in } | Call::Session { key, expires_in, .. }) = call else {
        return None;
    };
    let route = if matches!(call, Call::NewPeer { .. }) { "POST /v1/peers" } else { "POST /v1/locks" };
    Some(IdempotencyKey::new(owner, key.as_deref()?.split_once(':')?.1, route, &expires_in.to_le_bytes()))
}

pub(crate) fn borrowed(locks: &Locks) -> Vec<(&str, i64)> {
    locks.iter().map(|(semaphore, count)| (&**semaphore, *count)).collect()
}
