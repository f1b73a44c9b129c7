//! Rule 3: levels, and asking again.

use super::*;

/// Three levels, each with a full count of 5.
fn levels() -> World {
    let mut w = World::with_settings(Settings::default())
        .with_semaphore("high", level(2))
        .with_semaphore("mid", level(1))
        .with_semaphore("low", level(0))
        .with_semaphore("low2", level(0));
    w.new_peer(ANN, DAY).is(Ok(ANN), ["ann begins, 86400s"]);
    w
}

#[test]
fn only_levels_below_what_is_held() {
    let mut w = levels();
    w.acquire(ANN, "mid=1").is(acquired(1), ["ann gets mid=1 #1"]);
    w.acquire(ANN, "high=1").is(violates("high", 2, 1), []);
    w.acquire(ANN, "low=1").is(acquired(2), ["ann gets low=1 #2"]);
    // Not the same level either, and the lowest lock counts.
    w.acquire(ANN, "low2=1").is(violates("low2", 0, 0), []);
    w.acquire(ANN, "high=1").is(violates("high", 2, 0), []);
    w.release(ANN, "low").is(Ok(()), ["ann gives up low=1 #2 after 0ns, Released"]);
    w.acquire(ANN, "low2=1").is(acquired(3), ["ann gets low2=1 #3"]);
}

#[test]
fn one_request_may_take_any_levels() {
    let mut w = levels();
    let outcome = w.acquire(ANN, "low=1 low2=1 high=1");
    outcome.is(acquired(1), ["ann gets low=1 #1", "ann gets low2=1 #2", "ann gets high=1 #3"]);
}

#[test]
fn one_part_that_violates_refuses_all_of_a_request() {
    let mut w = levels();
    w.acquire(ANN, "mid=1").is(acquired(1), ["ann gets mid=1 #1"]);
    w.acquire(ANN, "low=1 high=1").is(violates("high", 2, 1), []);
}

#[test]
fn what_is_held_already_is_not_asked_for_again() {
    let mut w = levels();
    w.acquire(ANN, "mid=2").is(acquired(1), ["ann gets mid=2 #1"]);
    w.acquire(ANN, "mid=2 low=1").is(acquired(1), ["ann gets low=1 #2"]);
    w.acquire(ANN, "low=1 mid=2").is(acquired(2), []);
}

#[test]
fn the_same_count_again_reports_the_state() {
    let mut w = World::new("A=2", [ANN, BOB]);
    w.acquire(ANN, "A=2").is(acquired(1), ["ann gets A=2 #1"]);
    w.acquire(ANN, "A=2").is(acquired(1), []);
    w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    w.acquire(BOB, "A=1").is(PENDING, []);
}

#[test]
fn a_larger_count_is_a_violation() {
    let mut w = World::new("A=3", [ANN, BOB]);
    w.acquire(ANN, "A=2").is(acquired(1), ["ann gets A=2 #1"]);
    w.acquire(ANN, "A=3").is(violates("A", 0, 0), []);
    w.acquire(BOB, "A=2").is(PENDING, ["bob waits for A=2"]);
    w.acquire(BOB, "A=3").is(violates("A", 0, 0), []);
}

#[test]
fn a_smaller_count_shrinks_an_acquired_lock_and_wakes_waiters() {
    let mut w = World::new("A=3", [ANN, BOB]);
    w.acquire(ANN, "A=3").is(acquired(1), ["ann gets A=3 #1"]);
    w.acquire(BOB, "A=2").is(PENDING, ["bob waits for A=2"]);
    let outcome = w.at(ms(1)).acquire(ANN, "A=1");
    outcome.is(acquired(1), ["ann shrinks to A=1", "bob gets A=2 #2 after 1ms"]);
    let outcome = w.at(ms(2)).release(ANN, "A");
    outcome.is(Ok(()), ["ann gives up A=1 #1 after 2ms, Released"]);
}

