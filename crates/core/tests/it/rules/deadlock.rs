use super::*;

fn detecting(max: i64) -> Spec {
    Spec { deadlock: Deadlock::Detect, ..super::max(max) }
}

fn link(peer: PeerId, semaphore: &str, blocker: PeerId, is_holder: bool) -> Link {
    Link { peer, semaphore: semaphore.into(), blocker, is_holder }
}

fn refused<const N: usize>(chain: [Link; N]) -> Result<Status, AcquireError> {
    Err(AcquireError::Deadlock { chain: chain.into() })
}

fn world<const N: usize>(max: i64, peers: [PeerId; N]) -> World {
    World::new("", peers).with_semaphore("c", detecting(max)).with_semaphore("d", detecting(max))
}

/// Semaphores of these levels, and `c` and `d`, one below and one above them, that detect deadlocks.
fn ordered<const N: usize, const M: usize>(levels: [(&str, i32); N], peers: [PeerId; M]) -> World {
    let mut w = World::new("", peers).with_semaphore("c", detecting(1));
    for (name, level) in levels {
        w = w.with_semaphore(name, Spec { level, ..max(1) });
    }
    w.with_semaphore("d", Spec { level: 5, ..detecting(1) })
}

/// A search has this many steps at most.
fn with_walk(deadlock_walk: usize) -> World {
    let limits = Limits { deadlock_walk, ..Settings::default().limits };
    World::with_settings(Settings { limits, ..Settings::default() })
}

/// Semaphores `c` and `d` that detect deadlocks, and peers, where a search has this many steps at most.
fn bounded<const N: usize>(deadlock_walk: usize, max: i64, peers: [PeerId; N]) -> World {
    let mut w =
        with_walk(deadlock_walk).with_semaphore("c", detecting(max)).with_semaphore("d", detecting(max));
    for peer in peers {
        assert_eq!(w.new_peer(peer, DAY).reply, Ok(peer));
    }
    w
}

#[test]
fn whoever_closes_a_circle_is_refused() {
    let mut w = world(1, [ANN, BOB]);
    w.acquire(ANN, "c=1").is(acquired(1), ["ann gets c=1 #1"]);
    w.acquire(BOB, "d=1").is(acquired(2), ["bob gets d=1 #2"]);
    w.acquire(ANN, "d=1").is(PENDING, ["ann waits for d=1"]);
    w.acquire(BOB, "c=1").is(refused([link(BOB, "c", ANN, true), link(ANN, "d", BOB, true)]), []);
}

#[test]
fn a_circle_is_no_deadlock_while_another_may_release() {
    let mut w = world(2, [ANN, BOB, CAT]);
    w.acquire(ANN, "c=1").is(acquired(1), ["ann gets c=1 #1"]);
    w.acquire(CAT, "c=1").is(acquired(2), ["cat gets c=1 #2"]);
    w.acquire(BOB, "d=2").is(acquired(3), ["bob gets d=2 #3"]);
    w.acquire(ANN, "d=1").is(PENDING, ["ann waits for d=1"]);
    w.acquire(BOB, "c=1").is(PENDING, ["bob waits for c=1"]);
    let freed = ["cat gives up c=1 #2 after 0ns, Released", "bob gets c=1 #4 after 0ns"];
    w.release(CAT, "c").is(Ok(()), freed);
}

#[test]
fn waiters_ahead_count() {
    let mut w = world(2, [ANN, BOB]);
    w.acquire(ANN, "c=2").is(acquired(1), ["ann gets c=2 #1"]);
    w.acquire(BOB, "c=1 d=1").is(PENDING, ["bob waits for c=1", "bob waits for d=1"]);
    w.acquire(ANN, "d=2").is(refused([link(ANN, "d", BOB, false), link(BOB, "c", ANN, true)]), []);
}

