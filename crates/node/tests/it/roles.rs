//! Following the log, leading, and leading no more.

use std::time::Duration;

use throttle_core::{Core, EndCause, Owner, PeerId, Settings, Spec};
use throttle_journal::{Epoch, Record, Wall};
use throttle_node::{Bounds, Follower, IdempotencyKey, NewPeer, Node, Refusal, TooManyWaits};

use crate::world::{BOUNDS, LEASE, ask, at, begun, new_peer, node, node_with, publish, waiter};

const AHEAD: Wall = Wall::ahead_by_micros(7);

fn keyed(key: &str) -> NewPeer<'_> {
    NewPeer { key: Some(IdempotencyKey::new(&Owner::NOBODY, key, "route", b"")), ..new_peer(LEASE) }
}

/// A leader whose log has a bit of everything, and what is in that log.
fn leader() -> (Node, Vec<Record>) {
    let (mut node, _, mut records) = begun(BOUNDS, Some(Epoch(1)));
    node.remove_semaphore(at(1), "B", true).unwrap();
    node.note_wall(AHEAD);
    node.hold_grants(at(1), Duration::from_secs(5));
    for (random, key) in [(20, "k"), (10, "l")] {
        node.advance(at(1));
        node.new_peer(at(1), random, &keyed(key)).unwrap();
    }
    records.extend(publish(&mut node, at(1)).records);
    (node, records)
}

fn follower(records: &[Record]) -> Follower {
    let mut body = Vec::new();
    for record in records {
        throttle_journal::encode(&mut body, record);
    }
    let mut follower = Follower::new(Core::new(Settings::default(), 1, 0), BOUNDS.idempotency_keys);
    follower.apply(&body).unwrap();
    follower
}

#[test]
fn a_follower_that_is_promoted_goes_on_where_the_leader_was() {
    let (_, records) = leader();
    let follower = follower(&records);
    assert_eq!((follower.now(), follower.wall()), (at(1), AHEAD));
    assert!(follower.state().core.peer(PeerId(1).by_server()).is_ok());
    let mut node = follower.promote(at(5), Some(Epoch(2)), BOUNDS);
    assert_eq!(node.epoch(), Some(Epoch(2)));
    assert_eq!(node.holding(at(5)).map(|holding| holding.until), Some(at(6)));
    assert!(node.core().is_holding_grants());
    assert!(node.semaphore("t/1").is_ok(), "the pattern is known");
    assert!(node.semaphore("B").is_err(), "it was removed, and is no pattern");
    assert_eq!(
        node.core().peer(PeerId(1).by_server()).unwrap().expires_at(),
        at(1_005),
        "its lease begins anew"
    );
    assert_eq!(node.new_peer(at(5), 9, &keyed("k")), Ok(PeerId(20)));
}

#[test]
fn grants_are_held_back_no_longer_than_the_leader_said() {
    let (_, records) = leader();
    let node = follower(&records).promote(at(6), Some(Epoch(2)), BOUNDS);
    assert!(node.holding(at(6)).is_none());
    assert!(!node.core().is_holding_grants());
}

#[test]
fn of_the_keys_that_a_new_leader_knows_the_oldest_go_first() {
    let (mut old, mut records) = leader();
    old.advance(at(2));
    old.new_peer(at(2), 5, &keyed("m")).unwrap();
    records.extend(publish(&mut old, at(2)).records);
    let bounds = Bounds { idempotency_keys: 2, ..BOUNDS };
    let mut node = follower(&records).promote(at(3), None, bounds);
    assert_eq!(node.new_peer(at(3), 9, &keyed("m")), Ok(PeerId(5)));
    assert_eq!(node.new_peer(at(3), 9, &keyed("l")), Ok(PeerId(10)));
    assert_eq!(node.new_peer(at(3), 9, &keyed("k")), Ok(PeerId(9)), "it is forgotten");
}

