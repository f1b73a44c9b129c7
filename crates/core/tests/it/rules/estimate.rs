use super::*;

/// What is guessed of the pending request of a peer.
fn estimate(w: &World, peer: PeerId) -> Option<Duration> {
    w.core.peer(peer.by_server()).expect("known").pending().expect("waits").estimated_wait()
}

fn hold_for(w: &mut World, semaphore: &str, length: Duration) {
    let now = w.now;
    assert!(w.acquire(EVE, &format!("{semaphore}=1")).reply.is_ok());
    assert!(w.at(now + length).release(EVE, semaphore).reply.is_ok());
}

#[test]
fn nothing_is_guessed_without_anything_to_go_by() {
    let mut w = World::new("A=1", [ANN, BOB]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    assert_eq!(estimate(&w, BOB), None);
}

#[test]
fn a_wait_is_as_long_as_what_stands_ahead_was_held_lately() {
    let mut w = World::new("A=2", [ANN, BOB, CAT, DAN, EVE]);
    hold_for(&mut w, "A", secs(8));
    for (peer, status) in [(ANN, acquired(2)), (BOB, PENDING), (CAT, PENDING)] {
        assert_eq!(w.acquire(peer, "A=2").reply, status);
    }
    // Two of two places have to come free, then two more.
    assert_eq!((estimate(&w, BOB), estimate(&w, CAT)), (Some(secs(8)), Some(secs(16))));
    w.set("A", max(4)).is((), ["A has max 4", "bob gets A=2 #3 after 0ns"]);
    assert_eq!(estimate(&w, CAT), Some(secs(4)));
    w.set("A", max(0)).is((), ["A has max 0"]);
    assert_eq!(estimate(&w, CAT), None, "nobody knows when a pause ends");
}

#[test]
fn a_rate_is_waited_for_even_if_locks_are_short() {
    let mut w = World::new("", [ANN, BOB, EVE]).with_semaphore("A", Spec { per: Some(secs(10)), ..max(1) });
    hold_for(&mut w, "A", secs(0));
    assert_eq!(w.acquire(ANN, "A=1").reply, PENDING);
    assert_eq!(estimate(&w, ANN), Some(secs(10)));
}

#[test]
fn what_a_rate_holds_back_without_holders_comes_no_sooner_than_it_is_due() {
    let mut w = World::new("", [ANN, BOB, EVE]).with_semaphore("A", Spec { per: Some(secs(80)), ..max(8) });
    assert!(w.acquire(EVE, "A=8").reply.is_ok());
    assert!(w.at(secs(5)).release(EVE, "A").reply.is_ok());
    assert_eq!((w.acquire(ANN, "A=1").reply, w.acquire(BOB, "A=7").reply), (PENDING, PENDING));
    // All of it comes back at one time, not an eighth each ten seconds.
    assert_eq!((estimate(&w, ANN), estimate(&w, BOB)), (Some(secs(75)), Some(secs(80))));
}

#[test]
fn the_slowest_semaphore_of_a_request_decides() {
    let mut w = World::new("A=1 B=1", [ANN, BOB, EVE]);
    hold_for(&mut w, "A", secs(8));
    hold_for(&mut w, "B", secs(2));
    assert_eq!(w.acquire(ANN, "A=1 B=1").reply, acquired(3));
    assert_eq!(w.acquire(BOB, "A=1 B=1").reply, PENDING);
    assert_eq!(estimate(&w, BOB), Some(secs(8)));
}

/// As for round trips in RFC 6298, each new length counts for an eighth.
#[test]
fn the_mean_moves_by_an_eighth() {
    let mut w = World::new("A=1", [ANN, BOB, EVE]);
    for (length, mean) in [(8, 8), (16, 9), (1, 8)] {
        hold_for(&mut w, "A", secs(length));
        assert!(w.acquire(ANN, "A=1").reply.is_ok());
        assert_eq!(w.acquire(BOB, "A=1").reply, PENDING);
        assert_eq!(estimate(&w, BOB), Some(secs(mean)));
        // A lock of the mean's length leaves it as it is.
        let now = w.now;
        assert!(w.release(BOB, "A").reply.is_ok());
        assert!(w.at(now + secs(mean)).release(ANN, "A").reply.is_ok());
    }
}

#[test]
fn nothing_is_guessed_for_what_is_larger_than_there_is() {
    let mut w = World::new("A=2", [ANN, BOB, EVE]);
    hold_for(&mut w, "A", secs(8));
    assert_eq!(w.acquire(ANN, "A=2").reply, acquired(2));
    assert_eq!(w.acquire(BOB, "A=2").reply, PENDING);
    w.set("A", max(1)).is((), ["A has max 1", "A is overcommitted, 2 of 1"]);
    assert_eq!(estimate(&w, BOB), None);
}
