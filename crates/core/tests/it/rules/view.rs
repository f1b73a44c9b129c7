//! What can be seen: each figure of a peer, a lock, a request and a semaphore.

use std::collections::BTreeMap;

use throttle_core::{By, Closed, ClosedView, HolderView, Labels, PeerView, WaiterView};

use super::*;

fn ids<'a>(peers: impl Iterator<Item = PeerView<'a>>) -> Vec<PeerId> {
    peers.map(|peer| peer.id()).collect()
}

fn of_holder(holder: HolderView<'_>) -> (PeerId, i64, Option<Token>) {
    (holder.peer.id(), holder.lock.count(), holder.lock.token())
}

fn of_waiter(waiter: WaiterView<'_>) -> (PeerId, i64, i32, Duration, bool) {
    let since = waiter.since().since(START);
    (waiter.peer.id(), waiter.count(), waiter.priority(), since, waiter.is_absent())
}

/// Ann holds two of `A`, Bob one of `B`; Cat waits for both, Dan and Eve for `A`.
fn world() -> World {
    let mut w = World::new("A=3 B=1", [ANN, BOB, CAT, DAN, EVE]);
    w.at(secs(1)).acquire(ANN, "A=2").is(acquired(1), ["ann gets A=2 #1"]);
    w.at(secs(2)).acquire(BOB, "B=1").is(acquired(2), ["bob gets B=1 #2"]);
    w.at(secs(3)).acquire(CAT, "A=2 B=1").is(PENDING, ["cat waits for A=2", "cat waits for B=1"]);
    w.at(secs(4)).acquire_with(DAN, "A=3", -1, None).is(PENDING, ["dan waits for A=3"]);
    w.at(secs(5)).acquire_with(EVE, "A=2", 1, None).is(PENDING, ["eve waits for A=2"]);
    w.connect(DAN).is(Ok(()), ["dan is connected"]);
    w.disconnect(DAN).is((), []);
    w.at(secs(60)).advance().is((), []);
    w
}

#[test]
fn a_peer_shows_its_lease_and_its_locks() {
    let mut w = World::new("A=1", []);
    let labels: Labels = BTreeMap::from([("host".to_owned(), "one".to_owned())]).into();
    w.at(secs(7));
    let now = START + secs(7);
    assert_eq!(w.core.new_peer(now, By::Anybody, HOUR, ANN.0, Some(labels.clone())), Ok(ANN));
    assert_eq!(w.core.new_peer(now, By::Anybody, DAY, BOB.0, None), Ok(BOB));
    w.core.drain_events();
    w.at(secs(8)).acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    let ann = w.core.peer(ANN.by_server()).expect("known");
    assert_eq!((ann.id(), ann.created_at(), ann.labels()), (ANN, now, Some(&labels)));
    assert_eq!((ann.expires_in(), ann.expires_at()), (HOUR, now + HOUR));
    assert_eq!(w.core.peer(BOB.by_server()).expect("known").labels(), None);
    let lock = ann.lock("A").expect("held");
    assert_eq!((&**lock.semaphore(), lock.count(), lock.token()), ("A", 1, Some(Token(1))));
    assert_eq!(lock.since(), START + secs(8));
    assert!(ann.lock("B").is_none() && ann.is_acquired() && ann.pending().is_none());
    assert_eq!(ann.locks().map(|lock| lock.token()).collect::<Vec<_>>(), [Some(Token(1))]);
}

#[test]
fn a_request_shows_its_place_and_who_holds_what_it_asks_for() {
    let w = world();
    assert!(!w.core.peer(CAT.by_server()).expect("known").is_acquired());
    let cat = w.core.peer(CAT.by_server()).expect("known").pending().expect("it waits");
    let locks: Vec<_> = cat.locks().map(|(name, count)| (name.to_string(), count)).collect();
    assert_eq!(locks, [("A".to_owned(), 2), ("B".to_owned(), 1)]);
    assert_eq!((cat.priority(), cat.since(), cat.is_absent()), (0, START + secs(3), false));
    let holders: Vec<_> = cat.holders().map(of_holder).collect();
    assert_eq!(holders, [(ANN, 2, Some(Token(1))), (BOB, 1, Some(Token(2)))]);
    // Eve is ahead of it on A, and nobody is on B.
    assert_eq!(cat.position(), 2);
    let position =
        |peer: PeerId| w.core.peer(peer.by_server()).expect("known").pending().expect("it waits").position();
    assert_eq!((position(EVE), position(DAN)), (1, 3));
    let dan = w.core.peer(DAN.by_server()).expect("known").pending().expect("it waits");
    assert_eq!((dan.priority(), dan.is_absent()), (-1, true));
}

