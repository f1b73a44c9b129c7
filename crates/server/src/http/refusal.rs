//! Why a request is refused, before any dialect puts it into its words.

use throttle_core::{
    AcquireError, LimitReached, Link, PeerId, ReleaseError, RestoreError, UnknownPeer, UnknownSemaphore,
};

use throttle_node::{self as node, SetRefusal};

use crate::{
    net::BodyError,
    security::{Caller, Excess, Forbidden, Right},
    telemetry,
};

/// What a client is told whose request adds to a journal that is behind.
pub(super) const BEHIND: &str = "The journal is behind; nothing was changed. Try again later.";
const KEPT: &str = "The journal is behind, so the lease began anew with the length that it had, and no other. Try \
                    again later.";

/// Every reason for which a request does not get what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The request makes no sense; the sentence says what is wrong and what would be right.
    Invalid(String),
    /// The body is not declared to be JSON.
    NotJson,
    /// The body is larger than this many bytes.
    TooLarge(usize),
    /// The body did not arrive in time.
    TooSlow,
    /// The peer expired, was released, or never existed.
    UnknownPeer,
    /// No semaphore has this name.
    UnknownSemaphore(String),
    /// The count is above the full count.
    ExceedsMax { semaphore: String, count: i64, max: i64 },
    /// The level is not below what the peer holds.
    Hierarchy { semaphore: String, level: i32, held: i32 },
    /// The peer waits for something else.
    AlreadyPending,
    /// The peer would wait for ever: who waits for whom.
    Deadlock(Vec<Link>),
    /// The peer cannot be brought back with these locks; the sentence says why.
    RestoreConflict(String),
    /// The caller may not do that.
    Forbidden(Forbidden),
    /// A bound of the server is reached; the sentence names it. It may be that of one identity.
    Limit { sentence: String, excess: Option<Excess> },
    /// The journal takes no more now; the sentence says what was done all the same.
    Behind(&'static str),
}

/// Marks an answer that tells nothing of what happened, so that it waits for nothing.
#[derive(Clone, Copy)]
pub(super) struct TellsNothing;

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge { limit } => Self::TooLarge(limit),
            BodyError::Late => Self::TooSlow,
            BodyError::Broken(_) => Self::Invalid(error.to_string()),
        }
    }
}

impl From<Forbidden> for Refusal {
    fn from(forbidden: Forbidden) -> Self {
        Self::Forbidden(forbidden)
    }
}

impl From<UnknownPeer> for Refusal {
    fn from(_: UnknownPeer) -> Self {
        Self::UnknownPeer
    }
}

impl From<UnknownSemaphore> for Refusal {
    fn from(UnknownSemaphore(name): UnknownSemaphore) -> Self {
        telemetry::unknown_semaphore(&name);
        Self::UnknownSemaphore(name.to_string())
    }
}

impl From<SetRefusal> for Refusal {
    fn from(refusal: SetRefusal) -> Self {
        match refusal {
            SetRefusal::Limit(limit) => limit.into(),
            // Whoever sets one may be about to make it.
            SetRefusal::Unknown(UnknownSemaphore(name)) => Self::UnknownSemaphore(name.to_string()),
        }
    }
}

impl From<LimitReached> for Refusal {
    fn from(limit: LimitReached) -> Self {
        Self::Limit { sentence: limit.to_string(), excess: Excess::of_limit(&limit) }
    }
}

impl From<AcquireError> for Refusal {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::UnknownSemaphore(name) => UnknownSemaphore(name).into(),
            AcquireError::ExceedsMax { semaphore, count, max } => {
                Self::ExceedsMax { semaphore: semaphore.to_string(), count, max }
            }
            AcquireError::UnknownPeer => Self::UnknownPeer,
            AcquireError::Hierarchy { semaphore, level, held } => {
                Self::Hierarchy { semaphore: semaphore.to_string(), level, held }
            }
            AcquireError::AlreadyPending => Self::AlreadyPending,
            AcquireError::Deadlock { chain } => Self::Deadlock(chain),
            AcquireError::Limit(limit) => limit.into(),
            AcquireError::CountBelowOne { .. } | AcquireError::NamedTwice(_) => Self::sentence(&error),
        }
    }
}

