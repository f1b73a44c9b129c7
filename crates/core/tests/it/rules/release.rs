//! Rule 7: releasing a lock, a request, a peer.

use super::*;

#[test]
fn releases_just_that_lock() {
    let mut w = World::new("A=1 B=2", [ANN]);
    w.acquire(ANN, "A=1 B=2").is(acquired(1), ["ann gets A=1 #1", "ann gets B=2 #2"]);
    w.at(ms(1)).release(ANN, "A").is(Ok(()), ["ann gives up A=1 #1 after 1ms, Released"]);
    w.acquire(ANN, "B=2").is(acquired(2), []);
}

#[test]
fn releases_a_pending_request_but_no_lock_beside_it() {
    let mut w = World::new("A=1", [ANN, BOB]).with_semaphore("high", level(1));
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "high=1").is(acquired(2), ["bob gets high=1 #2"]);
    w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    w.release(BOB, "A").is(Ok(()), ["bob stops waiting for A=1, Released"]);
    w.acquire(BOB, "high=1").is(acquired(2), []);
}

#[test]
fn releases_a_lock_but_no_request_beside_it() {
    let mut w = World::new("A=1", [ANN, BOB]).with_semaphore("high", level(1));
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "high=1").is(acquired(2), ["bob gets high=1 #2"]);
    w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    w.release(BOB, "high").is(Ok(()), ["bob gives up high=1 #2 after 0ns, Released"]);
    w.acquire(BOB, "A=1").is(PENDING, []);
}

#[test]
fn of_a_pending_request_over_several_all_goes() {
    let mut w = World::new("A=1 B=1", [ANN, BOB, CAT]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=1 B=1").is(PENDING, ["bob waits for A=1", "bob waits for B=1"]);
    w.acquire(CAT, "B=1").is(PENDING, ["cat waits for B=1"]);
    w.at(ms(1)).release(BOB, "A").is(
        Ok(()),
        [
            "bob stops waiting for A=1, Released",
            "bob stops waiting for B=1, Released",
            "cat gets B=1 #2 after 1ms",
        ],
    );
}

#[test]
fn what_is_not_held_is_released_with_success() {
    let mut w = World::new("A=1", [ANN]);
    w.release(ANN, "A").is(Ok(()), []);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.release(ANN, "A").is(Ok(()), ["ann gives up A=1 #1 after 0ns, Released"]);
    w.release(ANN, "A").is(Ok(()), []);
}

#[test]
fn unknown_names_are_refused() {
    let mut w = World::new("A=1", [ANN]);
    w.release(BOB, "A").is(Err(ReleaseError::UnknownPeer), []);
    w.release(ANN, "X").is(Err(ReleaseError::UnknownSemaphore("X".into())), []);
}

#[test]
fn a_peer_ends_with_all_it_has() {
    let mut w = World::new("A=1", [ANN, BOB, CAT]).with_semaphore("high", level(1));
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "high=5").is(acquired(2), ["bob gets high=5 #2"]);
    w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    w.acquire(CAT, "high=1").is(PENDING, ["cat waits for high=1"]);
    w.at(ms(1)).end(BOB, EndCause::Operator).is(
        true,
        [
            "bob stops waiting for A=1, Operator",
            "bob gives up high=5 #2 after 1ms, Operator",
            "bob ends, Operator",
            "cat gets high=1 #3 after 1ms",
        ],
    );
    w.end(BOB, EndCause::Released).is(false, []);
}