#[test]
fn a_new_leader_answers_the_repeat_of_a_request_whose_peer_ended_as_the_leader_did() {
    let (mut old, mut records) = leader();
    let released = old.new_peer(at(2), 5, &keyed("released")).unwrap();
    let short = NewPeer { expires_in: Duration::from_secs(1), ..keyed("expired") };
    let expired = old.new_peer(at(2), 6, &short).unwrap();
    let at_once = NewPeer { expires_in: Duration::ZERO, ..keyed("at once") };
    let at_once = old.new_peer(at(2), 8, &at_once).unwrap();
    let forgotten = old.begin_session(at(2), 7, &keyed("forgotten"), &ask(&[("?", 1)], 0), false);
    assert!(forgotten.is_err(), "there is no such semaphore");
    records.extend(publish(&mut old, at(2)).records);
    old.end_peer_with_reason(at(3), released.by_server(), "stuck".into());
    records.extend(publish(&mut old, at(3)).records);
    // It fell due.
    old.advance(at(9));
    records.extend(publish(&mut old, at(9)).records);

    // What a snapshot has in it is the same, and so is one of that one.
    let once = follower(&records);
    let mut again = Follower::new(Core::new(Settings::default(), 1, 0), BOUNDS.idempotency_keys);
    once.state().pieces(1).for_each(|piece| again.apply(&piece).unwrap());
    for follower in [once, again] {
        let mut node = follower.promote(at(10), Some(Epoch(2)), BOUNDS);
        for (key, peer) in [("released", released), ("expired", expired), ("at once", at_once)] {
            let repeat = node.new_peer(at(10), 30, &keyed(key));
            assert_eq!(repeat, Err(Refusal::Gone(peer)), "{key}");
            assert_eq!(repeat, old.new_peer(at(10), 31, &keyed(key)));
            let ending = node.ending(peer.by_server()).cloned();
            assert!(ending.is_some());
            assert_eq!(ending, old.ending(peer.by_server()).cloned(), "{key}");
        }
        assert_eq!(node.new_peer(at(10), 30, &keyed("forgotten")), Ok(PeerId(30)));
    }
}

#[test]
fn a_new_leader_knows_what_a_semaphore_was_before_it_was_paused() {
    let (mut old, mut records) = leader();
    old.set_semaphore(at(2), "made", Spec::with_max(5)).unwrap();
    old.change_semaphore(at(2), "made", |spec| Spec { max: 0, ..spec }).unwrap();
    records.extend(publish(&mut old, at(2)).records);
    let mut again = Follower::new(Core::new(Settings::default(), 1, 0), BOUNDS.idempotency_keys);
    follower(&records).state().pieces(1).for_each(|piece| again.apply(&piece).unwrap());
    let node = again.promote(at(3), Some(Epoch(2)), BOUNDS);
    assert_eq!(node.core().semaphore("made").unwrap().max_before_pause(), Some(5));
}

#[test]
fn what_is_no_log_is_refused() {
    assert!(
        Follower::new(Core::new(Settings::default(), 1, 0), BOUNDS.idempotency_keys)
            .apply(&[255, 1])
            .is_err()
    );
}

#[test]
fn a_leader_that_is_deposed_wakes_everybody() {
    let (mut node, _) = node();
    let (_, first) = waiter(&mut node, "A", 60);
    let (_, second) = waiter(&mut node, "A", 30);
    let mut tickets = node.demote();
    tickets.sort_unstable();
    assert_eq!(tickets, [first, second]);
}

#[test]
fn the_wall_clock_is_written_down_when_it_was_set() {
    let (mut node, _) = node_with(BOUNDS, Some(Epoch(1)));
    node.note_wall(AHEAD);
    assert!(node.has_output());
    assert_eq!(publish(&mut node, at(1)).appended.len(), 1);
    node.note_wall(AHEAD);
    assert!(!node.has_output());
}

#[test]
fn refusals_have_words() {
    for refusal in [
        Refusal::TooManyWaits(TooManyWaits { limit: 3, is_share: false }),
        Refusal::KeyReused,
        Refusal::Gone(PeerId(1)),
    ] {
        assert!(!refusal.to_string().is_empty());
    }
    let (mut node, holder) = node();
    node.end_peer(at(1), holder.by_server(), EndCause::Released);
    assert!(node.poll(at(1), holder.by_server()).is_err_and(|refusal| refusal.is_unknown_peer()));
    assert!(!Refusal::KeyReused.is_unknown_peer());
}

#[test]
fn names_that_may_have_been_meant_are_suggested() {
    let (mut node, _) = node();
    for name in (0..70).map(|number| format!("a{number:02}")).chain(["abcdefgh".into(), "Zebras".into()]) {
        node.set_semaphore(at(0), &name, Spec::with_max(1)).unwrap();
    }
    let none: [&str; 0] = [];
    assert_eq!(node.suggestions("abcdxxgh", |_| true), ["\"abcdefgh\""], "behind many that begin like it");
    assert_eq!(node.suggestions("zebras", |_| true), ["\"Zebras\""]);
    assert_eq!(node.suggestions("zebras", |near| near != "Zebras"), none, "that he may not know");
    assert_eq!(node.suggestions("Zxbrxs", |_| true), ["\"Zebras\""], "two of six letters");
    assert_eq!(node.suggestions("Zxxrxs", |_| true), none, "three of six");
    assert_eq!(node.suggestions("C", |_| true), ["\"A\"", "\"B\""], "one letter");
}
