//! Whose a peer is, and who may act on it.
//!
//! The core knows no rights. It is told who acts, and lets nobody act on a peer of somebody else: to him it is as
//! unknown as one that never was. That is decided in the command itself, so nothing can come in between.

use std::{fmt, sync::Arc};

use crate::{names::PeerId, peer::Peer, state::Core, usage::Quota};

/// Whose a peer is: an opaque name. What was made while nobody had to say who he is belongs to nobody. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(Option<Arc<str>>);

impl Owner {
    /// Nobody.
    pub const NOBODY: Self = Self(None);

    /// The one of this name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(Some(name.into()))
    }

    /// The name.
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

/// What somebody is over: he may act on a peer of others if that is all that it holds and asks for.
pub trait Oversight: Sync {
    /// Whether it covers this semaphore.
    fn covers(&self, semaphore: &str) -> bool;
    /// Whether it covers every semaphore there may be.
    fn covers_all(&self) -> bool;
}

/// Somebody, and how much his peers may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Who it is.
    pub owner: Owner,
    /// How much his peers may use, all together.
    pub quota: Quota,
}

impl From<Owner> for Account {
    fn from(owner: Owner) -> Self {
        Self { owner, quota: Quota::NONE }
    }
}

/// Who acts.
#[derive(Clone, Copy)]
pub enum By<'a> {
    /// The server itself; or anybody, where nobody has to say who he is.
    Anybody,
    /// Somebody, who may act on his own peers, and on those of nobody.
    Owner(&'a Account),
    /// The same, and on peers of others that he is over.
    Overseer(&'a Account, &'a dyn Oversight),
}

impl<'a> By<'a> {
    /// Somebody, unless it is the server or anybody.
    pub fn account(&self) -> Option<&'a Account> {
        match self {
            Self::Anybody => None,
            Self::Owner(account) | Self::Overseer(account, _) => Some(account),
        }
    }

    /// Whether he may act on what belongs to this owner, whatever it is.
    pub fn owns(&self, owner: &Owner) -> bool {
        match self {
            Self::Anybody => true,
            Self::Owner(mine) => *owner == Owner::NOBODY || *owner == mine.owner,
            Self::Overseer(mine, oversight) => Self::Owner(mine).owns(owner) || oversight.covers_all(),
        }
    }

    /// Whose the peers are that are made so.
    pub fn owner(&self) -> Owner {
        self.account().map_or(Owner::NOBODY, |account| account.owner.clone())
    }
}

impl fmt::Debug for By<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anybody => f.write_str("anybody"),
            Self::Owner(account) => write!(f, "{:?}", account.owner),
            Self::Overseer(account, _) => write!(f, "{:?} as overseer", account.owner),
        }
    }
}

/// A peer, as somebody names it. Commands take this and no bare id, so that none can forget to ask who acts.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The peer.
    pub peer: PeerId,
    /// Who acts.
    pub by: By<'a>,
}

impl PeerId {
    /// This peer, as somebody names it.
    pub fn by(self, by: By<'_>) -> Claim<'_> {
        Claim { peer: self, by }
    }

    /// This peer, as the server itself names it.
    pub fn by_server(self) -> Claim<'static> {
        Claim { peer: self, by: By::Anybody }
    }
}

impl Core {
    /// Whether somebody may act on a peer.
    pub(crate) fn may_act(&self, by: By<'_>, peer: &Peer) -> bool {
        by.owns(&peer.owner) || matches!(by, By::Overseer(_, oversight) if self.oversees(oversight, peer))
    }

    /// Whether there is something that a peer holds or asks for, and somebody is over all of it.
    fn oversees(&self, oversight: &dyn Oversight, peer: &Peer) -> bool {
        let held = peer.locks.iter().map(|held| held.semaphore);
        let asked = peer.pending.iter().flat_map(|request| &request.parts).map(|part| part.semaphore);
        let mut used = held.chain(asked).peekable();
        used.peek().is_some() && used.all(|slot| oversight.covers(&self.semaphores[slot].name))
    }
}
