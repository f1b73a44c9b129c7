//! What is known of one peer, from what its client sent and was told.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    message::Locks,
    time::{Micros, Moment},
};

/// What is known of a peer.
#[derive(Clone, Debug)]
pub struct Known {
    /// The length of its lease, as it was last confirmed.
    pub lease: Micros,
    /// A request that asks for so short a lease may still arrive.
    pub lease_floor: Micros,
    /// The longest lease that was ever asked for.
    pub lease_longest: Micros,
    /// The shortest one.
    pub lease_shortest: Micros,
    /// Until when its locks are promised, by its client's clock.
    pub guaranteed_until: Moment,
    /// When the answer came by which they are.
    pub guaranteed_at: Moment,
    /// When its client last asked and was told that it lives.
    pub confirmed_at: Moment,
    /// When its client was last told something that may mean that it was gone, and came back.
    pub restored_at: Moment,
    /// When the server may have renewed its lease last.
    pub renewed_by: Moment,
    /// What its client was told it holds.
    pub held: BTreeMap<Arc<str>, Hold>,
    /// What its client waits for.
    pub asking: Option<Asking>,
    /// A request of it may arrive that its client has given up: nobody knows what it asks for.
    pub is_muddled: bool,
    /// When its end was asked for.
    pub ended_at: Option<Moment>,
    /// The reasons that operators gave for that.
    pub reasons: Vec<Option<Arc<str>>>,
    /// The instance of the server's state that last confirmed it.
    pub instance: u64,
}

/// A lock that a client was told it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// How much of the semaphore.
    pub count: i64,
    /// The token of the grant, if its client knows it.
    pub token: Option<u64>,
    /// It was brought back, not granted.
    pub is_restored: bool,
    /// The token that it was brought back with.
    pub claimed: Option<u64>,
    /// The least count that it may have been brought back with since.
    pub claimed_count: Option<i64>,
    /// When its client was first told.
    pub told_at: Moment,
}

/// What a peer waits for, as far as its client knows.
#[derive(Clone, Debug)]
pub struct Asking {
    /// What it asks for.
    pub locks: Locks,
    /// How urgent that is.
    pub priority: i32,
    /// When its client first asked.
    pub first_sent: Moment,
    /// When its client was told that it waits.
    pub told_pending_at: Option<Moment>,
    /// When its client last sent something and was told that it still waits.
    pub still_pending_at: Moment,
    /// Its client never lost a connection with which it waited.
    pub is_steady: bool,
    /// Since when it may have had no connection: the server ends a wait before the answer is safe, and that takes time.
    pub alone_since: Option<Moment>,
    /// Its client has waited with a connection.
    pub has_waited: bool,
}

impl Known {
    /// Whether its client knows what it has and asks for.
    pub fn is_certain(&self) -> bool {
        !self.is_muddled && self.ended_at.is_none() && self.restored_at == 0
    }

    /// Whether it may have been gone when a request arrived that was sent then, and have come back since.
    pub fn may_have_come_back(&self, sent_at: Moment) -> bool {
        self.confirmed_at > sent_at || self.restored_at >= sent_at
    }

    /// It is renewed after what was promised is over: it may have been gone, and have come back by a request whose
    /// answer is still on its way. Then it stands in line anew.
    pub(crate) fn may_have_lapsed(&mut self, at: Moment) {
        if self.guaranteed_until <= at
            && let Some(asking) = &mut self.asking
        {
            asking.told_pending_at = None;
        }
    }

    /// A renewal that asks for this length may arrive at any time from `at` on.
    pub(crate) fn may_be_shortened(&mut self, at: Moment, length: Micros) {
        self.lease_floor = self.lease_floor.min(length);
        self.is_shortened(at, length);
    }

    /// A renewal that asks for this length is sent.
    pub(crate) fn is_shortened(&mut self, at: Moment, length: Micros) {
        self.guaranteed_until = self.guaranteed_until.min(at + length);
        if length < self.lease {
            // What was forgiven before does not count.
            self.guaranteed_at = at;
        }
    }

    /// It waits for one more request of these locks.
    pub(crate) fn ask(&mut self, locks: &Locks, priority: i32, first_sent: Moment, has_waited: bool) {
        self.asking = Some(Asking {
            locks: locks.clone(),
            priority,
            first_sent,
            told_pending_at: None,
            still_pending_at: 0,
            is_steady: true,
            alone_since: None,
            has_waited,
        });
    }
}

impl Hold {
    /// How much its client can be sure of.
    pub fn sure(&self) -> i64 {
        self.claimed_count.map_or(self.count, |claimed| self.count.min(claimed))
    }
}

impl Asking {
    /// Whether it asks for this semaphore.
    pub fn names(&self, name: &str) -> bool {
        self.locks.iter().any(|(of, _)| **of == *name)
    }

    /// What it asks for, if that is one semaphore.
    pub fn single(&self) -> Option<(&Arc<str>, i64)> {
        match self.locks.as_slice() {
            [(name, count)] => Some((name, *count)),
            _ => None,
        }
    }
}
