//! How large the tables may grow.

use throttle_core::{LimitReached, Limits, Resource};

use super::*;

fn limited() -> World {
    let limits =
        Limits { peers: 3, waiters_per_semaphore: 1, locks_per_peer: 2, ..Settings::default().limits };
    let mut w = World::with_settings(Settings { limits, ..Settings::default() })
        .with_semaphore("high", level(1))
        .with_semaphore("A", max(1))
        .with_semaphore("B", max(1));
    w.new_peer(ANN, DAY).is(Ok(ANN), ["ann begins, 86400s"]);
    w.new_peer(BOB, DAY).is(Ok(BOB), ["bob begins, 86400s"]);
    w.new_peer(CAT, secs(1)).is(Ok(CAT), ["cat begins, 1s"]);
    w
}

#[test]
fn of_peers() {
    let reached = LimitReached { resource: Resource::Peers, limit: 3 };
    let mut w = limited();
    w.new_peer(DAN, DAY).is(Err(reached), []);
    w.restore(DAN, DAY, "A=1").is(Err(RestoreError::Limit(reached)), []);
    w.restore(ANN, DAY, "").is(Ok(()), []);
    // The end of one makes room within the same command.
    w.at(ms(1050)).new_peer(DAN, DAY).is(Ok(DAN), ["cat ends, Expired", "dan begins, 86400s"]);
}

#[test]
fn of_waiters() {
    let mut w = limited();
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    let reached = Err(AcquireError::Limit(LimitReached { resource: Resource::Waiters, limit: 1 }));
    w.acquire(CAT, "A=1").is(reached.clone(), []);
    w.acquire(CAT, "B=1 A=1").is(reached, []);
    // To ask again is no new request.
    w.acquire(BOB, "A=1").is(PENDING, []);
    w.acquire(CAT, "B=1").is(acquired(2), ["cat gets B=1 #2"]);
}

#[test]
fn of_locks() {
    let mut w = limited();
    let reached = LimitReached { resource: Resource::Locks, limit: 2 };
    w.acquire(ANN, "high=1 A=1 B=1").is(Err(AcquireError::Limit(reached)), []);
    w.end(CAT, EndCause::Released).is(true, ["cat ends, Released"]);
    w.restore(CAT, DAY, "high=1 A=1 B=1").is(Err(RestoreError::Limit(reached)), []);
    w.acquire(ANN, "high=1").is(acquired(1), ["ann gets high=1 #1"]);
    w.acquire(ANN, "high=1 A=1").is(acquired(1), ["ann gets A=1 #2"]);
    // What is pending counts too.
    w.acquire(BOB, "high=1").is(acquired(3), ["bob gets high=1 #3"]);
    w.acquire(BOB, "A=1 B=1").is(Err(AcquireError::Limit(reached)), []);
    w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
}

#[test]
fn of_semaphores_in_one_request() {
    let limits = Limits { locks_per_request: 2, ..Settings::default().limits };
    let mut w = World::with_settings(Settings { limits, ..Settings::default() });
    for name in ["A", "B", "C"] {
        w = w.with_semaphore(name, max(1));
    }
    w.new_peer(ANN, DAY).is(Ok(ANN), ["ann begins, 86400s"]);
    let reached = LimitReached { resource: Resource::Parts, limit: 2 };
    w.acquire(ANN, "A=1 B=1 C=1").is(Err(AcquireError::Limit(reached)), []);
    w.acquire(ANN, "A=1 B=1").is(acquired(1), ["ann gets A=1 #1", "ann gets B=1 #2"]);
}

#[test]
fn of_what_requests_over_several_semaphores_ask_for() {
    let limits = Limits { locks_per_queue: 5, ..Settings::default().limits };
    let mut w = World::with_settings(Settings { limits, ..Settings::default() });
    for name in ["A", "B", "C"] {
        w = w.with_semaphore(name, max(1));
    }
    for peer in [ANN, BOB, CAT, DAN] {
        w.new_peer(peer, DAY).is(Ok(peer), [&format!("{} begins, 86400s", name(peer))]);
    }
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=1 B=1").is(PENDING, ["bob waits for A=1", "bob waits for B=1"]);
    let waits = ["cat waits for A=1", "cat waits for B=1", "cat waits for C=1"];
    w.acquire(CAT, "A=1 B=1 C=1").is(PENDING, waits);
    let reached = LimitReached { resource: Resource::JointParts, limit: 5 };
    w.acquire(DAN, "A=1 C=1").is(Err(AcquireError::Limit(reached)), []);
    // Requests over one semaphore cost nothing more.
    w.acquire(DAN, "A=1").is(PENDING, ["dan waits for A=1"]);
    let leaves = ["bob stops waiting for A=1, Released", "bob stops waiting for B=1, Released"];
    w.release(BOB, "A").is(Ok(()), leaves);
    w.acquire(BOB, "A=1 C=1").is(PENDING, ["bob waits for A=1", "bob waits for C=1"]);
}

#[test]
fn a_refusal_says_what_is_wrong_and_what_would_be_right() {
    let mut w = World::new("A=1", [ANN]);
    let refusal = |w: &mut World, locks| w.acquire(ANN, locks).reply.expect_err("refused").to_string();
    assert_eq!(refusal(&mut w, "A=0"), "the count on \"A\" must be at least 1, not 0");
    assert_eq!(refusal(&mut w, "A=1 A=1"), "\"A\" is named twice in one request");
    let restored = w.restore(BOB, HOUR, "A=0").reply.expect_err("refused").to_string();
    assert_eq!(restored, "the count on \"A\" must be at least 1, not 0");
}
