//! When an answer may leave, and what a log is given.

use std::time::Duration;

use throttle_core::{By, EndCause, PeerId};
use throttle_journal::{Epoch, Wall};
use throttle_node::{Condition, Offset};

use crate::world::{BOUNDS, LEASE, LONG, at, new_peer, node, node_with, publish};

const EPOCH: Option<Epoch> = Some(Epoch(3));

#[test]
fn a_heartbeat_waits_for_the_log_only_if_it_changed_something() {
    let (mut node, holder) = node_with(BOUNDS, EPOCH);
    assert_eq!(node.epoch(), EPOCH);
    let Condition::Committed(upto) = node.committed() else { panic!("there is a log") };
    assert_eq!(
        node.heartbeat(at(1), holder.by_server(), None),
        Ok(node.committed()),
        "its peer is not safe yet"
    );
    node.appended(upto);
    assert_eq!(node.heartbeat(at(1), holder.by_server(), None), Ok(Condition::Confirmed));
    let changed = node.heartbeat(at(1), holder.by_server(), Some(LEASE)).unwrap();
    assert_eq!(changed, Condition::Committed(Offset(upto.0 + 1)));
    assert_eq!(publish(&mut node, at(1)).appended, [Offset(upto.0 + 1)]);
    assert_eq!(
        node.heartbeat(at(1), holder.by_server(), Some(LEASE)),
        Ok(changed),
        "a repeat tells what the first one did"
    );
    node.appended(upto);
    assert_eq!(node.heartbeat(at(1), holder.by_server(), Some(LEASE)), Ok(changed));
    node.appended(Offset(upto.0 + 1));
    assert_eq!(node.heartbeat(at(1), holder.by_server(), Some(LEASE)), Ok(Condition::Confirmed));
}

#[test]
fn a_heartbeat_does_not_wait_for_what_happened_to_others() {
    let (mut node, holder) = node_with(BOUNDS, EPOCH);
    let Condition::Committed(upto) = node.committed() else { panic!("there is a log") };
    node.appended(upto);
    node.new_peer(at(1), 9, &new_peer(LEASE)).unwrap();
    publish(&mut node, at(1));
    assert_eq!(node.heartbeat(at(1), holder.by_server(), None), Ok(Condition::Confirmed));
}

#[test]
fn a_heartbeat_does_not_wait_for_what_falls_due_with_it() {
    let (mut node, holder) = node_with(BOUNDS, EPOCH);
    node.heartbeat(at(1), holder.by_server(), Some(LONG)).unwrap();
    let other = node.new_peer(at(1), 9, &new_peer(LEASE)).unwrap();
    publish(&mut node, at(1));
    let Condition::Committed(upto) = node.committed() else { panic!("there is a log") };
    node.appended(upto);
    let late = at(1) + 2 * LEASE;
    assert_eq!(node.heartbeat(late, holder.by_server(), None), Ok(Condition::Confirmed));
    // What it did is written down, and whoever asks for the other one waits for that.
    assert_eq!(node.committed(), Condition::Committed(Offset(upto.0 + 1)));
    let mut gone = Vec::new();
    let condition = node.heartbeats(late, By::Anybody, &[other, holder], LONG, &mut gone);
    assert_eq!((condition, gone), (node.committed(), vec![other]));
}

#[test]
fn a_look_at_a_peer_waits_for_what_it_has_and_for_nothing_else() {
    let (mut node, holder) = node_with(BOUNDS, EPOCH);
    let Condition::Committed(upto) = node.committed() else { panic!("there is a log") };
    assert_eq!(node.shown(holder), Condition::Committed(upto));
    node.appended(upto);
    assert_eq!(node.shown(holder), Condition::Confirmed);
    let other = node.new_peer(at(1), 9, &new_peer(LEASE)).unwrap();
    publish(&mut node, at(1));
    assert_eq!((node.shown(holder), node.shown(other)), (Condition::Confirmed, node.committed()));
    // What it releases is no change of its lease, but it is shown.
    node.release(at(1), holder.by_server(), &["A"]).unwrap();
    assert_eq!(node.shown(holder), node.committed(), "in the same turn");
    publish(&mut node, at(1));
    assert_eq!(node.shown(holder), node.committed());
    assert_eq!(node.heartbeat(at(1), holder.by_server(), None), Ok(Condition::Confirmed));
    let Condition::Committed(upto) = node.committed() else { panic!("there is a log") };
    node.appended(upto);
    assert_eq!(node.shown(holder), Condition::Confirmed);
}