impl From<ReleaseError> for Refusal {
    fn from(error: ReleaseError) -> Self {
        match error {
            ReleaseError::UnknownPeer => Self::UnknownPeer,
            ReleaseError::UnknownSemaphore(name) => UnknownSemaphore(name).into(),
        }
    }
}

impl From<RestoreError> for Refusal {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::UnknownSemaphore(name) => UnknownSemaphore(name).into(),
            RestoreError::ExceedsMax { semaphore, count, max } => {
                Self::ExceedsMax { semaphore: semaphore.to_string(), count, max }
            }
            RestoreError::Conflict => Self::RestoreConflict(
                "The peer is known to the server and holds other locks than these.".to_owned(),
            ),
            RestoreError::Denied => Self::RestoreConflict(
                "The peer is unknown, and this server takes no locks back: they are lost. Ask for them anew."
                    .to_owned(),
            ),
            RestoreError::DoesNotFit { semaphore, count, acquired, max } => Self::RestoreConflict(format!(
                "The peer is unknown, and its lock of {count} on semaphore {semaphore:?} does not fit beside the \
                 {acquired} of {max} that others have acquired: it is lost. Ask for it anew."
            )),
            RestoreError::Limit(limit) => limit.into(),
            RestoreError::CountBelowOne { .. } | RestoreError::NamedTwice(_) => Self::sentence(&error),
        }
    }
}

impl From<node::Refusal> for Refusal {
    fn from(refusal: node::Refusal) -> Self {
        match refusal {
            node::Refusal::Acquire(error) => error.into(),
            node::Refusal::Limit(limit) => limit.into(),
            node::Refusal::Restore(error) => error.into(),
            node::Refusal::TooManyWaits(ref full) => {
                Self::Limit { sentence: refusal.to_string(), excess: Excess::of_waits(full) }
            }
            node::Refusal::Gone(_) => Self::UnknownPeer,
            node::Refusal::Behind { is_kept: true } => Self::Behind(KEPT),
            node::Refusal::Behind { is_kept: false } => Self::Behind(BEHIND),
            node::Refusal::KeyReused => Self::Invalid(
                "The Idempotency-Key was used for another request. Choose a new one, such as a UUID, for each request \
                 that is not a repeat."
                    .to_owned(),
            ),
        }
    }
}

/// The cycle of waiting peers, in words. Whoever knows the id of a peer can end it, so the others have numbers instead.
pub(super) fn circle(chain: &[Link]) -> String {
    let mut numbers: Vec<PeerId> = Vec::new();
    let mut name = |peer: PeerId| {
        let known = numbers.iter().position(|one| *one == peer);
        let index = known.unwrap_or_else(|| {
            numbers.push(peer);
            numbers.len() - 1
        });
        if index == 0 { "this peer".to_owned() } else { format!("peer #{}", index + 1) }
    };
    let steps: Vec<String> = chain
        .iter()
        .map(|link| {
            let is = if link.is_holder { "is held by" } else { "is asked for further ahead by" };
            let (peer, blocker) = (name(link.peer), name(link.blocker));
            format!("{peer} waits for {:?}, which {is} {blocker}", link.semaphore)
        })
        .collect();
    steps.join("; ")
}

impl Refusal {
    /// The same, without the names of semaphores that the caller may neither look at nor ask for.
    pub(super) fn told_to(self, caller: &Caller) -> Self {
        match self {
            Self::Deadlock(mut chain) => {
                let may_know = |name: &str| caller.may(Right::Read, name) || caller.may(Right::Acquire, name);
                for link in chain.iter_mut().filter(|link| !may_know(&link.semaphore)) {
                    link.semaphore = "another semaphore".into();
                }
                Self::Deadlock(chain)
            }
            refusal => refusal,
        }
    }

    /// An error of the core as a sentence.
    fn sentence(error: &impl ToString) -> Self {
        let text = error.to_string();
        let mut letters = text.chars();
        let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
        Self::Invalid(format!("{first}{}.", letters.as_str()))
    }
}