#[test]
fn a_pause_is_no_deadlock() {
    let mut w = world(1, [ANN, BOB]);
    w.acquire(ANN, "c=1").is(acquired(1), ["ann gets c=1 #1"]);
    w.set("d", Spec { deadlock: Deadlock::Detect, ..max(0) }).is((), ["d has max 0"]);
    w.acquire(ANN, "d=1").is(PENDING, ["ann waits for d=1"]);
    w.acquire(BOB, "c=1").is(PENDING, ["bob waits for c=1"]);
}

#[test]
fn levels_hold_between_the_two_kinds() {
    let mut w = World::new("plain=1", [ANN]).with_semaphore("c", detecting(1));
    w.acquire(ANN, "c=1").is(acquired(1), ["ann gets c=1 #1"]);
    w.acquire(ANN, "plain=1").is(violates("plain", 0, 0), []);
}

#[test]
fn the_walk_has_a_bound() {
    let mut w = bounded(1, 1, [ANN, BOB]);
    w.acquire(ANN, "c=1").is(acquired(1), ["ann gets c=1 #1"]);
    w.acquire(BOB, "d=1").is(acquired(2), ["bob gets d=1 #2"]);
    let full = LimitReached { resource: Resource::Walk, limit: 1 };
    w.acquire(BOB, "c=1").is(Err(AcquireError::Limit(full)), []);
}

/// Who waits below the highest level of its request holds up nobody there before it leads above.
#[test]
fn whoever_does_not_lead_above_is_in_nobodys_way_below() {
    let mut w = ordered([("upper", 2), ("lower", 1)], [ANN, BOB, CAT]);
    w.acquire(ANN, "upper=1").is(acquired(1), ["ann gets upper=1 #1"]);
    w.acquire(CAT, "lower=1").is(acquired(2), ["cat gets lower=1 #2"]);
    let waits = ["bob waits for upper=1", "bob waits for lower=1"];
    w.acquire(BOB, "upper=1 lower=1").is(PENDING, waits);
    w.acquire(ANN, "lower=1").is(PENDING, ["ann waits for lower=1"]);
    let freed = ["cat gives up lower=1 #2 after 0ns, Released", "ann gets lower=1 #3 after 0ns"];
    w.release(CAT, "lower").is(Ok(()), freed);
}

#[test]
fn whoever_leads_above_is_in_the_way_below() {
    let mut w = ordered([("upper", 2), ("lower", 1)], [ANN, BOB, CAT, DAN]);
    w.acquire(ANN, "d=1").is(acquired(1), ["ann gets d=1 #1"]);
    w.acquire(CAT, "c=1").is(acquired(2), ["cat gets c=1 #2"]);
    w.acquire(DAN, "lower=1").is(acquired(3), ["dan gets lower=1 #3"]);
    let waits = ["bob waits for upper=1", "bob waits for lower=1", "bob waits for c=1"];
    w.acquire(BOB, "upper=1 lower=1 c=1").is(PENDING, waits);
    w.acquire(CAT, "d=1").is(PENDING, ["cat waits for d=1"]);
    let circle = [link(ANN, "lower", BOB, false), link(BOB, "c", CAT, true), link(CAT, "d", ANN, true)];
    w.release(DAN, "lower").is(Ok(()), ["dan gives up lower=1 #3 after 0ns, Released"]);
    w.acquire(ANN, "lower=1").is(refused(circle), []);
}

/// Ann and Bob wait for each other, though neither did when it asked.
fn after_a_change() -> World {
    let mut w = world(2, [ANN, BOB, CAT, DAN]);
    w.acquire(ANN, "c=1").is(acquired(1), ["ann gets c=1 #1"]);
    w.acquire(CAT, "c=1").is(acquired(2), ["cat gets c=1 #2"]);
    w.acquire(BOB, "d=2").is(acquired(3), ["bob gets d=2 #3"]);
    w.acquire(ANN, "d=1").is(PENDING, ["ann waits for d=1"]);
    w.acquire(BOB, "c=1").is(PENDING, ["bob waits for c=1"]);
    w.set("c", detecting(1)).is((), ["c has max 1", "c is overcommitted, 2 of 1"]);
    w.release(CAT, "c").is(Ok(()), ["cat gives up c=1 #2 after 0ns, Released"]);
    w
}

