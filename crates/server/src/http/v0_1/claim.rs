//! A peer of this dialect: what it holds and asks for comes with every request.

use std::time::Duration;

use throttle_core::{self as core, Restore, RestoreLock};
use throttle_node::Ask;

/// A peer whose lease has no length would end before it could ask.
pub(super) const LEASE_MIN: Duration = Duration::from_secs(1);

/// What a peer holds, by its own word.
pub(in crate::http) struct Claim<'a> {
    locks: Vec<RestoreLock<'a>>,
}

impl<'a> Claim<'a> {
    pub(in crate::http) fn new(active: &[(&'a str, i64)]) -> Self {
        let lock = |&(semaphore, count)| RestoreLock { semaphore, count, token: None };
        Self { locks: active.iter().map(lock).collect() }
    }

    /// How it comes back if the server does not know it.
    pub(in crate::http) fn restore<'b>(&'b self, peer: core::Claim<'b>, expires_in: Duration) -> Restore<'b> {
        Restore { peer, expires_in: expires_in.max(LEASE_MIN), locks: &self.locks, labels: None }
    }
}

/// What it asks for, without waiting for it.
pub(in crate::http) fn ask<'a>(expires_in: Duration, locks: &'a [(&'a str, i64)]) -> Ask<'a> {
    Ask { locks, priority: 0, expires_in: Some(expires_in), wait: Duration::ZERO, if_pending: false }
}