/// What is in the way of a peer: pauses and rates, requests ahead with what they wait for, and holders.
fn in_the_way(w: &World, peer: PeerId) -> Vec<String> {
    let pending = w.core.peer(peer.by_server()).expect("known").pending().expect("it waits");
    let closed = pending.closed().map(|ClosedView { semaphore, count, why }| {
        let why = match why {
            Closed::Paused => "is paused".to_owned(),
            Closed::Rate { until: Some(until) } => format!("is due after {:?}", until.since(START)),
            Closed::Rate { until: None } => "is held back by its rate".to_owned(),
        };
        format!("{}={count} {why}", semaphore.name())
    });
    let ahead = pending.ahead().map(|ahead| {
        let others = ahead.waiter.peer.pending().expect("it waits");
        let others: Vec<_> = others.waits_for().map(ToString::to_string).collect();
        let who = name(ahead.waiter.peer.id());
        format!("{who} ahead on {} waits for {}", ahead.semaphore.name(), others.join(" "))
    });
    let holders = pending
        .holders()
        .map(|holder| format!("{} holds {}", name(holder.peer.id()), holder.lock.semaphore()));
    closed.chain(ahead).chain(holders).collect()
}

#[test]
fn who_waits_behind_a_request_for_something_else_is_told_of_that() {
    let mut w = World::new("gpu=8 host=1", [ANN, BOB, CAT, DAN]);
    w.acquire(ANN, "gpu=1 host=1").is(acquired(1), ["ann gets gpu=1 #1", "ann gets host=1 #2"]);
    w.acquire(BOB, "gpu=1 host=1").is(PENDING, ["bob waits for gpu=1", "bob waits for host=1"]);
    w.acquire(CAT, "gpu=1").is(PENDING, ["cat waits for gpu=1"]);
    w.acquire(DAN, "gpu=8").is(PENDING, ["dan waits for gpu=8"]);
    assert_eq!(in_the_way(&w, BOB), ["ann holds host"]);
    // Seven are free, and Ann's one would help nobody.
    assert_eq!(in_the_way(&w, CAT), ["bob ahead on gpu waits for host"]);
    assert_eq!(in_the_way(&w, DAN), ["bob ahead on gpu waits for host"]);
}

