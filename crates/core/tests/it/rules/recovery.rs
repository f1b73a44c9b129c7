//! After a restart: replaying what happened, holding grants back, and whether locks may be brought back.

use super::*;

/// A core that was fed these events.
fn replayed(events: &[Event], now: Time) -> Core {
    let mut core = Core::new(Settings::default(), 1, 0);
    for event in events {
        core.replay(event).expect("it fits");
    }
    core.end_replay(now);
    core.audit().expect("consistent");
    core
}

fn created(peer: PeerId) -> Event {
    Event::PeerCreated { peer, at: START, expires_in: secs(10), labels: None }
}

fn set(semaphore: &str) -> Event {
    Event::SemaphoreSet { semaphore: semaphore.into(), spec: max(1), pattern: None, at: START }
}

fn granted(peer: PeerId, semaphore: &str, token: u64) -> Event {
    let token = Token(token);
    Event::Granted { peer, semaphore: semaphore.into(), count: 1, token, at: START, waited: None }
}

fn queued(peer: PeerId, sequence: u64) -> Event {
    let rank = Rank { key: 0, sequence };
    Event::Queued { peer, semaphore: "A".into(), count: 1, priority: 0, since: START, rank }
}

#[test]
fn a_lease_begins_anew_in_full() {
    let core = replayed(&[created(ANN)], START + HOUR);
    assert_eq!(core.peer(ANN.by_server()).expect("alive").expires_at(), START + HOUR + secs(10));
    assert_eq!(core.next_deadline(), Some(START + HOUR + secs(10) + ms(500)));
}

#[test]
fn a_clock_that_was_set_back_stays_where_the_events_were() {
    let core = replayed(&[set("A"), created(ANN)], Time::default());
    assert_eq!(core.now(), START);
    assert_eq!(core.peer(ANN.by_server()).expect("alive").expires_at(), START + secs(10));
}

#[test]
fn what_cools_comes_back_in_its_time_though_the_clock_was_set_back() {
    let spec = Spec { per: Some(secs(3)), ..max(1) };
    let set = Event::SemaphoreSet { semaphore: "A".into(), spec, pattern: None, at: START };
    let cooling = Event::Cooling { semaphore: "A".into(), count: 1, until: START + HOUR + secs(3) };
    let mut core = Core::new(Settings::default(), 1, 0);
    core.replay_time(START + HOUR);
    for event in [set, cooling] {
        core.replay(&event).expect("it fits");
    }
    core.end_replay(START);
    assert_eq!(core.now(), START + HOUR);
    core.advance(START + HOUR + secs(3));
    assert_eq!(core.semaphore("A").expect("known").cooling(), 0);
}

#[test]
fn tokens_go_on_above_the_largest() {
    let mut core = replayed(&[set("A"), created(ANN), granted(ANN, "A", 99)], START);
    core.end_peer(START, ANN.by_server(), EndCause::Released);
    let core = &mut replayed(&core.snapshot(), START);
    core.new_peer(START, By::Anybody, secs(1), BOB.0, None).expect("room");
    let request = Acquire { peer: BOB.by_server(), locks: &[("A", 1)], priority: 0, expires_in: None };
    assert_eq!(core.acquire(START, &request), acquired(100));
}

#[test]
fn a_waiter_keeps_its_place() {
    let before = [set("A"), created(ANN), created(BOB), created(CAT), granted(ANN, "A", 9)];
    let mut core = replayed(&[&before[..], &[queued(CAT, 1), queued(BOB, 2)]].concat(), START);
    let request = Acquire { peer: CAT.by_server(), locks: &[("A", 1)], priority: 0, expires_in: None };
    assert_eq!(core.acquire(START, &request), PENDING);
    core.end_peer(START, ANN.by_server(), EndCause::Released);
    assert_eq!(core.acquire(START, &request), acquired(10));
}

/// The same of another count.
fn of_count(mut event: Event, of: i64) -> Event {
    if let Event::Granted { count, .. } | Event::Queued { count, .. } = &mut event {
        *count = of;
    }
    event
}

#[test]
fn a_lock_shrinks_in_a_replay() {
    let mut core = Core::new(Settings::default(), 1, 0);
    let shrunk = |count| Event::Shrunk { peer: ANN, semaphore: "A".into(), count, at: START };
    for event in [set("A"), created(ANN), of_count(granted(ANN, "A", 9), 3), shrunk(3), shrunk(1)] {
        core.replay(&event).expect("it fits");
    }
    assert_eq!(core.semaphore("A").expect("known").acquired(), 1);
}

