//! Rule 4: what can never be granted, what waits all the same, and the order of the checks.

use super::*;

#[test]
fn a_count_above_max_is_refused() {
    let mut w = World::new("A=2 B=1", [ANN]);
    w.acquire(ANN, "A=3").is(exceeds("A", 3, 2), []);
    w.acquire(ANN, "A=1 B=2").is(exceeds("B", 2, 1), []);
    w.acquire(ANN, "A=2").is(acquired(1), ["ann gets A=2 #1"]);
}

#[test]
fn the_checks_have_an_order() {
    let mut w = World::new("A=2 B=2", [ANN, BOB, CAT])
        .with_semaphore("high", level(1))
        .with_semaphore("low", level(-1))
        .with_semaphore("lowest", Spec { max: 0, ..level(-2) });
    let nobody = PeerId(99);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=2").is(PENDING, ["bob waits for A=2"]);
    // 1. semaphore
    w.acquire(nobody, "A=3 X=0").is(Err(AcquireError::UnknownSemaphore("X".into())), []);
    // 2. count above max
    w.acquire(nobody, "B=0 A=3").is(exceeds("A", 3, 2), []);
    w.acquire_with(ANN, "A=3", 0, Some(HOUR)).is(exceeds("A", 3, 2), []);
    assert_eq!(w.expires_at(ANN), DAY);
    // 3. peer, and its expiry moves
    w.acquire(nobody, "B=0").is(Err(AcquireError::UnknownPeer), []);
    // 4. count below 1
    let below_one = AcquireError::CountBelowOne { semaphore: "B".into(), count: 0 };
    w.acquire_with(ANN, "A=2 B=0", 0, Some(HOUR)).is(Err(below_one), ["ann lasts 3600s"]);
    assert_eq!(w.expires_at(ANN), HOUR);
    // 5. repeat
    w.acquire(ANN, "high=1 A=2").is(violates("A", 0, 0), []);
    w.acquire(BOB, "A=2").is(PENDING, []);
    // 6. hierarchy, of a peer that holds `low` and waits
    w.acquire(CAT, "low=1").is(acquired(2), ["cat gets low=1 #2"]);
    w.acquire(CAT, "lowest=1").is(PENDING, ["cat waits for lowest=1"]);
    w.acquire(CAT, "B=1").is(violates("B", 0, -1), []);
    // 7. pending
    w.acquire(BOB, "B=1").is(Err(AcquireError::AlreadyPending), []);
}

#[test]
fn a_semaphore_may_be_named_once_in_a_request() {
    let mut w = World::new("A=2", [ANN]);
    w.acquire(ANN, "A=1 A=1").is(Err(AcquireError::NamedTwice("A".into())), []);
}

#[test]
fn a_count_below_one_is_refused() {
    let mut w = World::new("A=2", [ANN]);
    for count in [0, -1, i64::MIN] {
        let below_one = AcquireError::CountBelowOne { semaphore: "A".into(), count };
        w.acquire(ANN, &format!("A={count}")).is(Err(below_one), []);
    }
}

#[test]
fn one_pending_request_at_a_time() {
    let mut w = World::new("A=1 B=1 C=1", [ANN, BOB]);
    w.acquire(ANN, "A=1 B=1").is(acquired(1), ["ann gets A=1 #1", "ann gets B=1 #2"]);
    w.acquire(BOB, "A=1 B=1").is(PENDING, ["bob waits for A=1", "bob waits for B=1"]);
    w.acquire(BOB, "C=1").is(Err(AcquireError::AlreadyPending), []);
    w.acquire(BOB, "A=1 C=1").is(Err(AcquireError::AlreadyPending), []);
    // A part of it is the same request.
    w.acquire(BOB, "B=1").is(PENDING, []);
}

