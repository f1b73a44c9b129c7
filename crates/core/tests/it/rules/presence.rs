//! A waiter must be there: whoever waited with a connection is granted nothing while it has none.

use super::*;

const GRACE: Duration = Duration::from_secs(10);

/// Ann holds `A`, bob waits with a connection, cat waits behind him.
fn bob_waits() -> World {
    let mut w = World::new("A=1", [ANN, BOB, CAT]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    w.connect(BOB).is(Ok(()), ["bob is connected"]);
    w.acquire(CAT, "A=1").is(PENDING, ["cat waits for A=1"]);
    w
}

#[test]
fn a_connected_waiter_is_granted() {
    let mut w = bob_waits();
    // Only the first time is worth an event.
    w.connect(BOB).is(Ok(()), []);
    let next = ["ann gives up A=1 #1 after 0ns, Released", "bob gets A=1 #2 after 0ns"];
    w.release(ANN, "A").is(Ok(()), next);
}

#[test]
fn a_waiter_whose_connection_is_gone_holds_its_place_for_a_while() {
    let mut w = bob_waits();
    w.disconnect(BOB).is((), []);
    w.at(secs(1)).release(ANN, "A").is(Ok(()), ["ann gives up A=1 #1 after 1s, Released"]);
    w.at(us(9_999_999)).advance().is((), []);
    w.connect(BOB).is(Ok(()), ["bob gets A=1 #2 after 9.999999s"]);
}

#[test]
fn a_waiter_that_is_gone_for_too_long_is_passed_over_at_that_moment() {
    let mut w = bob_waits();
    w.at(secs(1)).disconnect(BOB).is((), []);
    w.at(secs(2)).release(ANN, "A").is(Ok(()), ["ann gives up A=1 #1 after 2s, Released"]);
    assert_eq!(w.next_deadline(), Some(secs(11)));
    w.at(secs(11)).advance().is((), ["cat gets A=1 #2 after 11s"]);
    assert!(w.is_absent(BOB));
    // It keeps its place.
    w.acquire(ANN, "A=1").is(PENDING, ["ann waits for A=1"]);
    w.connect(BOB).is(Ok(()), []);
    assert!(!w.is_absent(BOB));
    let next = ["cat gives up A=1 #2 after 0ns, Released", "bob gets A=1 #3 after 11s"];
    w.release(CAT, "A").is(Ok(()), next);
}

#[test]
fn an_absent_waiter_is_served_at_once_when_it_asks_again() {
    let asks: [fn(&mut World) -> Vec<String>; 2] =
        [|w| w.acquire(BOB, "A=1").events, |w| w.run(|core, now| core.poll(now, BOB.by_server())).events];
    for ask in asks {
        let mut w = bob_waits();
        w.end(CAT, EndCause::Released)
            .is(true, ["cat stops waiting for A=1, Released", "cat ends, Released"]);
        w.disconnect(BOB).is((), []);
        w.at(secs(20)).release(ANN, "A").is(Ok(()), ["ann gives up A=1 #1 after 20s, Released"]);
        assert_eq!(ask(&mut w), ["bob gets A=1 #2 after 20s"]);
    }
}

#[test]
fn whoever_asks_again_without_its_turn_is_waited_for_anew() {
    let mut w = bob_waits();
    w.disconnect(BOB).is((), []);
    w.at(secs(20)).acquire(BOB, "A=1").is(PENDING, []);
    assert!(!w.is_absent(BOB));
    w.release(ANN, "A").is(Ok(()), ["ann gives up A=1 #1 after 20s, Released"]);
    w.at(secs(29)).advance().is((), []);
    w.at(secs(30)).advance().is((), ["cat gets A=1 #2 after 30s"]);
    assert!(w.is_absent(BOB));
}

#[test]
fn a_waiter_that_never_had_a_connection_is_never_absent() {
    let mut w = World::new("A=1", [ANN, BOB]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    w.disconnect(BOB).is((), []);
    let next = ["ann gives up A=1 #1 after 3600s, Released", "bob gets A=1 #2 after 3600s"];
    w.at(HOUR).release(ANN, "A").is(Ok(()), next);
}

#[test]
fn an_absent_request_over_several_holds_up_nobody_in_any_queue() {
    let mut w = World::new("A=1 B=1", [ANN, BOB, CAT]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=1 B=1").is(PENDING, ["bob waits for A=1", "bob waits for B=1"]);
    w.connect(BOB).is(Ok(()), ["bob is connected"]);
    w.acquire(CAT, "B=1").is(PENDING, ["cat waits for B=1"]);
    w.disconnect(BOB).is((), []);
    w.at(GRACE).advance().is((), ["cat gets B=1 #2 after 10s"]);
    w.release(ANN, "A").is(Ok(()), ["ann gives up A=1 #1 after 10s, Released"]);
    w.connect(BOB).is(Ok(()), []);
    let next =
        ["cat gives up B=1 #2 after 0ns, Released", "bob gets A=1 #3 after 10s", "bob gets B=1 #4 after 10s"];
    w.release(CAT, "B").is(Ok(()), next);
}

#[test]
fn a_smaller_count_that_fits_is_granted_to_one_that_was_gone() {
    let mut w = World::new("A=2", [ANN, BOB]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=2").is(PENDING, ["bob waits for A=2"]);
    w.connect(BOB).is(Ok(()), ["bob is connected"]);
    w.disconnect(BOB).is((), []);
    w.at(secs(20)).acquire(BOB, "A=1").is(acquired(2), ["bob shrinks to A=1", "bob gets A=1 #2 after 20s"]);
}

#[test]
fn without_a_grace_a_waiter_is_passed_over_at_once() {
    let mut w = World::with_settings(Settings { absent_after: Duration::ZERO, ..Settings::default() })
        .with_semaphore("A", max(1));
    for peer in [ANN, BOB] {
        w.new_peer(peer, DAY).is(Ok(peer), [&format!("{} begins, 86400s", name(peer))]);
    }
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    w.connect(BOB).is(Ok(()), ["bob is connected"]);
    w.disconnect(BOB).is((), []);
    assert!(w.is_absent(BOB));
    w.release(ANN, "A").is(Ok(()), ["ann gives up A=1 #1 after 0ns, Released"]);
    w.acquire(BOB, "A=1").is(acquired(2), ["bob gets A=1 #2 after 0ns"]);
}

/// Bob is absent where ann and he would wait for each other: she need not care, and he is told when he comes back.
#[test]
fn an_absent_waiter_closes_no_circle_until_it_comes_back() {
    let detecting = |max| Spec { deadlock: Deadlock::Detect, ..super::max(max) };
    let mut w =
        World::new("", [ANN, BOB, CAT]).with_semaphore("c", detecting(1)).with_semaphore("d", detecting(1));
    w.acquire(ANN, "c=1").is(acquired(1), ["ann gets c=1 #1"]);
    w.acquire(CAT, "d=1").is(acquired(2), ["cat gets d=1 #2"]);
    w.acquire(BOB, "c=1 d=1").is(PENDING, ["bob waits for c=1", "bob waits for d=1"]);
    w.connect(BOB).is(Ok(()), ["bob is connected"]);
    w.disconnect(BOB).is((), []);
    w.at(GRACE).acquire(ANN, "d=1").is(PENDING, ["ann waits for d=1"]);
    let link = |peer, semaphore: &str, blocker, is_holder| Link {
        peer,
        semaphore: semaphore.into(),
        blocker,
        is_holder,
    };
    let chain = [link(BOB, "c", ANN, true), link(ANN, "d", BOB, false)];
    // Once cat has released d, ann would wait for bob, who is ahead of her, and he for her.
    w.connect(BOB).is(Err(AcquireError::Deadlock { chain: chain.into() }), []);
    assert!(w.is_absent(BOB));
    let next = ["cat gives up d=1 #2 after 10s, Released", "ann gets d=1 #3 after 0ns"];
    w.release(CAT, "d").is(Ok(()), next);
}

#[test]
fn the_end_of_a_peer_ends_its_absence() {
    let mut w = bob_waits();
    w.disconnect(BOB).is((), []);
    w.end(BOB, EndCause::Released).is(true, ["bob stops waiting for A=1, Released", "bob ends, Released"]);
    w.at(GRACE).advance().is((), []);
}

#[test]
fn after_a_restart_every_connection_is_gone() {
    let w = bob_waits();
    let snapshot = w.core.snapshot();
    let mut w = World::with_settings(Settings::default());
    for event in &snapshot {
        w.core.replay(event).expect("fits");
    }
    w.at(secs(1)).run(Core::end_replay).is((), []);
    w.release(ANN, "A").is(Ok(()), ["ann gives up A=1 #1 after 1s, Released"]);
    w.at(secs(11)).advance().is((), ["cat gets A=1 #2 after 11s"]);
}
