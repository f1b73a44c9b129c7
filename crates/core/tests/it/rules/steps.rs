//! So much may be due at once that others would wait for long: it is done in steps, and nobody sees what is overdue.

use super::*;

/// Two of everything in a step.
fn in_steps() -> World {
    World::with_settings(Settings { margin_max: Duration::ZERO, step: 2, ..Settings::default() })
}

fn with_peers(mut w: World, lease: Duration, peers: &[PeerId]) -> World {
    for &peer in peers {
        let begins = format!("{} begins, {}s", name(peer), lease.as_secs());
        w.new_peer(peer, lease).is(Ok(peer), [&begins]);
    }
    w
}

#[test]
fn what_ends_at_one_instant_ends_in_steps() {
    let mut w = with_peers(in_steps(), secs(1), &[ANN, BOB, CAT, DAN, EVE]);
    w.at(secs(1)).advance().is((), ["ann ends, Expired", "bob ends, Expired"]);
    assert!(w.core.is_behind());
    assert_eq!(w.next_deadline(), Some(secs(1)), "the rest is due now");
    w.advance().is((), ["cat ends, Expired", "dan ends, Expired"]);
    w.advance().is((), ["eve ends, Expired"]);
    assert!(!w.core.is_behind());
    assert_eq!(w.next_deadline(), None);
}

#[test]
fn locks_count_and_so_do_parts_of_a_request() {
    let mut w = in_steps().with_semaphore("A", max(1)).with_semaphore("B", max(1));
    w = with_peers(w.with_semaphore("C", max(1)), secs(1), &[ANN, BOB, CAT]);
    w = with_peers(w, HOUR, &[DAN]);
    w.acquire(DAN, "B=1").is(acquired(1), ["dan gets B=1 #1"]);
    w.acquire(ANN, "A=1 C=1").is(acquired(2), ["ann gets A=1 #2", "ann gets C=1 #3"]);
    w.acquire(BOB, "A=1 B=1").is(PENDING, ["bob waits for A=1", "bob waits for B=1"]);
    w.at(secs(1)).advance().is(
        (),
        [
            "ann gives up A=1 #2 after 1s, Expired",
            "ann gives up C=1 #3 after 1s, Expired",
            "ann ends, Expired",
        ],
    );
    assert!(w.core.is_behind(), "three are a step");
    w.advance().is(
        (),
        ["bob stops waiting for A=1, Expired", "bob stops waiting for B=1, Expired", "bob ends, Expired"],
    );
    assert!(w.core.is_behind(), "and so are three of another kind");
    w.advance().is((), ["cat ends, Expired"]);
}

#[test]
fn a_command_that_names_a_peer_whose_lease_is_over_ends_it_first() {
    let mut w = with_peers(in_steps().with_semaphore("A", max(1)), secs(1), &[ANN, BOB, CAT, DAN, EVE]);
    w.at(secs(1)).advance().is((), ["ann ends, Expired", "bob ends, Expired"]);
    w.heartbeat(EVE, HOUR).is(Err(UnknownPeer), ["eve ends, Expired"]);
    w.acquire(DAN, "A=1").is(Err(AcquireError::UnknownPeer), ["dan ends, Expired"]);
    w.advance().is((), ["cat ends, Expired"]);
}

#[test]
fn what_an_overdue_peer_held_is_granted_though_the_command_that_named_it_is_refused() {
    let mut w = with_peers(in_steps().with_semaphore("A", max(1)), secs(1), &[ANN, BOB, CAT]);
    w = with_peers(w, HOUR, &[DAN]);
    w.acquire(CAT, "A=1").is(acquired(1), ["cat gets A=1 #1"]);
    w.acquire(DAN, "A=1").is(PENDING, ["dan waits for A=1"]);
    w.at(secs(1)).advance().is((), ["ann ends, Expired", "bob ends, Expired"]);
    // Nothing is due after that, so nobody would look again.
    w.heartbeat(CAT, HOUR).is(
        Err(UnknownPeer),
        ["cat gives up A=1 #1 after 1s, Expired", "cat ends, Expired", "dan gets A=1 #2 after 1s"],
    );
    w.advance().is((), []);
    assert!(!w.core.is_behind());
}

