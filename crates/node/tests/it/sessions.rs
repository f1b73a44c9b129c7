//! Peers that are made together with their locks.

use std::time::Duration;

use throttle_core::{AcquireError, By, EndCause, Owner, PeerId};
use throttle_journal::Epoch;
use throttle_node::{
    Ask, Bounds, Condition, IdempotencyKey, NewPeer, Node, Offset, Outcome, Refusal, Session, Step, Ticket,
    TooManyWaits, Waiting,
};

use crate::world::{BOUNDS, LEASE, LONG, ask, at, begun, new_peer, node, node_with, publish, waiter};

const LOCKS: &[(&str, i64)] = &[("A", 1)];

fn key(text: &str) -> IdempotencyKey<'_> {
    IdempotencyKey::new(&Owner::NOBODY, text, "route", b"body")
}

/// A session that waits for the mutex, under a key if one is given.
fn waiting_session(node: &mut Node, key: Option<IdempotencyKey<'_>>) -> (PeerId, Ticket) {
    let new = NewPeer { key, ..new_peer(LEASE) };
    let (peer, step) = node.begin_session(at(0), 2, &new, &ask(LOCKS, 5), false).unwrap();
    let Step::Blocked { ticket, .. } = step else { panic!("it waits") };
    (peer, ticket)
}

fn lives(node: &Node, peer: PeerId) -> bool {
    node.core().peer(peer.by_server()).is_ok()
}

fn waiting(peer: PeerId) -> Waiting<'static> {
    Waiting { claim: peer.by_server(), locks: LOCKS, until: at(5) }
}

#[test]
fn a_session_stays_while_a_repeat_of_its_request_waits() {
    let (mut node, _) = node();
    let (peer, ticket) = waiting_session(&mut node, Some(key("k")));
    let Ok(Step::Blocked { ticket: again, .. }) = node.resume(at(0), &waiting(peer)) else {
        panic!("it waits")
    };
    for ticket in [ticket, again] {
        assert!(lives(&node, peer));
        node.cancel_wait(at(0), peer, ticket);
        node.abandon_session(at(0), peer, Some(key("k")));
    }
    assert!(!lives(&node, peer));
}

#[test]
fn a_session_whose_last_request_is_gone_ends_unless_a_repeat_may_have_been_told_of_its_grant() {
    for (key, is_granted, stays) in [
        (None, false, false),
        (None, true, false),
        (Some(key("k")), false, false),
        (Some(key("k")), true, true),
    ] {
        let (mut node, holder) = node();
        let new = NewPeer { key, ..new_peer(LEASE) };
        let (peer, step) = node.begin_session(at(0), 2, &new, &ask(LOCKS, 0), false).unwrap();
        assert_eq!(step, Step::Done(Outcome::Pending));
        if is_granted {
            node.end_peer(at(0), holder.by_server(), EndCause::Released);
        }
        node.advance(at(1));
        assert_eq!(node.core().peer(peer.by_server()).unwrap().is_acquired(), is_granted);
        node.abandon_session(at(1), peer, key);
        assert_eq!(lives(&node, peer), stays, "{key:?}, granted: {is_granted}");
    }
}

#[test]
fn a_session_that_is_refused_when_it_goes_on_ends() {
    let (mut node, _) = node_with(Bounds { waits: 1, ..BOUNDS }, None);
    let (peer, _) = node.begin_session(at(0), 2, &new_peer(LEASE), &ask(LOCKS, 0), false).unwrap();
    waiter(&mut node, "A", 5);
    let session = Session { leaves: false, key: None };
    let step = node.resume_session(at(0), &waiting(peer), session);
    assert_eq!(step, Err(Refusal::TooManyWaits(TooManyWaits { limit: 1, is_share: false })));
    assert!(!lives(&node, peer));
}

#[test]
fn a_session_that_waits_on_is_not_ended() {
    let (mut node, _) = node();
    let (peer, _) = node.begin_session(at(0), 2, &new_peer(LEASE), &ask(LOCKS, 0), false).unwrap();
    let session = Session { leaves: true, key: None };
    assert!(matches!(node.resume_session(at(0), &waiting(peer), session), Ok(Step::Blocked { .. })));
    assert!(lives(&node, peer));
}

#[test]
fn a_session_whose_peer_is_gone_says_so() {
    let (mut node, _) = node();
    let (peer, _) = waiting_session(&mut node, None);
    node.end_peer(at(0), peer.by_server(), EndCause::Operator);
    let session = Session { leaves: false, key: None };
    assert_eq!(node.resume_session(at(0), &waiting(peer), session), Err(Refusal::Gone(peer)));
}

#[test]
fn a_session_leaves_without_a_grant_only_if_it_was_asked_to() {
    for leaves in [false, true] {
        let (mut node, _) = node();
        let begun = node.begin_session(at(0), 2, &new_peer(LEASE), &ask(LOCKS, 0), leaves);
        let (peer, step) = begun.unwrap();
        let outcome = if leaves { Outcome::NotAcquired } else { Outcome::Pending };
        assert_eq!(step, Step::Done(outcome));
        assert_eq!(lives(&node, peer), !leaves);
    }
}

