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
    let limits = Limits { deadlock_walk: 1, ..Settings::default().limits };
    let mut w = World::with_settings(Settings { limits, ..Settings::default() })
        .with_semaphore("c", detecting(1))
        .with_semaphore("d", detecting(1));
    for (peer, short) in [(ANN, "ann"), (BOB, "bob")] {
        w.new_peer(peer, DAY).is(Ok(peer), [&format!("{short} begins, 86400s")]);
    }
    w.acquire(ANN, "c=1").is(acquired(1), ["ann gets c=1 #1"]);
    w.acquire(BOB, "d=1").is(acquired(2), ["bob gets d=1 #2"]);
    let full = LimitReached { resource: Resource::Walk, limit: 1 };
    w.acquire(BOB, "c=1").is(Err(AcquireError::Limit(full)), []);
}