#[test]
fn a_smaller_count_shrinks_a_pending_request_which_keeps_its_place() {
    let mut w = World::new("A=3", [ANN, BOB, CAT]);
    w.acquire(ANN, "A=2").is(acquired(1), ["ann gets A=2 #1"]);
    w.acquire(BOB, "A=3").is(PENDING, ["bob waits for A=3"]);
    w.acquire(CAT, "A=1").is(PENDING, ["cat waits for A=1"]);
    w.acquire(BOB, "A=2").is(PENDING, ["bob shrinks to A=2"]);
    // Now it fits, and it was ahead of cat all along.
    let outcome = w.at(ms(1)).acquire(BOB, "A=1");
    outcome.is(acquired(2), ["bob shrinks to A=1", "bob gets A=1 #2 after 1ms"]);
}

#[test]
fn a_request_shrinks_one_lock_and_takes_another() {
    let mut w = levels();
    w.acquire(ANN, "mid=3").is(acquired(1), ["ann gets mid=3 #1"]);
    let outcome = w.acquire(ANN, "mid=1 low=1");
    outcome.is(acquired(1), ["ann shrinks to mid=1", "ann waits for low=1", "ann gets low=1 #2 after 0ns"]);
}

#[test]
fn a_refused_request_shrinks_nothing() {
    let mut w = levels();
    w.acquire(ANN, "low=2 mid=2").is(acquired(1), ["ann gets low=2 #1", "ann gets mid=2 #2"]);
    w.acquire(ANN, "low=1 mid=3").is(violates("mid", 1, 1), []);
    w.acquire(ANN, "low=1 high=1").is(violates("high", 2, 0), []);
    w.acquire(ANN, "low=2 mid=2").is(acquired(1), []);
}

/// What becomes free on several levels at once is looked at on all upper ones before anything below is given.
#[test]
fn whoever_leads_on_any_upper_level_keeps_its_place_below() {
    let mut w = World::new("", [ANN, BOB, CAT]).with_semaphore("above", Spec { level: 2, ..max(2) });
    w = w.with_semaphore("upper", Spec { level: 2, ..max(1) });
    w = w.with_semaphore("below", Spec { level: 1, ..max(1) });
    let all = ["ann gets above=1 #1", "ann gets upper=1 #2", "ann gets below=1 #3"];
    w.acquire(ANN, "above=1 upper=1 below=1").is(acquired(1), all);
    w.acquire(BOB, "upper=1 below=1").is(PENDING, ["bob waits for upper=1", "bob waits for below=1"]);
    // It leads above already, and that comes first by name; but Bob was there before it.
    w.acquire(CAT, "above=1 below=1").is(PENDING, ["cat waits for above=1", "cat waits for below=1"]);
    let outcome = w.end(ANN, EndCause::Released);
    assert_eq!(outcome.events[4..], ["bob gets upper=1 #4 after 0ns", "bob gets below=1 #5 after 0ns"]);
}

#[test]
fn a_change_of_levels_leaves_nobody_in_the_way_who_does_not_lead() {
    let detect = |level, max| Spec { level, deadlock: Deadlock::Detect, ..super::max(max) };
    let mut w = World::new("a=2", [ANN, BOB, CAT]).with_semaphore("b", Spec { level: 0, ..max(3) });
    w = w.with_semaphore("c", detect(2, 3)).with_semaphore("d", detect(3, 2));
    w.acquire(ANN, "b=2").is(acquired(1), ["ann gets b=2 #1"]);
    w.acquire(BOB, "b=2 c=1").is(PENDING, ["bob waits for b=2", "bob waits for c=1"]);
    w.acquire(CAT, "a=1 b=1 d=1")
        .is(PENDING, ["cat waits for a=1", "cat waits for b=1", "cat waits for d=1"]);
    w.set("b", Spec { level: 1, ..max(3) }).is((), ["b has max 3, level 1"]);
}