#[test]
fn who_is_ahead_with_a_larger_count_is_in_the_way_and_so_is_who_holds_it() {
    let mut w = World::new("A=3", [ANN, BOB, CAT, DAN]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=3").is(PENDING, ["bob waits for A=3"]);
    w.acquire(CAT, "A=1").is(PENDING, ["cat waits for A=1"]);
    w.acquire(DAN, "A=3").is(PENDING, ["dan waits for A=3"]);
    assert_eq!(in_the_way(&w, BOB), ["ann holds A"]);
    assert_eq!(in_the_way(&w, CAT), ["bob ahead on A waits for A", "ann holds A"]);
    assert_eq!(in_the_way(&w, DAN), ["ann holds A"], "it would not fit without Bob either");
    w.set("A", max(0)).is((), ["A has max 0"]);
    assert_eq!(in_the_way(&w, CAT), ["A=1 is paused"], "nobody's release would help while it is paused");
}

#[test]
fn of_each_semaphore_one_holder_is_told_first() {
    let mut w = World::new("A=2 B=1", [ANN, BOB, CAT, DAN]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.acquire(BOB, "A=1").is(acquired(2), ["bob gets A=1 #2"]);
    w.acquire(CAT, "B=1").is(acquired(3), ["cat gets B=1 #3"]);
    w.acquire(DAN, "A=2 B=1").is(PENDING, ["dan waits for A=2", "dan waits for B=1"]);
    assert_eq!(in_the_way(&w, DAN), ["ann holds A", "cat holds B", "bob holds A"]);
    w.set("B", max(0)).is((), ["B has max 0"]);
    assert_eq!(in_the_way(&w, DAN), ["B=1 is paused", "ann holds A", "bob holds A"]);
}

#[test]
fn a_rate_tells_when_the_next_grant_is_possible_if_that_needs_no_release() {
    let spec = Spec { per: Some(secs(10)), ..max(3) };
    let mut w = World::new("", [ANN, BOB, CAT, DAN, EVE]).with_semaphore("A", spec);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.at(secs(1)).acquire(BOB, "A=1").is(acquired(2), ["bob gets A=1 #2"]);
    w.at(secs(2)).acquire(CAT, "A=1").is(acquired(3), ["cat gets A=1 #3"]);
    w.at(secs(3)).acquire(DAN, "A=2").is(PENDING, ["dan waits for A=2"]);
    w.acquire(EVE, "A=1").is(PENDING, ["eve waits for A=1"]);
    assert_eq!(in_the_way(&w, DAN), ["ann holds A", "bob holds A", "cat holds A"], "nothing was released");
    w.release(ANN, "A").is(Ok(()), ["ann gives up A=1 #1 after 3s, Released"]);
    assert_eq!(in_the_way(&w, DAN), ["A=2 is held back by its rate", "bob holds A", "cat holds A"]);
    w.at(secs(4)).release(CAT, "A").is(Ok(()), ["cat gives up A=1 #3 after 2s, Released"]);
    assert_eq!(in_the_way(&w, DAN), ["A=2 is due after 12s", "bob holds A"]);
    // The first in line decides for those behind it.
    assert_eq!(in_the_way(&w, EVE), ["A=1 is due after 12s", "bob holds A"]);
    w.at(secs(12)).advance().is((), ["dan gets A=2 #4 after 9s"]);
    assert_eq!(in_the_way(&w, EVE), ["bob holds A", "dan holds A"]);
}

#[test]
fn a_semaphore_shows_its_figures_its_holders_and_its_queue() {
    let w = world();
    let seen = w.core.semaphore("A").expect("known");
    assert_eq!((&**seen.name(), seen.spec(), seen.pattern(), seen.is_leaving()), ("A", max(3), None, false));
    assert_eq!((seen.acquired(), seen.pending(), seen.cooling(), seen.remainder()), (2, 7, 0, 1));
    assert_eq!((seen.waiting(), seen.holder_count(), seen.longest_wait()), (3, 1, secs(57)));
    assert_eq!(seen.holders().map(of_holder).collect::<Vec<_>>(), [(ANN, 2, Some(Token(1)))]);
    assert_eq!(seen.holder(Token(1)).map(of_holder), Some((ANN, 2, Some(Token(1)))));
    assert!(seen.holder(Token(2)).is_none());
    let queue: Vec<_> = seen.queue(0).map(of_waiter).collect();
    let expected = [(EVE, 2, 1, secs(5), false), (CAT, 2, 0, secs(3), false), (DAN, 3, -1, secs(4), true)];
    assert_eq!(queue, expected);
    assert_eq!(seen.queue(1).map(of_waiter).collect::<Vec<_>>(), expected[1..]);
    let other = w.core.semaphore("B").expect("known");
    assert_eq!((other.waiting(), other.holder_count()), (1, 1));
    let free = World::new("C=4", []);
    let free = free.core.semaphore("C").expect("known");
    assert_eq!((free.waiting(), free.holder_count(), free.longest_wait()), (0, 0, secs(0)));
}

#[test]
fn a_waiter_shows_whether_it_holds_up_others() {
    let mut w =
        World::new("A=3 B=1", [ANN, BOB, CAT, DAN, EVE]).with_semaphore("C", Spec { level: 1, ..max(1) });
    w.acquire(ANN, "C=1").is(acquired(1), ["ann gets C=1 #1"]);
    w.acquire(BOB, "A=3").is(acquired(2), ["bob gets A=3 #2"]);
    w.acquire(CAT, "A=1 C=1").is(PENDING, ["cat waits for A=1", "cat waits for C=1"]);
    w.acquire(DAN, "A=1 B=1").is(PENDING, ["dan waits for A=1", "dan waits for B=1"]);
    w.acquire(EVE, "A=2").is(PENDING, ["eve waits for A=2"]);
    let passed_over = |w: &World| {
        let seen = w.core.semaphore("A").expect("known");
        seen.queue(0).filter(WaiterView::is_passed_over).map(|waiter| waiter.peer.id()).collect::<Vec<_>>()
    };
    assert_eq!(passed_over(&w), [CAT], "it waits for a higher level");
    w.set("B", max(0)).is((), ["B has max 0"]);
    assert_eq!(passed_over(&w), [CAT, DAN]);
    w.set("A", max(1)).is((), ["A has max 1", "A is overcommitted, 3 of 1"]);
    assert_eq!(passed_over(&w), [CAT, DAN, EVE], "more than there is");
    w.set("A", max(0)).is((), ["A has max 0"]);
    assert_eq!(passed_over(&w), [], "nobody goes on while it is paused");
}

#[test]
fn a_holder_of_several_semaphores_is_shown_with_the_lock_in_question() {
    let mut w = World::new("A=3 B=3", [ANN]);
    w.acquire(ANN, "A=1 B=2").is(acquired(1), ["ann gets A=1 #1", "ann gets B=2 #2"]);
    let seen = w.core.semaphore("B").expect("known");
    assert_eq!(seen.holders().map(of_holder).collect::<Vec<_>>(), [(ANN, 2, Some(Token(2)))]);
    assert_eq!(seen.holder(Token(2)).map(of_holder), Some((ANN, 2, Some(Token(2)))));
}

#[test]
fn a_member_shows_its_pattern_and_that_it_is_about_to_go() {
    let mut w = World::new("", [ANN]);
    w.run(|core, now| core.set_pattern(now, "t/*", max(2))).is((), []);
    w.acquire(ANN, "t/a=1").is(acquired(1), ["t/a has max 2", "ann gets t/a=1 #1"]);
    let seen = w.core.semaphore("t/a").expect("known");
    assert_eq!((seen.pattern().map(|name| &**name), seen.is_leaving()), (Some("t/*"), false));
    w.run(|core, now| core.remove_pattern(now, "t/*")).is(true, ["t/a takes no new requests"]);
    assert!(w.core.semaphore("t/a").expect("known").is_leaving());
}

#[test]
fn a_queue_shows_how_long_each_will_wait() {
    let mut w = World::new("A=1", [ANN, BOB, CAT]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.at(secs(8)).release(ANN, "A").is(Ok(()), ["ann gives up A=1 #1 after 8s, Released"]);
    w.acquire(ANN, "A=1").is(acquired(2), ["ann gets A=1 #2"]);
    w.acquire(BOB, "A=1").is(PENDING, ["bob waits for A=1"]);
    w.acquire(CAT, "A=1").is(PENDING, ["cat waits for A=1"]);
    let seen = w.core.semaphore("A").expect("known");
    let waits: Vec<_> = seen.queue(0).map(|waiter| waiter.estimated_wait()).collect();
    assert_eq!(waits, [Some(secs(8)), Some(secs(16))]);
}

#[test]
fn peers_and_semaphores_are_counted_and_walked_through() {
    let w = World::new("A=1 B=2 C=3", [ANN, BOB, CAT]);
    assert_eq!((w.core.peer_count(), w.core.semaphore_count()), (3, 3));
    let names = |after| w.core.semaphores(after).map(|seen| seen.name().to_string()).collect::<Vec<_>>();
    assert_eq!(
        (names(None), names(Some("A"))),
        (vec!["A".into(), "B".into(), "C".into()], vec!["B".into(), "C".into()])
    );
    assert_eq!(ids(w.core.peers(None).map(|(_, peer)| peer)), [ANN, BOB, CAT]);
    let cursor = w.core.peers(None).next().map(|(cursor, _)| cursor);
    assert_eq!(ids(w.core.peers(cursor).map(|(_, peer)| peer)), [BOB, CAT]);
    assert!(w.core.peer_places() >= 3);
    assert_eq!(ids(w.core.peers_at(0..w.core.peer_places()).map(|(_, peer)| peer)), [ANN, BOB, CAT]);
}

#[test]
fn whether_there_is_room_for_a_semaphore_is_known() {
    let limits = Limits { semaphores: 2, ..Settings::default().limits };
    let mut w = World::with_settings(Settings { limits, ..Settings::default() }).with_semaphore("A", max(1));
    assert_eq!(w.core.check_room_for_semaphore(), Ok(()));
    w = w.with_semaphore("B", max(1));
    let full = LimitReached { resource: Resource::Semaphores, limit: 2 };
    assert_eq!(w.core.check_room_for_semaphore(), Err(full));
}

#[test]
fn sums_beyond_a_number_are_shown_as_its_largest() {
    let mut w = World::new(&format!("A={}", i64::MAX), []);
    for peer in [ANN, BOB, CAT] {
        let begins = [
            format!("{} begins, 3600s", name(peer)),
            format!("{} restores A={} without token", name(peer), i64::MAX),
        ];
        let outcome = w.restore(peer, HOUR, &format!("A={}", i64::MAX));
        assert_eq!(outcome.events[..2], begins);
    }
    let seen = w.core.semaphore("A").expect("known");
    assert_eq!((seen.acquired(), seen.remainder()), (i64::MAX, i64::MIN));
}

#[test]
fn events_stay_until_they_are_taken() {
    let mut core = Core::new(Settings::default(), 1, 0);
    assert!(!core.has_events() && core.events().is_empty());
    core.set_semaphore(START, "A", max(1));
    assert!(core.has_events());
    assert_eq!(core.events().len(), 1);
    let events: Vec<Event> = core.drain_events().collect();
    assert!(matches!(events[..], [Event::SemaphoreSet { .. }]));
    assert!(!core.has_events() && core.events().is_empty());
}