#[test]
fn a_change_may_close_a_circle_so_whoever_asks_again_is_refused() {
    let mut w = after_a_change();
    // It is not the one that waits for what was changed.
    w.acquire(ANN, "d=1").is(PENDING, []);
    let circle = [link(BOB, "c", ANN, true), link(ANN, "d", BOB, true)];
    w.acquire(BOB, "c=1").is(refused(circle.clone()), ["bob is connected"]);
    assert!(w.is_absent(BOB));
    // It is told so until the circle is broken.
    w.acquire(BOB, "c=1").is(refused(circle), []);
    let freed = ["bob gives up d=2 #3 after 0ns, Released", "ann gets d=1 #4 after 0ns"];
    w.release(BOB, "d").is(Ok(()), freed);
    w.acquire(BOB, "c=1").is(PENDING, []);
    assert!(!w.is_absent(BOB));
}

#[test]
fn whoever_polls_or_connects_in_a_circle_is_refused() {
    let circle =
        || AcquireError::Deadlock { chain: [link(BOB, "c", ANN, true), link(ANN, "d", BOB, true)].into() };
    let mut w = after_a_change();
    w.run(|core, now| core.poll(now, BOB.by_server())).is(Err(circle()), ["bob is connected"]);
    w.run(|core, now| core.poll(now, BOB.by_server())).is(Err(circle()), []);
    let mut w = after_a_change();
    w.connect(BOB).is(Err(circle()), ["bob is connected"]);
    assert!(w.is_absent(BOB));
}

#[test]
fn whoever_lost_its_connection_is_refused_in_a_circle() {
    let mut w = world(2, [ANN, BOB, CAT]);
    w.acquire(BOB, "d=2").is(acquired(1), ["bob gets d=2 #1"]);
    w.acquire(ANN, "c=2").is(acquired(2), ["ann gets c=2 #2"]);
    w.set("c", detecting(4)).is((), ["c has max 4"]);
    w.acquire(CAT, "c=2").is(acquired(3), ["cat gets c=2 #3"]);
    w.acquire(BOB, "c=2").is(PENDING, ["bob waits for c=2"]);
    w.connect(BOB).is(Ok(()), ["bob is connected"]);
    w.disconnect(BOB).is((), []);
    w.acquire(ANN, "d=1").is(PENDING, ["ann waits for d=1"]);
    w.set("c", detecting(3)).is((), ["c has max 3", "c is overcommitted, 4 of 3"]);
    let chain = [link(BOB, "c", ANN, true), link(ANN, "d", BOB, true)];
    w.acquire(BOB, "c=2").is(refused(chain), []);
    assert!(w.is_absent(BOB));
    assert_eq!(w.core.next_deadline(), Some(START + DAY + secs(30)), "its absence has begun already");
}

/// Bob was passed over, and Ann waits behind it, who holds what Bob lacks.
fn after_one_was_passed_over() -> World {
    let mut w = World::new("", [ANN, BOB, CAT]).with_semaphore("c", detecting(1));
    w = w.with_semaphore("d", detecting(2));
    w.acquire(ANN, "c=1").is(acquired(1), ["ann gets c=1 #1"]);
    w.acquire(CAT, "d=1").is(acquired(2), ["cat gets d=1 #2"]);
    w.acquire(BOB, "c=1 d=2").is(PENDING, ["bob waits for c=1", "bob waits for d=2"]);
    w.set("d", detecting(1)).is((), ["d has max 1"]);
    w.acquire(ANN, "d=1").is(PENDING, ["ann waits for d=1"]);
    w
}