#[test]
fn events_that_do_not_fit_are_refused() {
    let held = of_count(granted(ANN, "A", 9), 3);
    let base = [set("A"), set("B"), created(ANN), created(BOB), held];
    let a = || Name::from("A");
    for (wrong, what) in [
        (created(ANN), "a peer that exists"),
        (granted(ANN, "A", 10), "a lock that is held"),
        (granted(BOB, "A", 9), "a token that was given"),
        (granted(BOB, "A", u64::MAX), "a token beyond all numbers"),
        (granted(BOB, "C", 10), "an unknown semaphore"),
        (granted(CAT, "A", 10), "an unknown peer"),
        (queued(BOB, u64::MAX), "a sequence beyond all numbers"),
        (queued(ANN, 1), "a request for what is held"),
        (
            Event::PeerEnded { peer: ANN, owner: Owner::NOBODY, labels: None, cause: EndCause::Expired },
            "an end with locks",
        ),
        (
            Event::PeerEnded { peer: CAT, owner: Owner::NOBODY, labels: None, cause: EndCause::Expired },
            "an end of nobody",
        ),
        (Event::SemaphoreRemoved { semaphore: a() }, "a removal of what is in use"),
        (Event::SemaphoreRetired { semaphore: "C".into() }, "a retirement of nothing"),
        (Event::Shrunk { peer: BOB, semaphore: a(), count: 1, at: START }, "less of nothing"),
        (Event::Shrunk { peer: ANN, semaphore: a(), count: i64::MIN, at: START }, "less than any number"),
        (Event::Shrunk { peer: ANN, semaphore: a(), count: 0, at: START }, "less than one"),
        (Event::Shrunk { peer: ANN, semaphore: a(), count: 4, at: START }, "more than there was"),
        (of_count(granted(BOB, "A", 10), 0), "a lock of nothing"),
        (of_count(queued(BOB, 1), 0), "a request for nothing"),
        (Event::Cooling { semaphore: a(), count: 0, until: START }, "nothing that comes back"),
        (Event::Paused { semaphore: a(), max_before: 3 }, "a pause of what is not paused"),
        (Event::Paused { semaphore: "C".into(), max_before: 3 }, "a pause of nothing"),
    ] {
        let mut core = Core::new(Settings::default(), 1, 0);
        for event in &base {
            core.replay(event).expect("it fits");
        }
        let error = core.replay(&wrong).expect_err(what);
        assert!(error.contains("does not fit"), "{what}: {error}");
    }
}

