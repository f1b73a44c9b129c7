//! Rule 6: bringing back a peer that the server forgot; and what becomes of tokens.

use super::*;

/// A server that gave the tokens up to 99 in an earlier life.
fn forgetful(semaphores: &str) -> World {
    let mut w = World::new("", []);
    w.core = Core::new(w.settings.clone(), 100, 0);
    for (name, count) in parse(semaphores) {
        w = w.with_semaphore(name, max(count));
    }
    w
}

#[test]
fn a_forgotten_peer_comes_back_with_its_locks() {
    let mut w = World::new("A=2 B=1", []);
    w.restore(ANN, secs(1), "A=1 B=1")
        .is(Ok(()), ["ann begins, 1s", "ann restores A=1 without token", "ann restores B=1 without token"]);
    assert_eq!(w.expires_at(ANN), secs(1));
    w.acquire(ANN, "A=1").is(Ok(Status::Acquired(None)), []);
}

#[test]
fn restored_locks_count_even_beyond_max() {
    let mut w = World::new("A=2", [BOB]);
    let outcome = w.restore(ANN, DAY, "A=2");
    outcome.is(Ok(()), ["ann begins, 86400s", "ann restores A=2 without token"]);
    w.restore(CAT, DAY, "A=2")
        .is(Ok(()), ["cat begins, 86400s", "cat restores A=2 without token", "A is overcommitted, 4 of 2"]);
    assert_eq!(w.core.semaphore("A").expect("known").remainder(), -2);
    w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    let outcome = w.at(ms(1)).release(ANN, "A");
    outcome.is(Ok(()), ["ann gives up A=2 without token after 1ms, Released"]);
    let outcome = w.at(ms(2)).acquire(CAT, "A=1");
    outcome.is(Ok(Status::Acquired(None)), ["cat shrinks to A=1", "bob gets A=1 #3 after 2ms"]);
}

#[test]
fn one_lock_beyond_max_is_not_restored() {
    let mut w = World::new("A=2 B=2", []);
    let exceeds = RestoreError::ExceedsMax { semaphore: "A".into(), count: i64::MAX, max: 2 };
    w.restore(ANN, DAY, &format!("B=1 A={}", i64::MAX)).is(Err(exceeds), []);
    assert!(w.core.peer(ANN.by_server()).is_err());
    // What a paused semaphore had before is not known.
    let mut w = World::new("A=0", []);
    w.restore(ANN, DAY, "A=3")
        .is(Ok(()), ["ann begins, 86400s", "ann restores A=3 without token", "A is overcommitted, 3 of 0"]);
}

