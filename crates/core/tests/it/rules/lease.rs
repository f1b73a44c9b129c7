//! Rules 5 and 8: when a lease ends, what that wakes, and which way time runs.

use super::*;

fn without_margin() -> World {
    World::with_settings(Settings { margin_max: Duration::ZERO, ..Settings::default() })
}

#[test]
fn a_peer_ends_a_twentieth_after_its_promised_time_to_the_microsecond() {
    let mut w = World::new("", []);
    w.new_peer(ANN, secs(1)).is(Ok(ANN), ["ann begins, 1s"]);
    assert_eq!(w.expires_at(ANN), secs(1));
    assert_eq!(w.next_deadline(), Some(ms(1050)));
    w.at(us(1_049_999)).advance().is((), []);
    assert_eq!(w.core.peer_count(), 1);
    w.at(us(1_050_000)).advance().is((), ["ann ends, Expired"]);
    assert_eq!(w.next_deadline(), None);
}

#[test]
fn the_margin_is_half_a_minute_at_most() {
    let mut w = World::new("", []);
    w.new_peer(ANN, secs(598)).is(Ok(ANN), ["ann begins, 598s"]);
    assert_eq!(w.next_deadline(), Some(ms(627_900)));
    w.heartbeat(ANN, secs(600)).is(Ok(()), ["ann lasts 600s"]);
    w.at(ms(627_900)).advance().is((), []);
    assert_eq!(w.next_deadline(), Some(secs(630)));
    w.at(secs(630)).advance().is((), ["ann ends, Expired"]);
    w.new_peer(BOB, HOUR).is(Ok(BOB), ["bob begins, 3600s"]);
    assert_eq!(w.next_deadline(), Some(secs(630) + HOUR + secs(30)));
}

#[test]
fn without_a_margin_a_peer_ends_at_its_promised_time() {
    let mut w = without_margin();
    w.new_peer(ANN, secs(1)).is(Ok(ANN), ["ann begins, 1s"]);
    w.at(us(999_999)).advance().is((), []);
    w.at(secs(1)).advance().is((), ["ann ends, Expired"]);
}