#[test]
fn whoever_shrinks_into_a_circle_is_refused() {
    let mut w = after_one_was_passed_over();
    // As large as it is, it is in nobody's way.
    w.run(|core, now| core.poll(now, BOB.by_server())).is(Ok(false), []);
    let circle = [link(BOB, "c", ANN, true), link(ANN, "d", BOB, false)];
    w.acquire(BOB, "d=1").is(refused(circle), ["bob is connected"]);
    let pending = w.core.peer(BOB.by_server()).expect("known").pending().expect("it waits");
    assert_eq!(pending.locks().last().map(|(_, count)| count), Some(2), "it did not shrink");
    // Ann is not held up by it.
    let freed = ["cat gives up d=1 #2 after 0ns, Released", "ann gets d=1 #3 after 0ns"];
    w.release(CAT, "d").is(Ok(()), freed);
}

#[test]
fn whoever_comes_back_into_a_circle_is_refused() {
    let mut w = after_one_was_passed_over();
    w.set("d", detecting(2)).is((), ["d has max 2"]);
    let circle = [link(BOB, "c", ANN, true), link(ANN, "d", BOB, false)];
    w.acquire(BOB, "c=1 d=2").is(refused(circle), ["bob is connected", "ann gets d=1 #3 after 0ns"]);
}

#[test]
fn a_waiter_that_cannot_be_examined_keeps_its_place() {
    let mut w = bounded(6, 3, [ANN, BOB, CAT]);
    w.acquire(ANN, "c=1").is(acquired(1), ["ann gets c=1 #1"]);
    w.acquire(BOB, "d=1").is(acquired(2), ["bob gets d=1 #2"]);
    w.acquire(ANN, "d=3").is(PENDING, ["ann waits for d=3"]);
    w.acquire_with(CAT, "d=1", 1, None).is(acquired(3), ["cat gets d=1 #3"]);
    w.set("d", Spec { level: 1, ..detecting(3) }).is((), ["d has max 3, level 1"]);
    w.acquire(ANN, "d=3").is(PENDING, []);
    w.connect(ANN).is(Ok(()), ["ann is connected"]);
    assert!(!w.is_absent(ANN));
    w.disconnect(ANN).is((), []);
    w.at(HOUR).advance().is((), []);
    let full = LimitReached { resource: Resource::Walk, limit: 6 };
    w.acquire(ANN, "d=3").is(Err(AcquireError::Limit(full)), []);
    assert!(w.is_absent(ANN));
}

#[test]
fn levels_need_no_search() {
    let mut w = with_walk(0).with_semaphore("A", level(1)).with_semaphore("B", level(0));
    for peer in [ANN, BOB] {
        assert_eq!(w.new_peer(peer, DAY).reply, Ok(peer));
    }
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "B=5").is(acquired(2), ["bob gets B=5 #2"]);
    w.acquire(ANN, "B=1").is(PENDING, ["ann waits for B=1"]);
    w.connect(ANN).is(Ok(()), ["ann is connected"]);
    w.disconnect(ANN).is((), []);
    w.at(HOUR).advance().is((), []);
    assert!(w.is_absent(ANN));
    w.acquire(ANN, "B=1").is(PENDING, []);
}

/// Bob will lead above once Eve is done, whatever Dan does before that.
#[test]
fn whoever_may_lead_above_in_time_is_in_the_way_below() {
    let mut w = ordered([("upper", 2), ("lower", 1), ("other", 1)], [ANN, BOB, CAT, DAN, EVE]);
    for (peer, lock, token) in [(ANN, "d=1", 1), (CAT, "c=1", 2), (DAN, "other=1", 3), (EVE, "upper=1", 4)] {
        assert_eq!(w.acquire(peer, lock).reply, acquired(token));
    }
    assert_eq!(w.acquire(BOB, "upper=1 lower=1 c=1").reply, PENDING);
    assert_eq!(w.acquire(CAT, "d=1").reply, PENDING);
    let circle = [link(ANN, "lower", BOB, false), link(BOB, "c", CAT, true), link(CAT, "d", ANN, true)];
    w.acquire(ANN, "other=1 lower=1").is(refused(circle), []);
}

