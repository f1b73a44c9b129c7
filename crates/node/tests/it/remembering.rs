//! What a node remembers beside locks: how peers ended, and what happened.

use std::{collections::BTreeSet, sync::Arc};

use throttle_core::{EndCause, PeerId, Token};
use throttle_node::{Bounds, EventKind, cause_name};

use crate::world::{BOUNDS, LEASE, LONG, at, new_peer, node, node_with, publish};

#[test]
fn how_a_peer_ended_is_remembered_with_the_reason_of_an_operator() {
    let (mut node, holder) = node();
    let other = node.new_peer(at(0), 2, &new_peer(LEASE)).unwrap();
    let third = node.new_peer(at(0), 3, &new_peer(LEASE)).unwrap();
    let reason: Arc<str> = "stuck".into();
    assert!(node.end_peer_with_reason(at(1), holder.by_server(), reason.clone()));
    publish(&mut node, at(1));
    assert!(!node.end_peer_with_reason(at(1), holder.by_server(), reason.clone()), "it is gone");
    assert!(node.end_peer(at(1), third.by_server(), EndCause::Operator));
    publish(&mut node, at(1));
    let fourth = node.new_peer(at(1), 4, &new_peer(LONG)).unwrap();
    node.advance(at(11));
    // One ends by itself in the turn in which an operator ends another.
    assert!(node.end_peer_with_reason(at(11), fourth.by_server(), reason.clone()));
    publish(&mut node, at(11));
    let ending = |peer| node.ending(peer).map(|ending| (ending.cause, ending.reason.clone()));
    assert_eq!(ending(holder.by_server()), Some((EndCause::Operator, Some(reason))));
    assert_eq!(ending(third.by_server()), Some((EndCause::Operator, None)), "the reason was that of another");
    assert_eq!(ending(other.by_server()), Some((EndCause::Expired, None)));
    assert_eq!(ending(PeerId(99).by_server()), None);
}

#[test]
fn how_the_grant_of_a_token_ended_is_remembered() {
    let (mut node, holder) = node();
    let token =
        node.core().peer(holder.by_server()).unwrap().locks().next().and_then(|lock| lock.token()).unwrap();
    assert!(node.token_ending(token).is_none(), "it lives");
    let reason: Arc<str> = "stuck".into();
    node.end_peer_with_reason(at(1), holder.by_server(), reason.clone());
    publish(&mut node, at(1));
    let ending = node.token_ending(token).map(|ending| (ending.cause, ending.reason.clone()));
    assert_eq!(ending, Some((EndCause::Operator, Some(reason))));
    assert!(node.token_ending(Token(token.0 + 1)).is_none());
}

#[test]
fn where_no_ending_may_be_remembered_none_is() {
    let (mut node, holder) = node_with(Bounds { endings: 0, ..BOUNDS }, None);
    node.end_peer(at(1), holder.by_server(), EndCause::Released);
    publish(&mut node, at(1));
    assert!(node.ending(holder.by_server()).is_none());
}

#[test]
fn kinds_and_causes_have_the_names_that_readers_know() {
    let kinds = EventKind::ALL.map(EventKind::name);
    let expected = [
        "granted",
        "queued",
        "released",
        "expired",
        "shrunk",
        "withdrawn",
        "restored",
        "overcommitted",
        "resized",
        "removed",
        "peer_ended",
    ];
    assert_eq!(kinds, expected);
    let causes =
        [EndCause::Released, EndCause::Expired, EndCause::Operator, EndCause::Removed, EndCause::ExceedsMax];
    let names: Vec<_> = causes.into_iter().map(cause_name).collect();
    assert_eq!(names, ["released", "expired", "operator", "removed", "exceeds_max"]);
    assert_eq!(BTreeSet::from(kinds).len(), kinds.len());
}