#[test]
fn a_renewal_sent_at_the_promised_end_is_in_time() {
    let mut w = World::new("A=1", [BOB]);
    w.new_peer(ANN, secs(1)).is(Ok(ANN), ["ann begins, 1s"]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    w.at(ms(1049)).heartbeat(ANN, secs(1)).is(Ok(()), []);
    assert_eq!(w.expires_at(ANN), ms(2049));
    w.at(ms(2098)).advance().is((), []);
    w.at(ms(2099)).advance().is(
        (),
        ["ann gives up A=1 #1 after 2.099s, Expired", "ann ends, Expired", "bob gets A=1 #2 after 2.099s"],
    );
}

#[test]
fn a_heartbeat_may_shorten_a_lease() {
    let mut w = World::new("", []);
    w.new_peer(ANN, HOUR).is(Ok(ANN), ["ann begins, 3600s"]);
    w.heartbeat(ANN, secs(1)).is(Ok(()), ["ann lasts 1s"]);
    assert_eq!(w.next_deadline(), Some(ms(1050)));
    w.at(ms(1050)).advance().is((), ["ann ends, Expired"]);
}

#[test]
fn a_request_may_move_the_lease() {
    let mut w = World::new("A=1", []);
    w.new_peer(ANN, secs(1)).is(Ok(ANN), ["ann begins, 1s"]);
    w.at(ms(100)).acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    assert_eq!(w.expires_at(ANN), secs(1));
    let outcome = w.at(ms(200)).acquire_with(ANN, "A=1", 0, Some(secs(2)));
    outcome.is(acquired(1), ["ann lasts 2s"]);
    assert_eq!(w.expires_at(ANN), ms(2200));
}

#[test]
fn no_command_sees_a_peer_that_is_over() {
    let ended = "ann ends, Expired";
    let over = || {
        let mut w = World::new("A=1", []);
        w.new_peer(ANN, secs(1)).is(Ok(ANN), ["ann begins, 1s"]);
        w.at(ms(1050));
        w
    };
    over().heartbeat(ANN, secs(1)).is(Err(UnknownPeer), [ended]);
    over().acquire(ANN, "A=1").is(Err(AcquireError::UnknownPeer), [ended]);
    over().release(ANN, "A").is(Err(ReleaseError::UnknownPeer), [ended]);
    over().end(ANN, EndCause::Released).is(false, [ended]);
    over().new_peer(ANN, secs(1)).is(Ok(ANN), [ended, "ann begins, 1s"]);
    over().restore(ANN, secs(1), "").is(Ok(()), [ended, "ann begins, 1s"]);
    over().set("A", max(2)).is((), [ended, "A has max 2"]);
    over().remove("A", false).is(Ok(()), [ended, "A is removed"]);
}

#[test]
fn a_command_finds_the_count_of_a_peer_that_is_over_given_out() {
    let mut w = World::new("A=1", [BOB, CAT]);
    w.new_peer(ANN, secs(1)).is(Ok(ANN), ["ann begins, 1s"]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    w.at(ms(1050)).acquire(CAT, "A=1").is(
        PENDING,
        [
            "ann gives up A=1 #1 after 1.05s, Expired",
            "ann ends, Expired",
            "bob gets A=1 #2 after 1.05s",
            "cat waits for A=1",
        ],
    );
}

#[test]
fn a_lease_of_zero_ends_after_its_command_is_answered() {
    let mut w = World::new("A=1", [ANN, BOB, CAT, DAN]);
    w.new_peer(EVE, Duration::ZERO).is(Ok(EVE), ["eve begins, 0ns", "eve ends, Expired"]);
    w.heartbeat(ANN, Duration::ZERO).is(Ok(()), ["ann lasts 0ns", "ann ends, Expired"]);
    w.acquire(CAT, "A=1").is(acquired(1), ["cat gets A=1 #1"]);
    w.acquire_with(BOB, "A=1", 0, Some(Duration::ZERO)).is(
        PENDING,
        ["bob lasts 0ns", "bob waits for A=1", "bob stops waiting for A=1, Expired", "bob ends, Expired"],
    );
    w.acquire(DAN, "A=1").is(PENDING, ["dan waits for A=1"]);
    w.acquire_with(CAT, "A=1", 0, Some(Duration::ZERO)).is(
        acquired(1),
        [
            "cat lasts 0ns",
            "cat gives up A=1 #1 after 0ns, Expired",
            "cat ends, Expired",
            "dan gets A=1 #2 after 0ns",
        ],
    );
    w.restore(EVE, Duration::ZERO, "A=1").is(
        Ok(()),
        [
            "eve begins, 0ns",
            "eve restores A=1 without token",
            "A is overcommitted, 2 of 1",
            "eve gives up A=1 without token after 0ns, Expired",
            "eve ends, Expired",
        ],
    );
}

#[test]
fn a_lease_of_zero_is_answered_with_the_grant() {
    let mut w = World::new("A=1", [ANN]);
    w.acquire_with(ANN, "A=1", 0, Some(Duration::ZERO)).is(
        acquired(1),
        ["ann lasts 0ns", "ann gets A=1 #1", "ann gives up A=1 #1 after 0ns, Expired", "ann ends, Expired"],
    );
}

#[test]
fn a_refused_request_with_a_lease_of_zero_ends_the_peer_too() {
    let mut w = World::new("A=1", [ANN]);
    let below_one = AcquireError::CountBelowOne { semaphore: "A".into(), count: 0 };
    let outcome = w.acquire_with(ANN, "A=0", 0, Some(Duration::ZERO));
    outcome.is(Err(below_one), ["ann lasts 0ns", "ann ends, Expired"]);
}

#[test]
fn a_grant_to_a_waiter_renews_its_lease_in_full() {
    let mut w = World::new("A=1", [ANN]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.new_peer(BOB, secs(1)).is(Ok(BOB), ["bob begins, 1s"]);
    w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    let outcome = w.at(ms(1049)).release(ANN, "A");
    outcome.is(Ok(()), ["ann gives up A=1 #1 after 1.049s, Released", "bob gets A=1 #2 after 1.049s"]);
    assert_eq!(w.expires_at(BOB), ms(2049));
    w.at(ms(2098)).advance().is((), []);
    let ended = ["bob gives up A=1 #2 after 1.05s, Expired", "bob ends, Expired"];
    w.at(ms(2099)).advance().is((), ended);
}

#[test]
fn of_two_peers_that_end_at_one_instant_none_gets_what_the_other_held() {
    // Whichever of the two was made first.
    for peers in [[ANN, BOB], [BOB, ANN]] {
        let mut w = World::new("A=1", [CAT]);
        for peer in peers {
            w.new_peer(peer, secs(1)).is(Ok(peer), [&format!("{} begins, 1s", name(peer))]);
        }
        w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
        w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
        w.acquire(CAT, "A=1").is(PENDING, ["cat waits for A=1"]);
        let outcome = w.at(ms(1050)).advance();
        let mut events = outcome.events;
        assert_eq!(events.pop().as_deref(), Some("cat gets A=1 #2 after 1.05s"));
        events.sort_unstable();
        assert_eq!(
            events,
            [
                "ann ends, Expired",
                "ann gives up A=1 #1 after 1.05s, Expired",
                "bob ends, Expired",
                "bob stops waiting for A=1, Expired",
            ]
        );
    }
}

#[test]
fn a_waiter_that_ends_first_gets_nothing() {
    let mut w = World::new("A=1", [CAT]);
    w.new_peer(ANN, us(1_000_020)).is(Ok(ANN), ["ann begins, 1.00002s"]);
    w.new_peer(BOB, secs(1)).is(Ok(BOB), ["bob begins, 1s"]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    // Both are over when the core learns the time, bob by 21 µs less.
    w.at(ms(1051)).advance().is(
        (),
        [
            "bob stops waiting for A=1, Expired",
            "bob ends, Expired",
            "ann gives up A=1 #1 after 1.051s, Expired",
            "ann ends, Expired",
        ],
    );
}

#[test]
fn the_longest_lease_is_no_burden() {
    let ten_years = Duration::from_hours(24 * 3653);
    let mut w = World::new("", []);
    w.new_peer(ANN, ten_years).is(Ok(ANN), ["ann begins, 315619200s"]);
    assert_eq!(w.next_deadline(), Some(ten_years + secs(30)));
    w.new_peer(BOB, Duration::MAX).is(Ok(BOB), ["bob begins, 18446744073709551615.999999999s"]);
    assert_eq!(w.core.peer_count(), 2);
}

#[test]
fn time_never_runs_backwards() {
    let mut w = World::new("A=1", []);
    w.at(ms(100)).new_peer(ANN, secs(1)).is(Ok(ANN), ["ann begins, 1s"]);
    assert_eq!(w.core.advance(START), START + ms(100));
    // A smaller time is taken as the largest one seen: the events say so, and the lease is not cut.
    w.at(ms(50)).acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.at(ms(0)).heartbeat(ANN, secs(1)).is(Ok(()), []);
    assert_eq!(w.expires_at(ANN), ms(1100));
}

#[test]
fn an_id_that_is_taken_is_not_given_again() {
    let mut w = World::new("", [ANN]);
    let other = PeerId(7_806_831_264_735_756_412);
    let begins = "peer 7806831264735756412 begins, 1s";
    w.new_peer(ANN, secs(1)).is(Ok(other), [begins]);
}

#[test]
fn many_leases_are_renewed_in_one_command() {
    let mut w = World::new("A=1", [ANN, BOB]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    let renew = |w: &mut World, expires_in| {
        let mut gone = Vec::new();
        let peers = [CAT, ANN, BOB, ANN];
        let done = w.run(|core, now| {
            core.heartbeats(now, By::Anybody, &peers, expires_in, |peer| gone.push(peer));
        });
        (done.events, gone)
    };
    w.now += secs(5);
    assert_eq!(
        renew(&mut w, HOUR),
        (vec!["ann lasts 3600s".to_owned(), "bob lasts 3600s".to_owned()], vec![CAT])
    );
    assert_eq!([ANN, BOB].map(|peer| w.expires_at(peer)), [HOUR + secs(5); 2]);
    // One of length zero is over at once, and is known no more in the same command.
    let (events, gone) = renew(&mut w, Duration::ZERO);
    let ends = ["ann lasts 0ns", "ann gives up A=1 #1 after 5s, Expired", "ann ends, Expired"];
    assert_eq!(events, [&ends[..], &["bob lasts 0ns", "bob ends, Expired"]].concat());
    assert_eq!(gone, [CAT, ANN]);
    // What is over is not renewed.
    w.new_peer(CAT, secs(10)).is(Ok(CAT), ["cat begins, 10s"]);
    w.now += secs(11);
    assert_eq!(renew(&mut w, HOUR), (vec!["cat ends, Expired".to_owned()], vec![CAT, ANN, BOB, ANN]));
}
