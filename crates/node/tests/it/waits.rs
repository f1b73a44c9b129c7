//! Requests that wait.

use std::time::Duration;

use throttle_core::EndCause;
use throttle_node::{Ask, Bounds, EventKind, Outcome, Refusal, Step, TooManyWaits, Waiting};

use crate::world::{BOUNDS, LEASE, LONG, ask, at, new_peer, node, node_with, publish, waiter, woken};

#[test]
fn a_wait_ends_with_the_promised_time_though_that_was_cut_short_meanwhile() {
    let (mut node, _) = node();
    let (peer, ticket) = waiter(&mut node, "A", 60);
    assert_eq!(node.next_deadline(), Some(at(10)));
    node.heartbeat(at(1), peer.by_server(), Some(LEASE / 5)).unwrap();
    assert_eq!(node.next_deadline(), Some(at(3)));
    node.advance(at(3));
    assert_eq!(woken(&mut node, at(3)), [ticket]);
    let waiting = Waiting { claim: peer.by_server(), locks: &[("A", 1)], until: at(60) };
    assert_eq!(node.resume(at(3), &waiting), Ok(Step::Done(Outcome::Pending)), "within its margin");
}

#[test]
fn a_wait_ends_in_its_time_and_goes_on_with_the_lease() {
    let (mut node, _) = node();
    let (peer, ticket) = waiter(&mut node, "A", 15);
    assert_eq!(node.waits(), 1);
    node.heartbeat(at(5), peer.by_server(), None).unwrap();
    node.advance(at(10));
    assert_eq!(woken(&mut node, at(10)), [], "its lease was renewed");
    node.advance(at(15));
    assert_eq!(publish(&mut node, at(15)).woken, [(ticket, true)]);
    assert_eq!(node.waits(), 0);
}

#[test]
fn a_request_without_a_lease_waits_for_nothing() {
    let (mut node, _) = node();
    let peer = node.new_peer(at(0), 2, &new_peer(LEASE)).unwrap();
    let ask = Ask { expires_in: Some(Duration::ZERO), ..ask(&[("A", 1)], 5) };
    assert_eq!(node.acquire(at(0), peer.by_server(), &ask), Ok(Step::Done(Outcome::Pending)));
    assert_eq!(node.waits(), 0);
}

#[test]
fn who_waited_when_the_server_stopped_is_connected_no_more() {
    let (mut node, holder) = node();
    let (peer, ticket) = waiter(&mut node, "A", 60);
    assert!(!node.is_draining());
    node.advance(at(1));
    node.drain();
    assert!(node.is_draining());
    assert_eq!(woken(&mut node, at(1)), [ticket]);
    node.advance(at(2));
    node.end_peer(at(2), holder.by_server(), EndCause::Released);
    assert!(!node.core().peer(peer.by_server()).unwrap().is_acquired(), "nobody is there to be told");
}

#[test]
fn what_was_withdrawn_from_an_unused_member_of_a_pattern_is_not_acquired() {
    let (mut node, _) = node();
    let (peer, ticket) = waiter(&mut node, "t/1", 5);
    node.advance(at(1));
    node.release(at(1), peer.by_server(), &["t/1"]).unwrap();
    assert_eq!(woken(&mut node, at(1)), [ticket]);
    assert!(node.core().semaphore("t/1").is_err(), "nobody uses it");
    let waiting = |locks| Waiting { claim: peer.by_server(), locks, until: at(5) };
    assert_eq!(node.resume(at(1), &waiting(&[("t/1", 1)])), Ok(Step::Done(Outcome::NotAcquired)));
    assert!(node.resume(at(1), &waiting(&[("none", 1)])).is_err());
}

#[test]
fn who_goes_on_waiting_for_what_was_withdrawn_does_not_ask_anew() {
    for name in ["A", "t/1"] {
        let (mut node, _) = node();
        let (peer, _) = waiter(&mut node, name, 5);
        let locks = [(name, 1)];
        let goes_on = Ask { if_pending: true, ..ask(&locks, 5) };
        let blocked = node.acquire(at(1), peer.by_server(), &goes_on);
        assert!(matches!(blocked, Ok(Step::Blocked { .. })), "it is pending: {blocked:?}");
        node.release(at(1), peer.by_server(), &[name]).unwrap();
        let told = node.acquire(at(2), peer.by_server(), &goes_on);
        assert_eq!(told, Ok(Step::Done(Outcome::NotAcquired)), "{name}");
        assert!(node.core().peer(peer.by_server()).unwrap().pending().is_none());
        assert!(matches!(node.acquire(at(2), peer.by_server(), &ask(&locks, 5)), Ok(Step::Blocked { .. })));
    }
}

