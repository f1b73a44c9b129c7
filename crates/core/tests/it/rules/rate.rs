//! Semaphores with a rate: a grant's count comes back no sooner than `per` after it was given.

use super::*;

/// `A` gives at most two a second.
fn two_a_second<const N: usize>(peers: [PeerId; N]) -> World {
    World::new("", peers).with_semaphore("A", Spec { per: Some(secs(1)), ..max(2) })
}

#[test]
fn count_comes_back_just_when_it_is_due() {
    let mut w = two_a_second([ANN, BOB]);
    w.acquire(ANN, "A=2").is(acquired(1), ["ann gets A=2 #1"]);
    w.at(ms(100)).release(ANN, "A").is(Ok(()), ["ann gives up A=2 #1 after 100ms, Released"]);
    let seen = w.core.semaphore("A").expect("known");
    assert_eq!((seen.acquired(), seen.cooling(), seen.remainder()), (0, 2, 2));
    w.at(ms(200)).acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    assert_eq!(w.next_deadline(), Some(secs(1)));
    w.at(us(999_999)).advance().is((), []);
    w.at(secs(1)).advance().is((), ["bob gets A=1 #2 after 800ms"]);
    assert_eq!(w.core.semaphore("A").expect("known").cooling(), 0);
}

#[test]
fn count_released_a_microsecond_early_waits_for_it() {
    let mut w = two_a_second([ANN, BOB, CAT]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=1").is(acquired(2), ["bob gets A=1 #2"]);
    w.acquire(CAT, "A=2").is(PENDING, ["cat waits for A=2"]);
    w.at(us(999_999)).release(ANN, "A").is(Ok(()), ["ann gives up A=1 #1 after 999.999ms, Released"]);
    assert_eq!(w.core.semaphore("A").expect("known").cooling(), 1);
    let outcome = w.at(secs(1)).release(BOB, "A");
    outcome.is(Ok(()), ["bob gives up A=1 #2 after 1s, Released", "cat gets A=2 #3 after 1s"]);
}

#[test]
fn each_grant_is_due_on_its_own() {
    let mut w = two_a_second([ANN, BOB, CAT, DAN]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.at(ms(300)).acquire(BOB, "A=1").is(acquired(2), ["bob gets A=1 #2"]);
    // Released the other way round.
    w.at(ms(400)).release(BOB, "A").is(Ok(()), ["bob gives up A=1 #2 after 100ms, Released"]);
    w.at(ms(500)).release(ANN, "A").is(Ok(()), ["ann gives up A=1 #1 after 500ms, Released"]);
    w.at(ms(600)).acquire(CAT, "A=1").is(PENDING, ["cat waits for A=1"]);
    w.at(ms(600)).acquire(DAN, "A=1").is(PENDING, ["dan waits for A=1"]);
    w.at(us(999_999)).advance().is((), []);
    w.at(ms(1000)).advance().is((), ["cat gets A=1 #3 after 400ms"]);
    w.at(us(1_299_999)).advance().is((), []);
    w.at(ms(1300)).advance().is((), ["dan gets A=1 #4 after 700ms"]);
}

#[test]
fn count_held_longer_comes_back_at_once() {
    let mut w = two_a_second([ANN, BOB, CAT]);
    w.acquire(ANN, "A=2").is(acquired(1), ["ann gets A=2 #1"]);
    w.acquire(BOB, "A=2").is(PENDING, ["bob waits for A=2"]);
    // It is still held when it would be due.
    w.at(secs(1)).acquire(CAT, "A=1").is(PENDING, ["cat waits for A=1"]);
    let outcome = w.at(ms(1500)).release(ANN, "A");
    outcome.is(Ok(()), ["ann gives up A=2 #1 after 1.5s, Released", "bob gets A=2 #2 after 1.5s"]);
    // And the next grant is due a second after it was given.
    w.at(ms(1600))
        .end(BOB, EndCause::Released)
        .is(true, ["bob gives up A=2 #2 after 100ms, Released", "bob ends, Released"]);
    w.at(us(2_499_999)).advance().is((), []);
    w.at(ms(2500)).advance().is((), ["cat gets A=1 #3 after 1.5s"]);
}

#[test]
fn what_a_lock_shrinks_by_is_due_when_the_lock_is() {
    let mut w = two_a_second([ANN, BOB]);
    w.acquire(ANN, "A=2").is(acquired(1), ["ann gets A=2 #1"]);
    w.at(ms(100)).acquire(ANN, "A=1").is(acquired(1), ["ann shrinks to A=1"]);
    w.at(ms(200)).acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    w.at(secs(1)).advance().is((), ["bob gets A=1 #2 after 800ms"]);
}

#[test]
fn what_comes_back_as_a_waiter_ends_goes_to_the_next() {
    let mut w = two_a_second([ANN, CAT]);
    w.new_peer(BOB, ms(800)).is(Ok(BOB), ["bob begins, 800ms"]);
    w.acquire(ANN, "A=2").is(acquired(1), ["ann gets A=2 #1"]);
    w.release(ANN, "A").is(Ok(()), ["ann gives up A=2 #1 after 0ns, Released"]);
    w.at(ms(160)).acquire_with(BOB, "A=2", 0, Some(ms(800))).is(PENDING, ["bob waits for A=2"]);
    w.acquire(CAT, "A=2").is(PENDING, ["cat waits for A=2"]);
    // Bob is over, and the count is due, at the same instant.
    w.at(secs(1))
        .advance()
        .is((), ["bob stops waiting for A=2, Expired", "bob ends, Expired", "cat gets A=2 #2 after 840ms"]);
}

#[test]
fn a_larger_max_counts_beside_what_cools() {
    let mut w = two_a_second([ANN, BOB]);
    w.acquire(ANN, "A=2").is(acquired(1), ["ann gets A=2 #1"]);
    w.release(ANN, "A").is(Ok(()), ["ann gives up A=2 #1 after 0ns, Released"]);
    w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    let spec = Spec { per: Some(secs(1)), ..max(3) };
    w.at(ms(1)).set("A", spec).is((), ["A has max 3 per 1s", "bob gets A=1 #2 after 1ms"]);
}

#[test]
fn another_rate_moves_what_cools() {
    let per = |per: Duration| Spec { per: Some(per), ..max(2) };
    let mut w = two_a_second([ANN, BOB]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.at(ms(100)).acquire(BOB, "A=1").is(acquired(2), ["bob gets A=1 #2"]);
    w.at(ms(200)).release(ANN, "A").is(Ok(()), ["ann gives up A=1 #1 after 200ms, Released"]);
    w.release(BOB, "A").is(Ok(()), ["bob gives up A=1 #2 after 100ms, Released"]);
    let cooling = |w: &World| w.core.semaphore("A").expect("known").cooling();
    assert_eq!((cooling(&w), w.next_deadline()), (2, Some(secs(1))));
    w.set("A", per(secs(5))).is((), ["A has max 2 per 5s"]);
    assert_eq!((cooling(&w), w.next_deadline()), (2, Some(secs(5))));
    // With the shorter one, the first count is due already, and the second at this moment.
    w.at(ms(600)).set("A", per(ms(500))).is((), ["A has max 2 per 500ms"]);
    assert_eq!(cooling(&w), 0);
    w.acquire(ANN, "A=2").is(acquired(3), ["ann gets A=2 #3"]);
    w.at(ms(700)).release(ANN, "A").is(Ok(()), ["ann gives up A=2 #3 after 100ms, Released"]);
    w.at(ms(800)).set("A", per(ms(300))).is((), ["A has max 2 per 300ms"]);
    assert_eq!((cooling(&w), w.next_deadline()), (2, Some(ms(900))));
    w.set("A", max(2)).is((), ["A has max 2"]);
    assert_eq!(cooling(&w), 0);
}