#[test]
fn a_repeat_under_its_key_finds_the_peer_and_begins_its_lease_anew() {
    let (mut node, _) = node();
    let (peer, _) = waiting_session(&mut node, Some(key("k")));
    node.advance(at(4));
    let new = NewPeer { key: Some(key("k")), ..new_peer(LEASE) };
    let (again, _) = node.begin_session(at(4), 3, &new, &ask(LOCKS, 5), false).unwrap();
    assert_eq!(again, peer);
    assert_eq!(node.core().peer(peer.by_server()).unwrap().expires_at(), at(14));
    assert_eq!(node.waits(), 2);
    let other =
        NewPeer { key: Some(IdempotencyKey::new(&Owner::NOBODY, "k", "route", b"other")), ..new_peer(LEASE) };
    assert_eq!(node.new_peer(at(4), 4, &other), Err(Refusal::KeyReused));
    assert_eq!(node.new_peer(at(4), 4, &new), Ok(peer));
    node.end_peer(at(4), peer.by_server(), EndCause::Released);
    assert_eq!(node.new_peer(at(4), 4, &new), Err(Refusal::Gone(peer)));
}

#[test]
fn a_repeat_does_not_ask_again_for_what_was_withdrawn_or_released() {
    let (mut node, holder) = node();
    let new = NewPeer { key: Some(key("k")), ..new_peer(LEASE) };
    let locks = [("A", 1)];
    let (peer, _) = node.begin_session(at(0), 2, &new, &ask(&locks, 0), false).unwrap();
    node.release(at(1), peer.by_server(), &["A"]).unwrap();
    for leaves in [false, true] {
        let repeat = node.begin_session(at(1), 3, &new, &ask(&locks, 5), leaves);
        assert_eq!(repeat, Ok((peer, Step::Done(Outcome::Pending))));
        let seen = node.core().peer(peer.by_server()).unwrap();
        assert!(seen.pending().is_none());
        assert_eq!(seen.expires_at(), at(1) + LEASE, "its lease begins anew");
    }
    node.end_peer(at(1), holder.by_server(), EndCause::Released);
    let repeat = node.begin_session(at(1), 3, &new, &ask(&locks, 5), true);
    assert_eq!(repeat, Ok((peer, Step::Done(Outcome::Pending))), "an echo ends nothing that is in use");
    assert_eq!(node.core().semaphore("A").unwrap().acquired(), 0);
}

#[test]
fn a_refused_session_leaves_neither_peer_nor_key() {
    let (mut node, _) = node();
    let peers = node.core().peer_count();
    let new = NewPeer { key: Some(key("k")), ..new_peer(LEASE) };
    let too_much = Ask { locks: &[("A", 2)], ..ask(LOCKS, 0) };
    let refused = node.begin_session(at(0), 2, &new, &too_much, false);
    assert!(matches!(refused, Err(Refusal::Acquire(AcquireError::ExceedsMax { .. }))), "{refused:?}");
    assert_eq!(node.core().peer_count(), peers);
    assert!(node.new_peer(at(0), 2, &new).is_ok());
}

#[test]
fn while_nothing_may_be_added_to_the_log_leases_begin_anew_with_their_own_length() {
    let (mut node, _, _) = begun(BOUNDS, Some(Epoch(1)));
    let made = [5, 6].map(|random| node.new_peer(at(0), random, &new_peer(LEASE)).unwrap());
    let [peer, other] = made;
    publish(&mut node, at(0));
    node.appended(Offset(u64::MAX));
    let ends = |node: &Node, peer: PeerId| node.core().peer(peer.by_server()).unwrap().expires_at();
    for (second, length) in [(1, None), (2, Some(LEASE)), (3, Some(LONG)), (4, Some(Duration::ZERO))] {
        node.advance(at(second));
        let kept = node.keep(at(second), peer.by_server(), length);
        let is_other = length.is_some_and(|length| length != LEASE);
        let refused = Err(Refusal::Behind { is_kept: true });
        assert_eq!(kept, if is_other { refused } else { Ok(Condition::Confirmed) });
        assert_eq!(ends(&node, peer), at(second) + LEASE);
        let mut gone = Vec::new();
        let all = node.keep_all(at(second), By::Anybody, &[other, PeerId(9)], LONG, &mut gone);
        assert_eq!((all, gone), (Err(Refusal::Behind { is_kept: true }), vec![PeerId(9)]));
        assert_eq!(ends(&node, other), at(second) + LEASE);
        assert!(!node.has_output(), "nothing is added");
    }
    let mut gone = Vec::new();
    assert_eq!(node.keep_all(at(5), By::Anybody, &[peer, other], LEASE, &mut gone), Ok(Condition::Confirmed));
    let unknown = node.keep(at(5), PeerId(9).by_server(), None);
    assert!(unknown.is_err_and(|refusal| refusal.is_unknown_peer()));
}