#[test]
fn a_lease_that_changed_twice_is_safe_with_the_second_change() {
    let (mut node, holder) = node_with(BOUNDS, EPOCH);
    for lease in [LEASE, LONG] {
        node.heartbeat(at(1), holder.by_server(), Some(lease)).unwrap();
        publish(&mut node, at(1));
    }
    let Condition::Committed(upto) = node.committed() else { panic!("there is a log") };
    node.appended(Offset(upto.0 - 1));
    assert_eq!(node.heartbeat(at(1), holder.by_server(), None), Ok(Condition::Committed(upto)));
    node.appended(upto);
    assert_eq!(node.heartbeat(at(1), holder.by_server(), None), Ok(Condition::Confirmed));
}

#[test]
fn that_a_peer_is_gone_is_not_taken_back() {
    let (mut node, holder) = node_with(BOUNDS, EPOCH);
    let Condition::Committed(upto) = node.committed() else { panic!("there is a log") };
    node.appended(upto);
    let mut gone = vec![PeerId(5)];
    assert_eq!(node.heartbeats(at(1), By::Anybody, &[holder], LONG, &mut gone), Condition::Confirmed);
    assert_eq!(gone, [PeerId(5)], "of another part");
    let condition = node.heartbeats(at(1), By::Anybody, &[holder, PeerId(7)], LONG, &mut gone);
    assert_eq!((condition, gone), (Condition::Committed(upto), vec![PeerId(5), PeerId(7)]));
}

#[test]
fn without_a_log_nothing_is_handed_over_and_a_heartbeat_waits_for_nothing() {
    let (mut node, holder) = node();
    assert_eq!(node.epoch(), None);
    assert_eq!(node.heartbeat(at(1), holder.by_server(), Some(LEASE)), Ok(Condition::Confirmed));
    assert_eq!(publish(&mut node, at(1)).appended, []);
}

#[test]
fn a_turn_without_records_is_not_handed_over() {
    let (mut node, holder) = node_with(BOUNDS, EPOCH);
    assert!(!node.has_output());
    let before = node.committed();
    node.heartbeat(at(1), holder.by_server(), None).unwrap();
    assert_eq!(publish(&mut node, at(1)).appended, []);
    assert_eq!(node.committed(), before);
    node.note_wall(Wall::default());
    assert!(!node.has_output(), "it did not move");
    node.end_peer(at(1), holder.by_server(), EndCause::Released);
    assert!(node.has_output());
    assert_ne!(node.committed(), before);
}

#[test]
fn held_back_grants_are_given_out_in_time_or_on_the_word_of_an_operator() {
    for by_operator in [false, true] {
        let (mut node, holder) = node_with(BOUNDS, EPOCH);
        node.hold_grants(at(1), Duration::from_secs(5));
        assert_eq!(publish(&mut node, at(1)).appended.len(), 1);
        let holding = node.holding(at(2)).unwrap();
        assert_eq!((holding.until, holding.remaining), (at(6), Duration::from_secs(4)));
        assert_eq!(node.next_deadline(), Some(at(6)));
        node.advance(at(5));
        assert!(node.holding(at(5)).is_some());
        if by_operator {
            assert!(node.resume_grants(at(5)));
            assert!(!node.resume_grants(at(5)));
        } else {
            node.advance(at(6));
        }
        assert!(node.holding(at(6)).is_none());
        assert!(!node.core().is_holding_grants());
        assert_eq!(publish(&mut node, at(6)).appended.len(), 1);
        assert!(node.core().peer(holder.by_server()).is_ok());
    }
}

#[test]
fn a_new_peer_waits_for_its_record() {
    let (mut node, _) = node_with(BOUNDS, EPOCH);
    let Condition::Committed(before) = node.committed() else { panic!("there is a log") };
    node.new_peer(at(1), 9, &new_peer(LEASE)).unwrap();
    assert_eq!(node.committed(), Condition::Committed(Offset(before.0 + 1)));
}