#[test]
fn whoever_leads_above_is_in_the_way_where_it_does_not_fit() {
    let mut w =
        ordered([("upper", 2)], [ANN, BOB, CAT, DAN]).with_semaphore("lower", Spec { level: 1, ..max(2) });
    for (peer, lock, token) in [(ANN, "d=1", 1), (CAT, "lower=1", 2), (DAN, "c=1", 3)] {
        assert_eq!(w.acquire(peer, lock).reply, acquired(token));
    }
    for (peer, locks) in [(BOB, "upper=1 lower=2"), (CAT, "c=1"), (DAN, "d=1")] {
        assert_eq!(w.acquire(peer, locks).reply, PENDING);
    }
    let circle = [
        link(ANN, "lower", BOB, false),
        link(BOB, "lower", CAT, true),
        link(CAT, "c", DAN, true),
        link(DAN, "d", ANN, true),
    ];
    w.acquire(ANN, "lower=1").is(refused(circle), []);
}

#[test]
fn what_a_request_shrinks_is_free_for_others() {
    let mut w = world(6, [ANN, BOB]);
    w.acquire(ANN, "c=6").is(acquired(1), ["ann gets c=6 #1"]);
    w.acquire(BOB, "d=6").is(acquired(2), ["bob gets d=6 #2"]);
    w.acquire(BOB, "c=4").is(PENDING, ["bob waits for c=4"]);
    // Three are too few for Bob, who has what Ann asks for.
    let circle = [link(ANN, "d", BOB, true), link(BOB, "c", ANN, true)];
    w.acquire(ANN, "c=3 d=1").is(refused(circle), []);
    let shrinks = ["ann shrinks to c=2", "ann waits for d=1", "bob gets c=4 #3 after 0ns"];
    w.acquire(ANN, "c=2 d=1").is(PENDING, shrinks);
}

/// Of twenty who wait in line, each is looked at once, and so is what it waits for.
#[test]
fn a_long_queue_is_looked_at_once() {
    let waiters: [PeerId; 20] = std::array::from_fn(|n| PeerId(100 + n as u64));
    for (limit, is_enough) in [(85, true), (60, false)] {
        let mut w = bounded(limit, 1, waiters);
        for peer in [ANN, BOB] {
            assert_eq!(w.new_peer(peer, DAY).reply, Ok(peer));
        }
        assert_eq!(w.acquire(ANN, "c=1").reply, acquired(1));
        assert_eq!(w.acquire(BOB, "d=1").reply, acquired(2));
        for peer in waiters {
            assert_eq!(w.acquire(peer, "c=1").reply, PENDING);
        }
        let full = LimitReached { resource: Resource::Walk, limit };
        let expected = if is_enough { PENDING } else { Err(AcquireError::Limit(full)) };
        assert_eq!(w.acquire(BOB, "c=1").reply, expected, "{limit}");
    }
}

#[test]
fn each_change_has_waiters_examined_anew() {
    let mut w = world(2, [ANN, BOB, CAT]);
    for (peer, lock, token) in [(ANN, "c=1", 1), (CAT, "c=1", 2), (BOB, "d=2", 3)] {
        assert_eq!(w.acquire(peer, lock).reply, acquired(token));
    }
    for (peer, lock) in [(ANN, "d=1"), (BOB, "c=1")] {
        assert_eq!(w.acquire(peer, lock).reply, PENDING);
    }
    w.set("c", Spec { level: 1, ..detecting(2) }).is((), ["c has max 2, level 1"]);
    w.run(|core, now| core.poll(now, BOB.by_server())).is(Ok(false), []);
    w.set("c", detecting(1)).is((), ["c has max 1", "c is overcommitted, 2 of 1"]);
    w.release(CAT, "c").is(Ok(()), ["cat gives up c=1 #2 after 0ns, Released"]);
    let circle = [link(BOB, "c", ANN, true), link(ANN, "d", BOB, true)];
    w.acquire(BOB, "c=1").is(refused(circle), ["bob is connected"]);
}