#[test]
fn who_goes_on_waiting_is_told_of_a_grant_unless_it_is_over_and_of_what_is_unknown() {
    let (mut node, holder) = node();
    let (peer, _) = waiter(&mut node, "A", 5);
    let goes_on = Ask { if_pending: true, ..ask(&[("A", 1)], 5) };
    node.end_peer(at(1), holder.by_server(), EndCause::Released);
    assert_eq!(node.acquire(at(1), peer.by_server(), &goes_on), Ok(Step::Done(Outcome::Acquired)));
    node.release(at(2), peer.by_server(), &["A"]).unwrap();
    assert_eq!(node.acquire(at(2), peer.by_server(), &goes_on), Ok(Step::Done(Outcome::NotAcquired)));
    assert_eq!(node.core().semaphore("A").unwrap().acquired(), 0);
    for locks in [[("A", 1), ("none", 1)], [("A", 1), ("B", 1000)]] {
        let vain = Ask { if_pending: true, ..ask(&locks, 5) };
        assert!(node.acquire(at(2), peer.by_server(), &vain).is_err(), "{locks:?}");
    }
    node.end_peer(at(3), peer.by_server(), EndCause::Released);
    assert!(node.acquire(at(3), peer.by_server(), &goes_on).is_err());
}

#[test]
fn a_grant_over_two_semaphores_wakes_its_requests_once_and_with_the_first_event() {
    let (mut node, holder) = node();
    let peer = node.new_peer(at(0), 2, &new_peer(LEASE)).unwrap();
    let locks: &[(&str, i64)] = &[("A", 1), ("B", 1)];
    let Ok(Step::Blocked { ticket, .. }) = node.acquire(at(0), peer.by_server(), &ask(locks, 5)) else {
        panic!("it waits")
    };
    publish(&mut node, at(0));
    node.advance(at(1));
    node.end_peer(at(1), holder.by_server(), EndCause::Released);
    let turn = publish(&mut node, at(1));
    assert_eq!(turn.woken, [(ticket, false)]);
    let granted: Vec<_> = turn.events.iter().filter(|(kind, ..)| *kind == EventKind::Granted).collect();
    assert_eq!(granted, [&(EventKind::Granted, false, Some(ticket)); 2]);
    assert!(!node.has_output());
}

#[test]
fn what_fell_due_is_not_the_doing_of_the_command_behind_it() {
    let (mut node, holder) = node();
    let (peer, ticket) = waiter(&mut node, "A", 60);
    let end = at(1_031);
    node.heartbeat(at(1), peer.by_server(), Some(2 * LONG)).unwrap();
    node.advance(end);
    assert!(node.core().peer(holder.by_server()).is_err(), "its lease and its margin are over");
    node.release(end, peer.by_server(), &["A"]).unwrap();
    let turn = publish(&mut node, end);
    let of = |kind| turn.events.iter().find(|(other, ..)| *other == kind).map(|(_, fell_due, _)| *fell_due);
    assert_eq!(of(EventKind::Expired), Some(true));
    assert_eq!(of(EventKind::Released), Some(false));
    assert!(turn.woken.contains(&(ticket, true)));
}

#[test]
fn as_many_wait_as_may() {
    let (mut node, _) = node_with(Bounds { waits: 1, ..BOUNDS }, None);
    waiter(&mut node, "A", 60);
    let peer = node.new_peer(at(0), 3, &new_peer(LEASE)).unwrap();
    let refused = node.acquire(at(0), peer.by_server(), &ask(&[("A", 1)], 5));
    assert_eq!(refused, Err(Refusal::TooManyWaits(TooManyWaits { limit: 1, is_share: false })));
    assert_eq!(node.waits(), 1);
}