#[test]
fn a_semaphore_that_is_to_go_is_still_to_go_after_a_restart() {
    let mut w = World::new("A=1", [ANN, BOB]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.run(|core, now| core.retire_semaphore(now, "A")).is(Ok(()), ["A takes no new requests"]);
    let mut core = replayed(&w.core.snapshot(), START);
    let request = Acquire { peer: BOB.by_server(), locks: &[("A", 1)], priority: 0, expires_in: None };
    assert_eq!(core.acquire(START, &request), Err(AcquireError::UnknownSemaphore("A".into())));
    core.end_peer(START, ANN.by_server(), EndCause::Released);
    assert!(core.semaphore("A").is_err(), "it goes when it is idle");
    w.set("A", max(1)).is((), ["A has max 1"]);
    let mut core = replayed(&w.core.snapshot(), START);
    assert_eq!(core.acquire(START, &request), PENDING, "it was set again");
}

/// The names of what a peer holds, as views show it.
fn held(core: &Core, peer: PeerId) -> Vec<String> {
    let peer = core.peer(peer.by_server()).expect("alive");
    peer.locks().map(|lock| lock.semaphore().to_string()).collect()
}

#[test]
fn locks_keep_their_order_through_a_snapshot() {
    let mut w = World::new("A=1 B=1 C=1 D=1", [ANN]);
    for name in ["C", "B", "D", "A"] {
        w.acquire(ANN, &format!("{name}=1")).reply.expect("free");
        w.run(|core, now| core.release_lock(now, ANN.by_server(), name)).reply.expect("held");
    }
    let locks = [("A", 1, Some(4)), ("B", 1, Some(2)), ("C", 1, Some(1)), ("D", 1, Some(3))];
    w.restore_with(BOB, DAY, &locks).reply.expect("free");
    w.run(|core, now| core.release_lock(now, BOB.by_server(), "C")).reply.expect("held");
    let core = replayed(&w.core.snapshot(), START);
    assert_eq!(held(&w.core, BOB), ["B", "D", "A"]);
    assert_eq!(held(&core, BOB), held(&w.core, BOB));
}

#[test]
fn pieces_of_a_snapshot_are_the_whole() {
    let mut w = World::new("A=5 B=1", [ANN, BOB, CAT]);
    w.acquire(ANN, "A=1 B=1").is(acquired(1), ["ann gets A=1 #1", "ann gets B=1 #2"]);
    let pieces: Vec<_> = w.core.snapshot_in_pieces(4).collect();
    assert!(pieces.len() > 1 && pieces.iter().rev().skip(1).all(|piece| piece.len() >= 4));
    assert_eq!(pieces.concat(), w.core.snapshot());
}

#[test]
fn while_grants_are_held_back_only_restores_take_locks() {
    let mut w = World::new("A=2 B=1", [ANN, BOB]);
    w.core.hold_grants();
    w.acquire(ANN, "A=1").is(PENDING, ["ann waits for A=1"]);
    w.acquire(BOB, "A=1 B=1").is(PENDING, ["bob waits for A=1", "bob waits for B=1"]);
    w.restore(CAT, DAY, "A=1").is(Ok(()), ["cat begins, 86400s", "cat restores A=1 without token"]);
    w.at(ms(1)).set("A", max(3)).is((), ["A has max 3"]);
    assert!(w.core.is_holding_grants());
    w.at(ms(2))
        .run(Core::resume_grants)
        .is((), ["ann gets A=1 #2 after 2ms", "bob gets A=1 #3 after 2ms", "bob gets B=1 #4 after 2ms"]);
    assert!(!w.core.is_holding_grants());
    w.core.audit().expect("consistent");
}

#[test]
fn a_server_that_forgets_nothing_takes_back_only_what_is_free() {
    let mut w = World::with_settings(Settings { restore: RestorePolicy::IfFree, ..Settings::default() });
    w = w.with_semaphore("A", max(2));
    w.restore(ANN, DAY, "A=1").is(Ok(()), ["ann begins, 86400s", "ann restores A=1 without token"]);
    let refusal = RestoreError::DoesNotFit { semaphore: "A".into(), count: 2, acquired: 1, max: 2 };
    w.restore(BOB, DAY, "A=2").is(Err(refusal), []);
    w.restore(BOB, DAY, "").is(Ok(()), ["bob begins, 86400s"]);
    w.acquire(BOB, "A=2").is(PENDING, ["bob waits for A=2"]);
    let outcome = w.restore(CAT, DAY, "A=1");
    outcome.is(Ok(()), ["cat begins, 86400s", "cat restores A=1 without token"]);
}

#[test]
fn a_server_may_take_nothing_back() {
    let mut w = World::with_settings(Settings { restore: RestorePolicy::Deny, ..Settings::default() });
    w = w.with_semaphore("A", max(2));
    w.restore(ANN, DAY, "A=1").is(Err(RestoreError::Denied), []);
    w.restore(ANN, DAY, "").is(Ok(()), ["ann begins, 86400s"]);
    w.acquire(ANN, "A=1").is(acquired(1), ["ann gets A=1 #1"]);
    w.restore(ANN, DAY, "A=1").is(Ok(()), []);
}

#[test]
fn what_was_due_back_is_not_kept() {
    let mut core = Core::new(Settings::default(), 1, 0);
    core.set_semaphore(START, "A", Spec { per: Some(secs(1)), ..max(9) });
    let mut events: Vec<Event> = core.drain_events().collect();
    for second in 0..3 {
        let now = START + secs(2 * second);
        core.new_peer(now, By::Anybody, HOUR, ANN.0, None).expect("room");
        let request = Acquire { peer: ANN.by_server(), locks: &[("A", 1)], priority: 0, expires_in: None };
        core.acquire(now, &request).expect("granted");
        core.end_peer(now + ms(1), ANN.by_server(), EndCause::Released);
        events.extend(core.drain_events());
    }
    // As a snapshot is made: without an end of the replay.
    let mut played = Core::new(Settings::default(), 1, 0);
    for event in &events {
        played.replay(event).expect("it fits");
    }
    let cooling = |core: &Core| {
        let snapshot = core.snapshot();
        snapshot.into_iter().filter(|event| matches!(event, Event::Cooling { .. })).collect::<Vec<_>>()
    };
    assert_eq!((cooling(&played).len(), cooling(&played)), (1, cooling(&core)));
}

#[test]
fn a_snapshot_comes_in_pieces_of_a_size() {
    let w = World::new("A=1 B=1", [ANN, BOB, CAT]);
    let whole = w.core.snapshot();
    assert_eq!(whole.len(), 6);
    for (size, sizes) in [(1, vec![3, 1, 1, 1]), (3, vec![3, 3]), (4, vec![4, 2]), (6, vec![6]), (9, vec![6])]
    {
        let pieces: Vec<_> = w.core.snapshot_in_pieces(size).collect();
        assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), sizes, "{size}");
        assert_eq!(pieces.concat(), whole);
    }
}
