//! What each owner's peers use, and how much that may be.
//!
//! A quota comes with the command, like the time: the core counts, and whoever sends commands says how much is too
//! much. What belongs to nobody is not counted.

use std::collections::BTreeMap;

use crate::{
    error::{LimitReached, Resource, Share},
    owner::{By, Owner},
    planted,
    slot::{PeerSlot, SemaphoreSlot},
    state::Core,
};

/// How much the peers of one owner may use, all together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Live peers.
    pub peers: usize,
    /// Pending requests. Those that an overseer makes for his peers count, but are not refused.
    pub pending: usize,
    /// Members of patterns that came to be by one of his requests, and are still there.
    pub members: usize,
    /// Requests that wait with their connection open, of which only a node knows.
    pub blocked: usize,
}

impl Quota {
    /// As much as anybody likes.
    pub const NONE: Self =
        Self { peers: usize::MAX, pending: usize::MAX, members: usize::MAX, blocked: usize::MAX };
}

/// What the peers of one owner use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Live peers.
    pub peers: usize,
    /// Pending requests.
    pub pending: usize,
    /// Members of patterns that came to be by one of his requests.
    pub members: usize,
}

/// What every owner uses that uses anything.
#[derive(Default)]
pub(crate) struct Usages(pub(crate) BTreeMap<Owner, Usage>);

impl Usages {
    pub(crate) fn of(&self, owner: &Owner) -> Usage {
        self.0.get(owner).copied().unwrap_or_default()
    }

    pub(crate) fn change(&mut self, owner: &Owner, change: impl FnOnce(&mut Usage)) {
        if *owner == Owner::NOBODY {
            return;
        }
        let usage = self.0.entry(owner.clone()).or_default();
        change(usage);
        if *usage == Usage::default() {
            self.0.remove(owner);
        }
    }
}

impl Core {
    /// What the peers of an owner use.
    pub fn usage(&self, owner: &Owner) -> Usage {
        self.usages.of(owner)
    }

    /// Whether whoever acts may have one more of these.
    pub(crate) fn check_share(&self, by: By<'_>, share: Share) -> Result<(), LimitReached> {
        let Some(account) = by.account().filter(|_| !planted!(QuotaIgnored)) else { return Ok(()) };
        let (usage, quota) = (self.usages.of(&account.owner), account.quota);
        let (used, limit) = match share {
            Share::Peers => (usage.peers, quota.peers),
            Share::Pending => (usage.pending, quota.pending),
            Share::Members => (usage.members, quota.members),
        };
        if used < limit { Ok(()) } else { Err(LimitReached { resource: Resource::Share(share), limit }) }
    }

    /// Whether one more request of a peer may wait by the word of whoever acts. It counts for the owner of the peer,
    /// so only he is held to his quota: an overseer's own has nothing to do with it, and that of the owner is not told.
    pub(crate) fn check_pending_share(&self, by: By<'_>, slot: PeerSlot) -> Result<(), LimitReached> {
        let is_his = by.account().is_some_and(|account| account.owner == self.peers[slot].owner);
        if is_his { self.check_share(by, Share::Pending) } else { Ok(()) }
    }

    /// Gives a peer to somebody.
    pub(crate) fn set_owner(&mut self, slot: PeerSlot, owner: Owner) {
        let pending = usize::from(self.peers[slot].pending.is_some());
        self.usages.change(&owner, |usage| {
            usage.peers += 1;
            usage.pending += pending;
        });
        let before = std::mem::replace(&mut self.peers[slot].owner, owner);
        self.usages.change(&before, |usage| {
            usage.peers -= 1;
            usage.pending -= pending;
        });
    }

    /// Has the member of a pattern count for somebody.
    pub(crate) fn set_maker(&mut self, slot: SemaphoreSlot, maker: Owner) {
        self.usages.change(&maker, |usage| usage.members += 1);
        let before = std::mem::replace(&mut self.semaphores[slot].maker, maker);
        self.usages.change(&before, |usage| usage.members -= 1);
    }
}