#[test]
fn max_zero_pauses() {
    let mut w = World::new("A=2", [ANN, BOB, CAT]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.set("A", max(0)).is((), ["A has max 0"]);
    // Whatever the count: nobody knows how large `max` will be.
    w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    w.acquire(CAT, "A=9").is(PENDING, ["cat waits for A=9"]);
    w.at(ms(1)).release(ANN, "A").is(Ok(()), ["ann gives up A=1 #1 after 1ms, Released"]);
    w.acquire(CAT, "A=9").is(PENDING, []);
    w.at(ms(2)).set("A", max(2)).is((), ["A has max 2", "bob gets A=1 #2 after 2ms"]);
    w.acquire(CAT, "A=9").is(exceeds("A", 9, 2), ["cat stops waiting for A=9, ExceedsMax"]);
}

#[test]
fn while_it_is_paused_it_is_known_what_was_before() {
    let mut w = World::new("A=2", [ANN]);
    let before = |w: &World| w.core.semaphore("A").expect("it is there").max_before_pause();
    assert_eq!(before(&w), None);
    w.set("A", max(0)).is((), ["A has max 0"]);
    assert_eq!(before(&w), Some(2));
    w.set("A", Spec { level: 1, ..max(0) }).is((), ["A has max 0, level 1"]);
    assert_eq!(before(&w), Some(2), "it is paused all the same");
    let mut restarted = Core::new(Settings::default(), 1, 0);
    w.core.snapshot().iter().for_each(|event| restarted.replay(event).expect("it fits"));
    let after = restarted.semaphore("A").expect("it is there").max_before_pause();
    assert_eq!(after, Some(2), "also after a restart from a snapshot");
    assert_eq!(restarted.snapshot(), w.core.snapshot());
    w.set("A", max(5)).is((), ["A has max 5"]);
    assert_eq!(before(&w), None);
}

#[test]
fn a_passed_over_waiter_holds_up_nobody_and_keeps_its_place() {
    let mut w = World::new("A=3", [ANN, BOB, CAT, DAN]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=3").is(PENDING, ["bob waits for A=3"]);
    w.acquire(CAT, "A=1").is(PENDING, ["cat waits for A=1"]);
    w.at(ms(1)).set("A", max(2)).is((), ["A has max 2", "cat gets A=1 #2 after 1ms"]);
    w.at(ms(2)).release(ANN, "A").is(Ok(()), ["ann gives up A=1 #1 after 2ms, Released"]);
    w.at(ms(3)).acquire(DAN, "A=1").is(acquired(3), ["dan gets A=1 #3"]);
    w.at(ms(4)).release(DAN, "A").is(Ok(()), ["dan gives up A=1 #3 after 1ms, Released"]);
    // Back at 3 bob is first again: a request behind it waits, though it would fit.
    w.at(ms(5)).set("A", max(3)).is((), ["A has max 3"]);
    w.at(ms(6)).acquire(DAN, "A=1").is(PENDING, ["dan waits for A=1"]);
    let outcome = w.at(ms(7)).release(CAT, "A");
    outcome.is(Ok(()), ["cat gives up A=1 #2 after 6ms, Released", "bob gets A=3 #4 after 7ms"]);
}

#[test]
fn a_passed_over_waiter_that_asks_again_is_withdrawn() {
    let mut w = World::new("A=3", [ANN, BOB]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=3").is(PENDING, ["bob waits for A=3"]);
    w.set("A", max(2)).is((), ["A has max 2"]);
    // Another count above `max` is another request.
    w.acquire(BOB, "A=4").is(exceeds("A", 4, 2), []);
    w.acquire(BOB, "A=3").is(exceeds("A", 3, 2), ["bob stops waiting for A=3, ExceedsMax"]);
    w.acquire(BOB, "A=1").is(acquired(2), ["bob gets A=1 #2"]);
}

#[test]
fn a_passed_over_waiter_may_shrink_until_it_fits() {
    let mut w = World::new("A=3", [ANN, BOB]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=3").is(PENDING, ["bob waits for A=3"]);
    w.set("A", max(2)).is((), ["A has max 2"]);
    let outcome = w.at(ms(1)).acquire(BOB, "A=1");
    outcome.is(acquired(2), ["bob shrinks to A=1", "bob gets A=1 #2 after 1ms"]);
}

#[test]
fn a_holder_above_a_smaller_max_keeps_its_lock() {
    let mut w = World::new("A=3", [ANN, BOB]);
    w.acquire(ANN, "A=3").is(acquired(1), ["ann gets A=3 #1"]);
    w.set("A", max(2)).is((), ["A has max 2", "A is overcommitted, 3 of 2"]);
    assert_eq!(w.core.semaphore("A").expect("known").remainder(), -1);
    w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    // A count above `max` is the earlier check, but takes nothing that is held.
    w.acquire(ANN, "A=3").is(exceeds("A", 3, 2), []);
    w.at(ms(1)).acquire(ANN, "A=2").is(acquired(1), ["ann shrinks to A=2"]);
    let outcome = w.at(ms(2)).acquire(ANN, "A=1");
    outcome.is(acquired(1), ["ann shrinks to A=1", "bob gets A=1 #2 after 2ms"]);
}

#[test]
fn a_joint_request_that_one_semaphore_passes_over_holds_up_no_other() {
    let mut w = World::new("A=3 B=1", [ANN, BOB, CAT, DAN]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=3 B=1").is(PENDING, ["bob waits for A=3", "bob waits for B=1"]);
    w.acquire(CAT, "B=1").is(PENDING, ["cat waits for B=1"]);
    w.at(ms(1)).set("A", max(2)).is((), ["A has max 2", "cat gets B=1 #2 after 1ms"]);
    w.acquire(BOB, "B=1").is(PENDING, []);
    // Once it fits again it is ahead of dan in both queues.
    w.acquire(DAN, "B=1").is(PENDING, ["dan waits for B=1"]);
    w.at(ms(2)).set("A", max(3)).is((), ["A has max 3"]);
    w.at(ms(3)).release(CAT, "B").is(Ok(()), ["cat gives up B=1 #2 after 2ms, Released"]);
    w.at(ms(4)).release(ANN, "A").is(
        Ok(()),
        ["ann gives up A=1 #1 after 4ms, Released", "bob gets A=3 #3 after 4ms", "bob gets B=1 #4 after 4ms"],
    );
}

#[test]
fn a_joint_request_that_is_passed_over_is_withdrawn_whole() {
    let mut w = World::new("A=3 B=1", [ANN, BOB]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "B=1 A=3").is(PENDING, ["bob waits for B=1", "bob waits for A=3"]);
    w.set("A", max(2)).is((), ["A has max 2"]);
    w.acquire(BOB, "B=1 A=3").is(
        exceeds("A", 3, 2),
        ["bob stops waiting for B=1, ExceedsMax", "bob stops waiting for A=3, ExceedsMax"],
    );
}

#[test]
fn a_paused_semaphore_in_a_joint_request_holds_up_no_other() {
    let mut w = World::new("A=1 B=0", [ANN, BOB, CAT]);
    w.acquire(ANN, "A=1 B=1").is(PENDING, ["ann waits for A=1", "ann waits for B=1"]);
    w.acquire(BOB, "A=1").is(acquired(1), ["bob gets A=1 #1"]);
    w.acquire(CAT, "A=1").is(PENDING, ["cat waits for A=1"]);
    w.at(ms(1)).set("B", max(1)).is((), ["B has max 1"]);
    w.at(ms(2)).release(BOB, "A").is(
        Ok(()),
        ["bob gives up A=1 #1 after 2ms, Released", "ann gets A=1 #2 after 2ms", "ann gets B=1 #3 after 2ms"],
    );
}