#[test]
fn nobody_is_granted_anything_after_the_lease_is_over() {
    let mut w = with_peers(in_steps().with_semaphore("A", max(1)), secs(1), &[ANN, BOB, CAT]);
    w = with_peers(w, HOUR, &[DAN]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    for peer in [CAT, DAN] {
        w.acquire(peer, "A=1").is(PENDING, [&format!("{} waits for A=1", name(peer))]);
    }
    // Ann is all of a step, with her lock; Cat would be next.
    w.at(secs(1)).advance().is(
        (),
        [
            "ann gives up A=1 #1 after 1s, Expired",
            "ann ends, Expired",
            "cat stops waiting for A=1, Expired",
            "cat ends, Expired",
            "dan gets A=1 #2 after 1s",
        ],
    );
    w.advance().is((), ["bob ends, Expired"]);
}

#[test]
fn who_is_over_is_part_of_no_deadlock() {
    let detects = Spec { deadlock: Deadlock::Detect, ..max(1) };
    let mut w = in_steps().with_semaphore("A", detects).with_semaphore("B", detects);
    w = with_peers(w, secs(1), &[CAT, EVE, ANN]);
    w = with_peers(w, HOUR, &[BOB]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "B=1").is(acquired(2), ["bob gets B=1 #2"]);
    w.acquire(ANN, "B=1").is(PENDING, ["ann waits for B=1"]);
    w.at(secs(1)).advance().is((), ["cat ends, Expired", "eve ends, Expired"]);
    w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    w.advance().is(
        (),
        [
            "ann stops waiting for B=1, Expired",
            "ann gives up A=1 #1 after 1s, Expired",
            "ann ends, Expired",
            "bob gets A=1 #3 after 0ns",
        ],
    );
}

#[test]
fn a_crowd_is_evicted_in_steps() {
    let mut w = with_peers(in_steps().with_semaphore("A", max(2)), HOUR, &[ANN, BOB, CAT]);
    for (peer, token) in [(ANN, 1), (BOB, 2)] {
        w.acquire(peer, "A=1").is(acquired(token), [&format!("{} gets A=1 #{token}", name(peer))]);
    }
    w.acquire(CAT, "A=1").is(PENDING, ["cat waits for A=1"]);
    // Waiters go first, so that none of them is granted what a holder gives up.
    w.evict("A").is(
        Ok(1),
        [
            "A takes no new requests",
            "cat stops waiting for A=1, Removed",
            "ann gives up A=1 #1 after 0ns, Removed",
        ],
    );
    w.acquire(ANN, "A=1").is(Err(AcquireError::UnknownSemaphore("A".into())), []);
    w.evict("A").is(Ok(0), ["bob gives up A=1 #2 after 0ns, Removed", "A is removed"]);
    w.evict("A").is(Err(UnknownSemaphore("A".into())), []);
}

#[test]
fn what_cools_comes_back_in_steps() {
    let per = Spec { per: Some(secs(1)), ..max(1) };
    let mut w = in_steps();
    for semaphore in ["A", "B", "C"] {
        w = w.with_semaphore(semaphore, per);
    }
    w = with_peers(w, HOUR, &[ANN, BOB, CAT, DAN]);
    w.acquire(ANN, "A=1 B=1 C=1").is(acquired(1), ["ann gets A=1 #1", "ann gets B=1 #2", "ann gets C=1 #3"]);
    let gives_up = |token, semaphore| format!("ann gives up {semaphore}=1 #{token} after 0ns, Released");
    let expected = [gives_up(1, "A"), gives_up(2, "B"), gives_up(3, "C"), "ann ends, Released".to_owned()];
    w.end(ANN, EndCause::Released).is(true, expected.each_ref().map(String::as_str));
    for (peer, semaphore) in [(BOB, "A=1"), (CAT, "B=1"), (DAN, "C=1")] {
        w.acquire(peer, semaphore).is(PENDING, [&format!("{} waits for {semaphore}", name(peer))]);
    }
    w.at(secs(1)).advance().is((), ["bob gets A=1 #4 after 1s", "cat gets B=1 #5 after 1s"]);
    assert!(w.core.is_behind());
    w.advance().is((), ["dan gets C=1 #6 after 1s"]);
}

#[test]
fn who_is_gone_is_passed_over_in_steps() {
    let mut w = with_peers(in_steps().with_semaphore("A", max(1)), HOUR, &[ANN, BOB, CAT, DAN]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    for peer in [BOB, CAT, DAN] {
        let peer_name = name(peer);
        w.acquire(peer, "A=1").is(PENDING, [&format!("{peer_name} waits for A=1")]);
        w.connect(peer).is(Ok(()), [&format!("{peer_name} is connected")]);
        w.disconnect(peer).is((), []);
    }
    w.at(secs(10)).advance().is((), []);
    assert_eq!([BOB, CAT, DAN].map(|peer| w.is_absent(peer)), [true, true, false]);
    w.advance().is((), []);
    assert!(w.is_absent(DAN) && !w.core.is_behind());
}
