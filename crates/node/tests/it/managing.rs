//! Semaphores: declared, changed, removed.

use std::collections::BTreeMap;

use throttle_core::{Core, EndCause, Origin, Settings, Spec, Token, UnknownSemaphore};
use throttle_node::{Declared, Difference, Follower, SetRefusal, Usage};

use crate::world::{BOUNDS, LEASE, ask, at, new_peer, node, publish, waiter};

fn specs(specs: &[(&str, i64)]) -> Declared {
    specs.iter().map(|&(name, max)| (name.to_owned(), Spec::with_max(max))).collect()
}

#[test]
fn a_file_that_changed_comes_into_force_and_says_what_it_removed_from_under_others() {
    let (mut node, _) = node();
    waiter(&mut node, "A", 5);
    let (before, now) = (specs(&[("A", 1), ("B", 2), ("none", 1)]), specs(&[("C", 3)]));
    let removed = node.declare(at(0), &Difference::between(&before, &now), &now).removed_in_use;
    let usage = Usage { acquired: 1, pending: 1 };
    assert_eq!(removed, BTreeMap::from([("A".to_owned(), usage)]), "nobody uses B");
    assert!(node.core().semaphore("B").is_err());
    assert_eq!(node.core().semaphore("C").unwrap().spec().max, 3);
}

#[test]
fn a_file_that_changed_tells_what_was_there_until_then() {
    let (mut node, _) = node();
    node.set_semaphore(at(0), "B", Spec::with_max(7)).unwrap();
    let (before, now) = (specs(&[("A", 1)]), specs(&[("A", 2), ("B", 3), ("C", 4)]));
    node.set_semaphore(at(0), "A", Spec::with_max(5)).unwrap();
    let adopted = node.declare(at(0), &Difference::between(&before, &now), &now);
    assert_eq!(adopted.before, specs(&[("A", 5), ("B", 7)]), "as operators left them, and C is new");
}

#[test]
fn a_removed_semaphore_is_in_use_while_it_is_held_or_waited_for() {
    let (mut node, holder) = node();
    let gone = |name| Difference { removed: specs(&[(name, 1)]), ..Difference::default() };
    let in_use = node.declare(at(0), &gone("A"), &Declared::new()).removed_in_use;
    assert_eq!(in_use["A"], Usage { acquired: 1, pending: 0 });
    node.set_semaphore(at(0), "P", Spec::with_max(0)).unwrap();
    node.acquire(at(0), holder.by_server(), &ask(&[("P", 1)], 0)).unwrap_err();
    waiter(&mut node, "P", 5);
    let in_use = node.declare(at(0), &gone("P"), &Declared::new()).removed_in_use;
    assert_eq!(in_use["P"], Usage { acquired: 0, pending: 1 });
}

#[test]
fn a_pattern_that_left_the_file_makes_no_members_any_more() {
    let (mut node, _) = node();
    let (peer, _) = waiter(&mut node, "t/1", 5);
    let pattern = Spec { origin: Origin::Pattern, ..Spec::with_max(0) };
    let removed = BTreeMap::from([("t/*".to_owned(), pattern)]);
    let gone = Difference { removed, ..Difference::default() };
    let in_use = node.declare(at(0), &gone, &Declared::new()).removed_in_use;
    assert_eq!(in_use, BTreeMap::from([("t/*".to_owned(), Usage { acquired: 0, pending: 1 })]));
    assert!(node.semaphore("t/1").is_ok(), "it is gone with the last who uses it");
    node.end_peer(at(0), peer.by_server(), EndCause::Released);
    assert!(node.semaphore("t/1").is_err());
}

#[test]
fn a_crowd_leaves_in_steps() {
    let (mut node, holder) = node();
    node.set_semaphore(at(0), "C", Spec::with_max(5000)).unwrap();
    let locks = [("C", 1)];
    for random in 1000..2500 {
        let peer = node.new_peer(at(0), random, &new_peer(LEASE)).unwrap();
        assert!(node.acquire(at(0), peer.by_server(), &ask(&locks, 0)).is_ok());
    }
    assert_eq!(node.evict(at(0), "C"), Ok(500), "a thousand at a time");
    assert!(node.acquire(at(0), holder.by_server(), &ask(&locks, 0)).is_err(), "it takes no new requests");
    assert_eq!(node.evict(at(0), "C"), Ok(0));
    assert!(node.core().semaphore("C").is_err(), "it is gone");
}

#[test]
fn semaphores_are_set_changed_and_removed() {
    let (mut node, holder) = node();
    assert_eq!(node.set_semaphore(at(0), "C", Spec::with_max(1)), Ok(None));
    assert_eq!(node.set_semaphore(at(0), "C", Spec::with_max(2)), Ok(Some(Spec::with_max(1))));
    let grow = |spec: Spec| Spec { max: spec.max + 5, ..spec };
    node.change_semaphore(at(0), "C", grow).unwrap();
    assert_eq!(node.core().semaphore("C").unwrap().spec().max, 7);
    // Before anybody uses it.
    node.change_semaphore(at(0), "t/1", grow).unwrap();
    assert_eq!(node.core().semaphore("t/1").unwrap().spec().max, 5);
    let unknown = SetRefusal::Unknown(UnknownSemaphore("none".into()));
    assert_eq!(node.change_semaphore(at(0), "none", grow), Err(unknown));
    assert!(node.remove_semaphore(at(0), "A", false).is_err(), "it is held");
    node.remove_semaphore(at(0), "A", true).unwrap();
    assert!(node.core().semaphore("A").is_err());
    assert!(node.core().peer(holder.by_server()).is_ok());
}

#[test]
fn there_are_no_more_semaphores_than_may_be() {
    let mut settings = Settings::default();
    settings.limits.semaphores = 1;
    let mut node = Follower::new(Core::new(settings, 1, 0), 10).promote(at(0), None, BOUNDS);
    node.set_semaphore(at(0), "A", Spec::with_max(1)).unwrap();
    assert!(matches!(node.set_semaphore(at(0), "B", Spec::with_max(1)), Err(SetRefusal::Limit(_))));
    assert_eq!(node.set_semaphore(at(0), "A", Spec::with_max(2)), Ok(Some(Spec::with_max(1))));
}

#[test]
fn a_look_at_a_semaphore_tells_who_holds_it_and_what_remains() {
    let (mut node, holder) = node();
    let token = node.core().peer(holder.by_server()).unwrap().lock("A").unwrap().token().unwrap();
    assert_eq!(node.holder("A", token).unwrap().unwrap().peer.id(), holder);
    assert!(node.holder("A", Token(token.0 + 1)).unwrap().is_none());
    assert!(node.holder("t/1", token).unwrap().is_none());
    assert!(node.holder("none", token).is_err());
    assert_eq!(node.remainder("A"), Ok(0));
    assert_eq!(node.remainder("B"), Ok(2));
    node.acquire(at(0), holder.by_server(), &ask(&[("B", 1)], 0)).unwrap_err();
    assert_eq!(node.remainder("t/1"), Ok(0));
    publish(&mut node, at(0));
}