#[test]
fn a_restored_peer_stands_in_no_queue() {
    let mut w = World::new("A=2", [ANN, BOB]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=2").is(PENDING, ["bob waits for A=2"]);
    let outcome = w.restore(CAT, DAY, "A=1");
    outcome.is(Ok(()), ["cat begins, 86400s", "cat restores A=1 without token"]);
}

#[test]
fn a_known_peer_with_the_same_locks_is_left_as_it_is() {
    let mut w = World::new("A=2 B=1", [ANN]);
    w.acquire(ANN, "A=1 B=1").is(acquired(1), ["ann gets A=1 #1", "ann gets B=1 #2"]);
    w.restore(ANN, DAY, "B=1 A=1").is(Ok(()), []);
    w.acquire(ANN, "A=1").is(acquired(1), []);
    // Its lease may grow, but not shrink, nor end.
    w.restore(ANN, secs(1), "B=1 A=1").is(Ok(()), []);
    w.restore(ANN, Duration::ZERO, "B=1 A=1").is(Ok(()), []);
    assert_eq!(w.expires_at(ANN), DAY);
    w.restore(ANN, 2 * DAY, "B=1 A=1").is(Ok(()), ["ann lasts 172800s"]);
    assert_eq!(w.expires_at(ANN), 2 * DAY);
}

#[test]
fn a_known_peer_with_other_locks_is_a_conflict() {
    let mut w = World::new("A=2 B=1", [ANN, BOB]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.restore(ANN, 2 * DAY, "A=2").is(Err(RestoreError::Conflict), []);
    w.restore(ANN, 2 * DAY, "B=1").is(Err(RestoreError::Conflict), []);
    w.restore(ANN, 2 * DAY, "A=1 B=1").is(Err(RestoreError::Conflict), []);
    w.restore(BOB, 2 * DAY, "A=1").is(Err(RestoreError::Conflict), []);
    w.acquire(BOB, "A=1 B=1").is(acquired(2), ["bob gets A=1 #2", "bob gets B=1 #3"]);
    w.restore(BOB, 2 * DAY, "A=1").is(Err(RestoreError::Conflict), []);
    assert_eq!(w.expires_at(ANN), DAY);
}

#[test]
fn without_locks_a_restore_always_succeeds() {
    let mut w = World::new("A=1", [ANN, BOB]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    w.restore(ANN, secs(1), "").is(Ok(()), []);
    w.restore(BOB, secs(1), "").is(Ok(()), []);
    w.restore(CAT, secs(1), "").is(Ok(()), ["cat begins, 1s"]);
    w.acquire(BOB, "A=1").is(PENDING, []);
}

#[test]
fn a_pending_request_is_no_lock_to_restore() {
    let mut w = World::new("A=1", [ANN, BOB]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    w.restore(BOB, DAY, "A=1").is(Err(RestoreError::Conflict), []);
}

#[test]
fn a_wrong_restore_changes_nothing() {
    let mut w = World::new("A=1", []);
    w.restore(ANN, DAY, "A=1 X=1").is(Err(RestoreError::UnknownSemaphore("X".into())), []);
    let below_one = RestoreError::CountBelowOne { semaphore: "A".into(), count: 0 };
    w.restore(ANN, DAY, "A=0").is(Err(below_one), []);
    w.restore(ANN, DAY, "A=1 A=1").is(Err(RestoreError::NamedTwice("A".into())), []);
    assert_eq!(w.core.peer_count(), 0);
}

#[test]
fn a_token_that_the_restore_names_is_kept() {
    let mut w = forgetful("A=1 B=1");
    let outcome = w.restore_with(ANN, DAY, &[("A", 1, Some(42)), ("B", 1, None)]);
    outcome.is(Ok(()), ["ann begins, 86400s", "ann restores A=1 #42", "ann restores B=1 without token"]);
    w.acquire(ANN, "A=1").is(acquired(42), []);
}

#[test]
fn a_token_at_or_above_the_counter_is_refused() {
    let mut w = forgetful("A=1 B=1 C=1");
    w.restore_with(ANN, DAY, &[("A", 1, Some(100)), ("B", 1, Some(u64::MAX)), ("C", 1, Some(99))]).is(
        Ok(()),
        [
            "ann begins, 86400s",
            "ann restores A=1 without token",
            "ann restores B=1 without token",
            "ann restores C=1 #99",
        ],
    );
}

#[test]
fn a_token_that_is_live_is_refused() {
    let mut w = forgetful("A=9 B=9");
    let outcome = w.restore_with(ANN, DAY, &[("A", 1, Some(42)), ("B", 1, Some(42))]);
    outcome.is(Ok(()), ["ann begins, 86400s", "ann restores A=1 #42", "ann restores B=1 without token"]);
    let outcome = w.restore_with(BOB, DAY, &[("A", 1, Some(42))]);
    outcome.is(Ok(()), ["bob begins, 86400s", "bob restores A=1 without token"]);
    w.release(ANN, "A").is(Ok(()), ["ann gives up A=1 #42 after 0ns, Released"]);
    let outcome = w.restore_with(CAT, DAY, &[("A", 1, Some(42))]);
    outcome.is(Ok(()), ["cat begins, 86400s", "cat restores A=1 #42"]);
}

#[test]
fn later_tokens_are_larger() {
    let mut w = forgetful("A=9");
    w.new_peer(ANN, DAY).is(Ok(ANN), ["ann begins, 86400s"]);
    w.acquire(ANN, "A=1").is(acquired(100), ["ann gets A=1 #100"]);
    let outcome = w.restore_with(BOB, DAY, &[("A", 1, Some(7))]);
    outcome.is(Ok(()), ["bob begins, 86400s", "bob restores A=1 #7"]);
    // A lock without a token uses up a number, which no token will ever be.
    w.restore(CAT, DAY, "A=1").is(Ok(()), ["cat begins, 86400s", "cat restores A=1 without token"]);
    w.release(ANN, "A").is(Ok(()), ["ann gives up A=1 #100 after 0ns, Released"]);
    w.acquire(ANN, "A=1").is(acquired(102), ["ann gets A=1 #102"]);
}
