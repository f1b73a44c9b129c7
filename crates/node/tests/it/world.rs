//! A node with a mutex that somebody holds, and what tests ask of it.

use std::{collections::BTreeMap, time::Duration};

use throttle_core::{By, Core, Origin, PeerId, Settings, Spec, Time};
use throttle_journal::{Epoch, Record, Wall};
use throttle_node::{
    Ask, Bounds, Difference, EventKind, Follower, NewPeer, Node, Offset, Outcome, Output, Step, Ticket,
};

/// The lease of most peers.
pub(crate) const LEASE: Duration = Duration::from_secs(10);
/// The lease of the one that holds the mutex `A`.
pub(crate) const LONG: Duration = Duration::from_secs(1_000);
pub(crate) const BOUNDS: Bounds = Bounds { waits: 10, endings: 10, idempotency_keys: 10, events: 10 };

pub(crate) fn at(seconds: u64) -> Time {
    Time::from_micros(1_000_000 * seconds)
}

/// What a turn put out.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Turn {
    pub(crate) woken: Vec<(Ticket, bool)>,
    /// Kinds of events, whether each fell due, and the first request that it woke.
    pub(crate) events: Vec<(EventKind, bool, Option<Ticket>)>,
    pub(crate) appended: Vec<Offset>,
    pub(crate) records: Vec<Record>,
}

pub(crate) fn publish(node: &mut Node, now: Time) -> Turn {
    let mut turn = Turn::default();
    node.publish(now, Wall::default(), |output| match output {
        Output::Append { records, upto } => {
            turn.appended.push(upto);
            turn.records.extend_from_slice(records);
        }
        Output::Wake { ticket, fell_due } => turn.woken.push((ticket, fell_due)),
        Output::Observed(seen) => {
            turn.events.extend(EventKind::of(seen.event).map(|kind| (kind, seen.fell_due, seen.woken)));
        }
    });
    turn
}

pub(crate) fn woken(node: &mut Node, now: Time) -> Vec<Ticket> {
    publish(node, now).woken.into_iter().map(|(ticket, _)| ticket).collect()
}

/// A node with the mutex `A`, which is held, the free semaphore `B` of two, and the pattern `t/*`, which is paused.
pub(crate) fn node_with(bounds: Bounds, epoch: Option<Epoch>) -> (Node, PeerId) {
    let (node, holder, _) = begun(bounds, epoch);
    (node, holder)
}

/// The same, with what it wrote down.
pub(crate) fn begun(bounds: Bounds, epoch: Option<Epoch>) -> (Node, PeerId, Vec<Record>) {
    let follower = Follower::new(Core::new(Settings::default(), 1, 0), BOUNDS.idempotency_keys);
    let mut node = follower.promote(at(0), epoch, bounds);
    let pattern = Spec { origin: Origin::Pattern, ..Spec::with_max(0) };
    let declared = [("A", Spec::with_max(1)), ("B", Spec::with_max(2)), ("t/*", pattern)];
    let declared: BTreeMap<_, _> = declared.into_iter().map(|(name, spec)| (name.to_owned(), spec)).collect();
    node.declare(at(0), &Difference::between(&BTreeMap::new(), &declared), &declared);
    let holder = node.new_peer(at(0), 1, &new_peer(LONG)).unwrap();
    assert_eq!(
        node.acquire(at(0), holder.by_server(), &ask(&[("A", 1)], 0)),
        Ok(Step::Done(Outcome::Acquired))
    );
    let records = publish(&mut node, at(0)).records;
    (node, holder, records)
}

pub(crate) fn node() -> (Node, PeerId) {
    node_with(BOUNDS, None)
}

pub(crate) fn new_peer(expires_in: Duration) -> NewPeer<'static> {
    NewPeer { by: By::Anybody, expires_in, labels: None, key: None }
}

pub(crate) fn ask<'a>(locks: &'a [(&'a str, i64)], wait_seconds: u64) -> Ask<'a> {
    Ask { locks, priority: 0, expires_in: None, wait: Duration::from_secs(wait_seconds), if_pending: false }
}

/// A peer that waits for a semaphore, for so many seconds.
pub(crate) fn waiter(node: &mut Node, semaphore: &str, seconds: u64) -> (PeerId, Ticket) {
    let peer = node.new_peer(at(0), 2, &new_peer(LEASE)).unwrap();
    let Ok(Step::Blocked { ticket, .. }) =
        node.acquire(at(0), peer.by_server(), &ask(&[(semaphore, 1)], seconds))
    else {
        panic!("it waits")
    };
    publish(node, at(0));
    (peer, ticket)
}
