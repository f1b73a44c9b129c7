//! Declaring, resizing and removing semaphores.

use super::*;

#[test]
fn a_semaphore_is_declared_and_used() {
    let mut w = World::new("", [ANN]);
    w.acquire(ANN, "A=1").is(Err(AcquireError::UnknownSemaphore("A".into())), []);
    w.set("A", Spec { level: 3, per: Some(ms(5)), ..max(2) }).is((), ["A has max 2 per 5ms, level 3"]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.set("A", Spec { level: 3, per: Some(ms(5)), ..max(2) }).is((), []);
}

#[test]
fn a_negative_max_pauses() {
    let mut w = World::new("", [ANN]);
    w.set("A", max(-1)).is((), ["A has max 0"]);
    w.acquire(ANN, "A=1").is(PENDING, ["ann waits for A=1"]);
}

#[test]
fn growing_wakes_waiters() {
    let mut w = World::new("A=1", [ANN, BOB, CAT, DAN]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    w.acquire(CAT, "A=1").is(PENDING, ["cat waits for A=1"]);
    w.acquire(DAN, "A=1").is(PENDING, ["dan waits for A=1"]);
    let outcome = w.at(ms(1)).set("A", max(3));
    outcome.is((), ["A has max 3", "bob gets A=1 #2 after 1ms", "cat gets A=1 #3 after 1ms"]);
}

#[test]
fn after_shrinking_holders_finish() {
    let mut w = World::new("A=2", [ANN, BOB, CAT]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=1").is(acquired(2), ["bob gets A=1 #2"]);
    w.acquire(CAT, "A=1").is(PENDING, ["cat waits for A=1"]);
    w.set("A", max(1)).is((), ["A has max 1", "A is overcommitted, 2 of 1"]);
    w.at(ms(1)).release(ANN, "A").is(Ok(()), ["ann gives up A=1 #1 after 1ms, Released"]);
    let outcome = w.at(ms(2)).release(BOB, "A");
    outcome.is(Ok(()), ["bob gives up A=1 #2 after 2ms, Released", "cat gets A=1 #3 after 2ms"]);
}

#[test]
fn a_free_semaphore_is_removed() {
    let mut w = World::new("A=1", [ANN]);
    w.remove("A", false).is(Ok(()), ["A is removed"]);
    w.remove("A", false).is(Err(RemoveError::UnknownSemaphore("A".into())), []);
    w.acquire(ANN, "A=1").is(Err(AcquireError::UnknownSemaphore("A".into())), []);
}

#[test]
fn a_semaphore_in_use_is_removed_only_by_force() {
    let mut w = World::new("A=1 B=1", [ANN, BOB, CAT]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=1 B=1").is(PENDING, ["bob waits for A=1", "bob waits for B=1"]);
    w.acquire(CAT, "B=1").is(PENDING, ["cat waits for B=1"]);
    w.remove("A", false).is(Err(RemoveError::InUse(InUse { holders: 1, waiters: 1 })), []);
    // A request over several semaphores goes as a whole, which lets others through.
    w.at(ms(1)).remove("A", true).is(
        Ok(()),
        [
            "ann gives up A=1 #1 after 1ms, Removed",
            "bob stops waiting for A=1, Removed",
            "bob stops waiting for B=1, Removed",
            "A is removed",
            "cat gets B=1 #2 after 1ms",
        ],
    );
}

#[test]
fn a_semaphore_that_waiters_want_is_in_use() {
    let mut w = World::new("A=0", [ANN]);
    w.acquire(ANN, "A=1").is(PENDING, ["ann waits for A=1"]);
    w.remove("A", false).is(Err(RemoveError::InUse(InUse { holders: 0, waiters: 1 })), []);
}

#[test]
fn what_cooled_is_forgotten_with_its_semaphore() {
    let spec = Spec { per: Some(secs(1)), ..max(1) };
    let mut w = World::new("", [ANN]).with_semaphore("A", spec);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    let removed = ["ann gives up A=1 #1 after 0ns, Removed", "A is removed"];
    w.remove("A", true).is(Ok(()), removed);
    w.set("A", spec).is((), ["A has max 1 per 1s"]);
    w.acquire(ANN, "A=1").is(acquired(2), ["ann gets A=1 #2"]);
    w.at(secs(1)).advance().is((), []);
}

#[test]
fn what_is_about_to_go_is_told_of_once() {
    let mut w = World::new("A=1", [ANN]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.run(|core, now| core.retire_semaphore(now, "A")).is(Ok(()), ["A takes no new requests"]);
    w.run(|core, now| core.retire_semaphore(now, "A")).is(Ok(()), []);
    // Taken back, it is as it was.
    w.set("A", max(1)).is((), ["A has max 1"]);
    w.release(ANN, "A").is(Ok(()), ["ann gives up A=1 #1 after 0ns, Released"]);
}

#[test]
fn overcommitment_is_told_of_when_it_begins() {
    let mut w = World::new("A=2", [ANN]);
    w.acquire(ANN, "A=2").is(acquired(1), ["ann gets A=2 #1"]);
    w.set("A", max(1)).is((), ["A has max 1", "A is overcommitted, 2 of 1"]);
    w.set("A", level(0)).is((), ["A has max 5"]);
    w.set("A", max(1)).is((), ["A has max 1", "A is overcommitted, 2 of 1"]);
    w.set("A", Spec { level: 1, ..max(1) }).is((), ["A has max 1, level 1"]);
    w.set("A", Spec { level: 1, ..max(0) }).is((), ["A has max 0, level 1"]);
}

#[test]
fn deadlocks_are_detected_from_the_change_on_that_asks_for_it() {
    let detect = Spec { deadlock: Deadlock::Detect, ..max(1) };
    let mut w = World::new("A=1 B=1", [ANN, BOB]);
    for name in ["A", "B"] {
        w.set(name, detect).is((), [&format!("{name} has max 1")]);
    }
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "B=1").is(acquired(2), ["bob gets B=1 #2"]);
    w.acquire(ANN, "B=1").is(PENDING, ["ann waits for B=1"]);
    assert!(matches!(w.acquire(BOB, "A=1").reply, Err(AcquireError::Deadlock { .. })));
    for name in ["A", "B"] {
        w.set(name, max(1)).is((), [&format!("{name} has max 1")]);
    }
    w.acquire(BOB, "A=1").is(violates("A", 0, 0), []);
}
