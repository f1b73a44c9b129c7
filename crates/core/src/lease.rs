//! Leases: how a peer begins, is kept, and ends.

use std::time::Duration;

use crate::{
    error::{NewPeerError, Resource, Share, UnknownPeer},
    event::{EndCause, Event},
    names::{Labels, PeerId},
    owner::{By, Claim, Owner},
    peer::Peer,
    planted,
    slot::PeerSlot,
    state::{Core, Settings},
    time::Time,
};

impl Core {
    /// Makes a peer that holds nothing, and belongs to whoever asks. Its id is `random`, or a number derived from it if
    /// that is taken.
    ///
    /// With `expires_in` zero the peer ends before this returns.
    pub fn new_peer(
        &mut self,
        now: Time,
        by: By<'_>,
        expires_in: Duration,
        random: u64,
        labels: Option<Labels>,
    ) -> Result<PeerId, NewPeerError> {
        let now = self.begin(now);
        self.check_room(Resource::Peers, self.peers.len() + 1)?;
        self.check_share(by, Share::Peers)?;
        let mut id = PeerId(random);
        while self.peer_slots.contains(id.0) {
            // A full-period generator (Knuth's MMIX), so it reaches a free number whatever is taken.
            id = PeerId(id.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
        }
        self.insert_peer(now, id, by.owner(), expires_in, labels);
        self.finish(now);
        Ok(id)
    }

    /// Moves the end of the peer's lease to `expires_in` from now, and the margin.
    pub fn heartbeat(
        &mut self,
        now: Time,
        claim: Claim<'_>,
        expires_in: Duration,
    ) -> Result<(), UnknownPeer> {
        let now = self.begin_with(now, claim.peer);
        let slot = self.find(claim)?;
        let ends_at = self.renew(now, slot, Some(expires_in));
        // Nothing follows from it, unless that was its end.
        if ends_at <= now {
            self.finish(now);
        }
        Ok(())
    }

    /// The same for many peers in one command. Tells `gone` of those that are not known.
    pub fn heartbeats(
        &mut self,
        now: Time,
        by: By<'_>,
        peers: &[PeerId],
        expires_in: Duration,
        mut gone: impl FnMut(PeerId),
    ) {
        let now = self.begin(now);
        for &peer in peers {
            if self.is_behind {
                self.begin_with(now, peer);
            }
            let Ok(slot) = self.find(peer.by(by)) else {
                gone(peer);
                continue;
            };
            if self.renew(now, slot, Some(expires_in)) <= now {
                self.finish(now);
            }
        }
    }

    /// Ends a peer: releases all its locks and withdraws its request. Tells whether it was known.
    pub fn end_peer(&mut self, now: Time, claim: Claim<'_>, cause: EndCause) -> bool {
        let now = self.begin_with(now, claim.peer);
        let Ok(slot) = self.find(claim) else { return false };
        self.remove_peer(now, slot, cause);
        self.finish(now);
        true
    }

    pub(crate) fn insert_peer(
        &mut self,
        now: Time,
        id: PeerId,
        owner: Owner,
        expires_in: Duration,
        labels: Option<Labels>,
    ) -> PeerSlot {
        let slot = self.place_peer(now, id, expires_in, labels.clone());
        self.events.push(Event::PeerCreated { peer: id, at: now, expires_in, labels });
        if owner != Owner::NOBODY {
            self.events.push(Event::PeerOwned { peer: id, owner: owner.clone() });
        }
        self.set_owner(slot, owner);
        self.arm(now, slot);
        let indexed_at = self.peers[slot].indexed_at;
        self.leases.insert((indexed_at, slot));
        slot
    }

    /// Enters a peer into the tables, but for the index of leases.
    pub(crate) fn place_peer(
        &mut self,
        created_at: Time,
        id: PeerId,
        expires_in: Duration,
        labels: Option<Labels>,
    ) -> PeerSlot {
        let slot = self.peers.insert(Peer {
            id,
            created_at,
            expires_in,
            expires_at: created_at,
            ends_at: created_at,
            indexed_at: created_at,
            locks: Vec::new(),
            pending: None,
            labels,
            owner: Owner::NOBODY,
        });
        self.peer_slots.insert(id.0, slot);
        slot
    }

    /// Starts the peer's lease anew, with a new length if one is given. Returns when it ends, margin included.
    pub(crate) fn renew(&mut self, now: Time, slot: PeerSlot, expires_in: Option<Duration>) -> Time {
        let Self { settings, peers, leases, events, .. } = self;
        let peer = &mut peers[slot];
        let expires_in = expires_in.unwrap_or(peer.expires_in);
        if expires_in != peer.expires_in {
            peer.expires_in = expires_in;
            events.push(Event::LeaseChanged { peer: peer.id, expires_in });
        }
        if planted!(HeartbeatIgnored) && peer.ends_at > now {
            return peer.ends_at;
        }
        let ends_at = now + expires_in + margin(settings, expires_in);
        let ends_at = if planted!(LeaseEndsEarly) { now + expires_in / 2 } else { ends_at };
        let ends_at = if planted!(LeaseEndsLate) { ends_at + expires_in } else { ends_at };
        peer.expires_at = now + expires_in;
        peer.ends_at = ends_at;
        // A lease that ends later is found late enough when its old place in the index comes up: so
        // a heartbeat is a store, and the tree is touched once in the length of a lease.
        if ends_at < peer.indexed_at {
            let moved = leases.remove(&(peer.indexed_at, slot));
            debug_assert!(moved, "every peer is in the index of leases");
            peer.indexed_at = ends_at;
            leases.insert((ends_at, slot));
        }
        ends_at
    }

    /// Starts the lease of a peer that is not in the index.
    pub(crate) fn arm(&mut self, now: Time, slot: PeerSlot) {
        let expires_in = self.peers[slot].expires_in;
        let ends_at = now + expires_in + margin(&self.settings, expires_in);
        let peer = &mut self.peers[slot];
        peer.expires_at = now + expires_in;
        peer.ends_at = ends_at;
        peer.indexed_at = ends_at;
    }

    /// Ends the first peer in the index of leases, if its lease is over. Tells how much work it was: with how many
    /// locks and parts of a request that peer ended, and one for itself.
    pub(crate) fn look_at_first_lease(&mut self, now: Time) -> usize {
        let Some(&(at, slot)) = self.leases.first() else { return 1 };
        let peer = &mut self.peers[slot];
        if peer.ends_at <= at {
            let work = 1 + peer.locks.len() + peer.pending.as_ref().map_or(0, |request| request.parts.len());
            self.remove_peer(now, slot, EndCause::Expired);
            return work;
        }
        peer.indexed_at = peer.ends_at;
        self.leases.pop_first();
        self.leases.insert((peer.ends_at, slot));
        1
    }

    /// Takes the peer out of every table, and tells of everything that ends with it.
    pub(crate) fn remove_peer(&mut self, now: Time, slot: PeerSlot, cause: EndCause) {
        self.withdraw(slot, cause);
        for held in std::mem::take(&mut self.peers[slot].locks) {
            self.give_up(now, slot, held, cause);
        }
        let peer = self.peers.remove(slot);
        if !planted!(QuotaLeaks) {
            self.usages.change(&peer.owner, |usage| usage.peers -= 1);
        }
        self.peer_slots.remove(peer.id.0);
        self.leases.remove(&(peer.indexed_at, slot));
        self.events.push(Event::PeerEnded { peer: peer.id, owner: peer.owner, labels: peer.labels, cause });
    }
}

/// How long a peer lives on after its promised time.
fn margin(settings: &Settings, expires_in: Duration) -> Duration {
    if planted!(MarginForgotten) { Duration::ZERO } else { (expires_in / 20).min(settings.margin_max) }
}
