//! Rules 1 and 2: first come, first served; one step for several semaphores; waiters are granted in order.

use super::*;

#[test]
fn first_come_first_served() {
    let mut w = World::new("A=1", [ANN, BOB, CAT]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.at(ms(10)).acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    w.at(ms(20)).acquire(CAT, "A=1").is(PENDING, ["cat waits for A=1"]);
    let bob_is_next = ["ann gives up A=1 #1 after 30ms, Released", "bob gets A=1 #2 after 20ms"];
    w.at(ms(30)).release(ANN, "A").is(Ok(()), bob_is_next);
    let cat_is_next = ["bob gives up A=1 #2 after 10ms, Released", "cat gets A=1 #3 after 20ms"];
    w.at(ms(40)).release(BOB, "A").is(Ok(()), cat_is_next);
}

#[test]
fn arrivals_at_one_instant_keep_their_order() {
    let mut w = World::new("A=1", [ANN, BOB, CAT]);
    w.acquire(CAT, "A=1").is(acquired(1), ["cat gets A=1 #1"]);
    w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    w.acquire(ANN, "A=1").is(PENDING, ["ann waits for A=1"]);
    let outcome = w.release(CAT, "A");
    outcome.is(Ok(()), ["cat gives up A=1 #1 after 0ns, Released", "bob gets A=1 #2 after 0ns"]);
}

#[test]
fn a_large_request_is_not_starved_by_small_ones_behind_it() {
    let mut w = World::new("A=3", [ANN, BOB, CAT, DAN]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=3").is(PENDING, ["bob waits for A=3"]);
    // These would fit, but bob is ahead of them.
    w.acquire(CAT, "A=1").is(PENDING, ["cat waits for A=1"]);
    w.acquire(DAN, "A=1").is(PENDING, ["dan waits for A=1"]);
    let outcome = w.at(ms(1)).release(ANN, "A");
    outcome.is(Ok(()), ["ann gives up A=1 #1 after 1ms, Released", "bob gets A=3 #2 after 1ms"]);
    w.at(ms(2)).release(BOB, "A").is(
        Ok(()),
        ["bob gives up A=3 #2 after 1ms, Released", "cat gets A=1 #3 after 2ms", "dan gets A=1 #4 after 2ms"],
    );
}

#[test]
fn waiters_are_granted_until_the_next_one_does_not_fit() {
    let mut w = World::new("A=3", [ANN, BOB, CAT, DAN, EVE]);
    w.acquire(ANN, "A=3").is(acquired(1), ["ann gets A=3 #1"]);
    w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    w.acquire(CAT, "A=1").is(PENDING, ["cat waits for A=1"]);
    w.acquire(DAN, "A=2").is(PENDING, ["dan waits for A=2"]);
    w.acquire(EVE, "A=1").is(PENDING, ["eve waits for A=1"]);
    w.at(ms(1)).release(ANN, "A").is(
        Ok(()),
        ["ann gives up A=3 #1 after 1ms, Released", "bob gets A=1 #2 after 1ms", "cat gets A=1 #3 after 1ms"],
    );
}

#[test]
fn a_waiter_that_leaves_lets_those_behind_it_through() {
    let mut w = World::new("A=3", [ANN, BOB, CAT, DAN]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=3").is(PENDING, ["bob waits for A=3"]);
    w.acquire(CAT, "A=3").is(PENDING, ["cat waits for A=3"]);
    w.acquire(DAN, "A=2").is(PENDING, ["dan waits for A=2"]);
    w.release(BOB, "A").is(Ok(()), ["bob stops waiting for A=3, Released"]);
    w.at(ms(1))
        .end(CAT, EndCause::Released)
        .is(true, ["cat stops waiting for A=3, Released", "cat ends, Released", "dan gets A=2 #2 after 1ms"]);
}

#[test]
fn several_semaphores_are_granted_at_once_in_one_step() {
    let mut w = World::new("A=2 B=1", [ANN]);
    let outcome = w.acquire(ANN, "B=1 A=2");
    outcome.is(acquired(1), ["ann gets B=1 #1", "ann gets A=2 #2"]);
    // The reply carries the token of the lock that is named first.
    w.acquire(ANN, "A=2 B=1").is(acquired(2), []);
}

#[test]
fn a_joint_request_holds_nothing_while_it_waits_and_holds_up_later_ones() {
    let mut w = World::new("A=1 B=1", [ANN, BOB, CAT]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=1 B=1").is(PENDING, ["bob waits for A=1", "bob waits for B=1"]);
    assert_eq!(w.core.semaphore("B").expect("known").remainder(), 1);
    w.acquire(CAT, "B=1").is(PENDING, ["cat waits for B=1"]);
    w.at(ms(1)).release(ANN, "A").is(
        Ok(()),
        ["ann gives up A=1 #1 after 1ms, Released", "bob gets A=1 #2 after 1ms", "bob gets B=1 #3 after 1ms"],
    );
    let outcome = w.at(ms(2)).release(BOB, "B");
    outcome.is(Ok(()), ["bob gives up B=1 #3 after 1ms, Released", "cat gets B=1 #4 after 2ms"]);
}

#[test]
fn a_joint_request_has_to_be_first_in_every_queue() {
    let mut w = World::new("A=1 B=3", [ANN, BOB, CAT, DAN]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "B=2").is(acquired(2), ["bob gets B=2 #2"]);
    w.acquire(CAT, "B=2").is(PENDING, ["cat waits for B=2"]);
    w.acquire(DAN, "A=1 B=1").is(PENDING, ["dan waits for A=1", "dan waits for B=1"]);
    // It would fit in both, and is first for A; but for B cat is ahead.
    w.at(ms(1)).release(ANN, "A").is(Ok(()), ["ann gives up A=1 #1 after 1ms, Released"]);
    w.at(ms(2)).release(BOB, "B").is(
        Ok(()),
        [
            "bob gives up B=2 #2 after 2ms, Released",
            "cat gets B=2 #3 after 2ms",
            "dan gets A=1 #4 after 2ms",
            "dan gets B=1 #5 after 2ms",
        ],
    );
}

#[test]
fn a_joint_grant_makes_way_in_every_queue() {
    let mut w = World::new("A=2 B=2", [ANN, BOB, CAT, DAN]);
    w.acquire(ANN, "A=2").is(acquired(1), ["ann gets A=2 #1"]);
    w.acquire(BOB, "A=1 B=1").is(PENDING, ["bob waits for A=1", "bob waits for B=1"]);
    w.acquire(CAT, "B=1").is(PENDING, ["cat waits for B=1"]);
    w.acquire(DAN, "A=1").is(PENDING, ["dan waits for A=1"]);
    w.at(ms(1)).release(ANN, "A").is(
        Ok(()),
        [
            "ann gives up A=2 #1 after 1ms, Released",
            "bob gets A=1 #2 after 1ms",
            "bob gets B=1 #3 after 1ms",
            // In the order in which they came, whatever their semaphores are called.
            "cat gets B=1 #4 after 1ms",
            "dan gets A=1 #5 after 1ms",
        ],
    );
}

#[test]
fn of_several_semaphores_of_one_level_who_came_first_goes_first() {
    let mut w = World::new("", [ANN, BOB, CAT, DAN]);
    for (name, at) in [("a", 2), ("c", 1), ("d", 1)] {
        w = w.with_semaphore(name, Spec { level: at, ..max(2) });
    }
    w.acquire(ANN, "c=1 d=1").is(acquired(1), ["ann gets c=1 #1", "ann gets d=1 #2"]);
    w.acquire(BOB, "a=1 d=2").is(PENDING, ["bob waits for a=1", "bob waits for d=2"]);
    w.acquire(CAT, "a=1 c=1").is(PENDING, ["cat waits for a=1", "cat waits for c=1"]);
    w.acquire(DAN, "c=2").is(PENDING, ["dan waits for c=2"]);
    // Once Bob has a and d, Cat is first on a, and so holds up Dan on c: who must not have been looked at before.
    w.end(ANN, EndCause::Released).is(
        true,
        [
            "ann gives up c=1 #1 after 0ns, Released",
            "ann gives up d=1 #2 after 0ns, Released",
            "ann ends, Released",
            "bob gets a=1 #3 after 0ns",
            "bob gets d=2 #4 after 0ns",
            "cat gets a=1 #5 after 0ns",
            "cat gets c=1 #6 after 0ns",
        ],
    );
}

#[test]
fn a_higher_priority_goes_first() {
    let mut w = World::new("A=1", [ANN, BOB, CAT, DAN, EVE]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.at(ms(1)).acquire_with(BOB, "A=1", -1, None).is(PENDING, ["bob waits for A=1"]);
    w.at(ms(2)).acquire(CAT, "A=1").is(PENDING, ["cat waits for A=1"]);
    w.at(ms(3)).acquire_with(DAN, "A=1", 1, None).is(PENDING, ["dan waits for A=1"]);
    w.at(ms(4)).acquire_with(EVE, "A=1", 1, None).is(PENDING, ["eve waits for A=1"]);
    let outcome = w.at(ms(5)).release(ANN, "A");
    outcome.is(Ok(()), ["ann gives up A=1 #1 after 5ms, Released", "dan gets A=1 #2 after 2ms"]);
    let outcome = w.at(ms(6)).release(DAN, "A");
    outcome.is(Ok(()), ["dan gives up A=1 #2 after 1ms, Released", "eve gets A=1 #3 after 2ms"]);
    let outcome = w.at(ms(7)).release(EVE, "A");
    outcome.is(Ok(()), ["eve gives up A=1 #3 after 1ms, Released", "cat gets A=1 #4 after 5ms"]);
    let outcome = w.at(ms(8)).release(CAT, "A");
    outcome.is(Ok(()), ["cat gives up A=1 #4 after 1ms, Released", "bob gets A=1 #5 after 7ms"]);
}

#[test]
fn an_hour_of_waiting_outranks_one_step_of_priority() {
    // The later request comes a microsecond before the hour is over, or when it is.
    for (arrival, first) in
        [(us(3_599_999_999), "cat gets A=1 #2 after 1µs"), (HOUR, "bob gets A=1 #2 after 3600s")]
    {
        let mut w = World::new("A=1", [ANN, BOB, CAT]);
        w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
        w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
        w.at(arrival).acquire_with(CAT, "A=1", 1, None).is(PENDING, ["cat waits for A=1"]);
        let outcome = w.at(HOUR).release(ANN, "A");
        outcome.is(Ok(()), ["ann gives up A=1 #1 after 3600s, Released", first]);
    }
}

#[test]
fn a_higher_priority_passes_a_waiter_that_does_not_fit() {
    let mut w = World::new("A=3", [ANN, BOB, CAT, DAN]);
    w.acquire(ANN, "A=2").is(acquired(1), ["ann gets A=2 #1"]);
    w.acquire(BOB, "A=2").is(PENDING, ["bob waits for A=2"]);
    w.acquire(CAT, "A=1").is(PENDING, ["cat waits for A=1"]);
    w.acquire_with(DAN, "A=1", 1, None).is(acquired(2), ["dan gets A=1 #2"]);
}

#[test]
fn one_priority_counts_in_every_queue() {
    let mut w = World::new("A=1 B=1", [ANN, BOB, CAT]);
    w.acquire(ANN, "A=1 B=1").is(acquired(1), ["ann gets A=1 #1", "ann gets B=1 #2"]);
    w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    let outcome = w.acquire_with(CAT, "A=1 B=1", 1, None);
    outcome.is(PENDING, ["cat waits for A=1", "cat waits for B=1"]);
    w.at(ms(1)).release(ANN, "A").is(Ok(()), ["ann gives up A=1 #1 after 1ms, Released"]);
    w.at(ms(2)).release(ANN, "B").is(
        Ok(()),
        ["ann gives up B=1 #2 after 2ms, Released", "cat gets A=1 #3 after 2ms", "cat gets B=1 #4 after 2ms"],
    );
}

fn passing(max: i64) -> Spec {
    Spec { order: Order::Pass, ..super::max(max) }
}

/// Ann holds all of `host`; Bob waits for that and one of `gpu`, which has four.
fn idle_behind_bob() -> World {
    let mut w = World::new("host=1", [ANN, BOB, CAT, DAN, EVE]).with_semaphore("gpu", passing(4));
    w.acquire(ANN, "host=1").is(acquired(1), ["ann gets host=1 #1"]);
    w.acquire(BOB, "gpu=1 host=1").is(PENDING, ["bob waits for gpu=1", "bob waits for host=1"]);
    w
}

#[test]
fn who_fits_passes_a_request_that_waits_for_another_semaphore() {
    let mut w = idle_behind_bob();
    w.acquire(CAT, "gpu=3").is(acquired(2), ["cat gets gpu=3 #2"]);
    // Three of four are taken, so this one does not fit, and what comes after it waits behind it.
    w.acquire(DAN, "gpu=2").is(PENDING, ["dan waits for gpu=2"]);
    w.acquire(EVE, "gpu=1").is(PENDING, ["eve waits for gpu=1"]);
    w.release(CAT, "gpu").is(
        Ok(()),
        [
            "cat gives up gpu=3 #2 after 0ns, Released",
            "dan gets gpu=2 #3 after 0ns",
            "eve gets gpu=1 #4 after 0ns",
        ],
    );
    w.release(ANN, "host").is(
        Ok(()),
        [
            "ann gives up host=1 #1 after 0ns, Released",
            "bob gets gpu=1 #5 after 0ns",
            "bob gets host=1 #6 after 0ns",
        ],
    );
}

#[test]
fn nobody_passes_a_request_that_lacks_count_here() {
    let mut w = idle_behind_bob();
    w.acquire(CAT, "gpu=4").is(acquired(2), ["cat gets gpu=4 #2"]);
    w.acquire(DAN, "gpu=1").is(PENDING, ["dan waits for gpu=1"]);
    // Bob would not fit any more, so he waits for this semaphore, too.
    w.acquire(CAT, "gpu=4").is(acquired(2), []);
    w.release(ANN, "host").is(Ok(()), ["ann gives up host=1 #1 after 0ns, Released"]);
    w.acquire(CAT, "gpu=3").is(
        acquired(2),
        ["cat shrinks to gpu=3", "bob gets gpu=1 #3 after 0ns", "bob gets host=1 #4 after 0ns"],
    );
}

#[test]
fn after_a_time_nobody_passes_any_more() {
    let mut w = idle_behind_bob();
    w.at(secs(59)).acquire(CAT, "gpu=1").is(acquired(2), ["cat gets gpu=1 #2"]);
    w.at(secs(60)).acquire(DAN, "gpu=1").is(PENDING, ["dan waits for gpu=1"]);
    w.at(secs(61)).release(ANN, "host").is(
        Ok(()),
        [
            "ann gives up host=1 #1 after 61s, Released",
            "bob gets gpu=1 #3 after 61s",
            "bob gets host=1 #4 after 61s",
            "dan gets gpu=1 #5 after 1s",
        ],
    );
}

#[test]
fn a_request_over_several_passes_nobody() {
    let mut w = idle_behind_bob().with_semaphore("disk", max(1));
    w.acquire(CAT, "disk=1 gpu=1").is(PENDING, ["cat waits for disk=1", "cat waits for gpu=1"]);
    w.acquire(DAN, "gpu=1").is(acquired(2), ["dan gets gpu=1 #2"]);
    w.set("gpu", max(4)).is((), ["gpu has max 4"]);
    w.acquire(EVE, "gpu=1").is(PENDING, ["eve waits for gpu=1"]);
    w.set("gpu", passing(4)).is((), ["gpu has max 4", "eve gets gpu=1 #3 after 0ns"]);
}

/// A request that waits passes as many as one that arrives: 64, and no more.
#[test]
fn as_many_are_passed_by_who_waits_as_by_who_arrives() {
    for (ahead, passes) in [(64, true), (65, false)] {
        let mut w = idle_behind_bob();
        for peer in 101..100 + ahead {
            let peer = PeerId(peer);
            w.run(|core, now| core.new_peer(now, By::Anybody, DAY, peer.0, None)).reply.expect("made");
            assert_eq!(w.acquire(peer, "gpu=1 host=1").reply, PENDING);
        }
        let granted = |w: &mut World, peer, locks| w.acquire(peer, locks).reply != PENDING;
        assert_eq!(granted(&mut w, CAT, "gpu=3"), passes);
        if passes {
            assert_eq!(w.acquire(DAN, "gpu=2").reply, PENDING);
            assert!(w.release(CAT, "gpu").events.iter().any(|event| event.starts_with("dan gets gpu=2")));
        }
    }
}
