use super::*;

fn world<const N: usize>(peers: [PeerId; N]) -> World {
    let mut w = World::new("", peers);
    w.run(|core, now| core.set_pattern(now, "tenant/*", max(1))).is((), []);
    w
}

#[test]
fn a_member_is_made_on_first_use_and_goes_when_idle() {
    let mut w = world([ANN, BOB]);
    w.acquire(ANN, "tenant/a=1").is(acquired(1), ["tenant/a has max 1", "ann gets tenant/a=1 #1"]);
    w.acquire(BOB, "tenant/b=1").is(acquired(2), ["tenant/b has max 1", "bob gets tenant/b=1 #2"]);
    let gone = ["ann gives up tenant/a=1 #1 after 0ns, Released", "tenant/a is removed"];
    w.release(ANN, "tenant/a").is(Ok(()), gone);
    w.release(ANN, "tenant/a").is(Ok(()), []);
    w.acquire(ANN, "tenant/b=1").is(PENDING, ["ann waits for tenant/b=1"]);
}

#[test]
fn a_refused_request_leaves_no_member() {
    let mut w = world([ANN]);
    w.acquire(ANN, "tenant/a=2").is(exceeds("tenant/a", 2, 1), []);
    w.acquire(BOB, "tenant/a=1").is(Err(AcquireError::UnknownPeer), []);
    assert_eq!(w.core.semaphores(None).count(), 0);
    w.acquire(ANN, "other=1").is(Err(AcquireError::UnknownSemaphore("other".into())), []);
}

#[test]
fn the_narrowest_pattern_and_an_own_name_win() {
    let mut w = world([ANN]).with_semaphore("tenant/own", max(7));
    for (pattern, count) in [("*", 2), ("tenant/*/db", 3), ("tenant/x*", 4)] {
        w.run(|core, now| core.set_pattern(now, pattern, max(count))).is((), []);
    }
    let of = |name: &str| w.core.pattern_of(name).map(|(pattern, _)| pattern.to_string());
    assert_eq!(of("tenant/a").as_deref(), Some("tenant/*"));
    assert_eq!(of("tenant/a/db").as_deref(), Some("tenant/*/db"));
    assert_eq!(of("tenant/xa").as_deref(), Some("tenant/x*"));
    assert_eq!(of("other").as_deref(), Some("*"));
    w.acquire(ANN, "tenant/own=7").is(acquired(1), ["ann gets tenant/own=7 #1"]);
}

#[test]
fn members_follow_their_pattern_until_they_are_set_on_their_own() {
    let mut w = world([ANN, BOB]);
    w.acquire(ANN, "tenant/a=1").is(acquired(1), ["tenant/a has max 1", "ann gets tenant/a=1 #1"]);
    w.run(|core, now| core.set_pattern(now, "tenant/*", max(2))).is((), ["tenant/a has max 2"]);
    w.set("tenant/a", max(3)).is((), ["tenant/a has max 3"]);
    w.run(|core, now| core.set_pattern(now, "tenant/*", max(5))).is((), []);
    w.release(ANN, "tenant/a").is(Ok(()), ["ann gives up tenant/a=1 #1 after 0ns, Released"]);
    assert_eq!(w.core.semaphore("tenant/a").expect("it stays").spec().max, 3);
}

#[test]
fn members_of_a_pattern_that_is_gone_drain() {
    let mut w = world([ANN, BOB, CAT]);
    w.acquire(ANN, "tenant/a=1").is(acquired(1), ["tenant/a has max 1", "ann gets tenant/a=1 #1"]);
    w.acquire(BOB, "tenant/a=1").is(PENDING, ["bob waits for tenant/a=1"]);
    w.run(|core, now| core.remove_pattern(now, "tenant/*")).is(true, ["tenant/a takes no new requests"]);
    w.acquire(CAT, "tenant/a=1").is(Err(AcquireError::UnknownSemaphore("tenant/a".into())), []);
    w.acquire(ANN, "tenant/a=1").is(acquired(1), []);
    let freed = ["ann gives up tenant/a=1 #1 after 0ns, Released", "bob gets tenant/a=1 #2 after 0ns"];
    w.release(ANN, "tenant/a").is(Ok(()), freed);
    let gone = ["bob gives up tenant/a=1 #2 after 0ns, Released", "tenant/a is removed"];
    w.release(BOB, "tenant/a").is(Ok(()), gone);
}

#[test]
fn a_pattern_that_is_declared_again_takes_its_members_back() {
    let mut w = world([ANN, BOB]);
    w.acquire(ANN, "tenant/a=1").is(acquired(1), ["tenant/a has max 1", "ann gets tenant/a=1 #1"]);
    w.run(|core, now| core.remove_pattern(now, "tenant/*")).is(true, ["tenant/a takes no new requests"]);
    w.run(|core, now| core.set_pattern(now, "tenant/*", max(1))).is((), ["tenant/a has max 1"]);
    w.acquire(BOB, "tenant/a=1").is(PENDING, ["bob waits for tenant/a=1"]);
}

#[test]
fn semaphores_have_a_limit() {
    let limits = Limits { semaphores: 1, ..Settings::default().limits };
    let mut w = World::with_settings(Settings { limits, ..Settings::default() });
    w.new_peer(ANN, DAY).is(Ok(ANN), ["ann begins, 86400s"]);
    w.run(|core, now| core.set_pattern(now, "*", max(1))).is((), []);
    w.acquire(ANN, "a=1").is(acquired(1), ["a has max 1", "ann gets a=1 #1"]);
    let full = LimitReached { resource: Resource::Semaphores, limit: 1 };
    w.acquire(ANN, "b=1").is(Err(AcquireError::Limit(full)), []);
}

#[test]
fn patterns_are_shown_as_they_are() {
    let mut w = world([]);
    w.run(|core, now| core.set_pattern(now, "job/*", max(-3))).is((), []);
    let shown: Vec<_> =
        w.core.patterns().map(|(name, spec)| (name.to_string(), spec.max, spec.origin)).collect();
    let expected = [("job/*", 0), ("tenant/*", 1)].map(|(name, max)| (name.to_owned(), max, Origin::Pattern));
    assert_eq!(shown, expected);
    w.run(|core, now| core.remove_pattern(now, "job/*")).is(true, []);
    w.run(|core, now| core.remove_pattern(now, "job/*")).is(false, []);
    assert_eq!(w.core.patterns().count(), 1);
}

/// Two patterns have prefixes of one length; each comes and goes on its own.
#[test]
fn a_pattern_that_goes_leaves_others_of_its_length() {
    let mut w = world([]);
    w.run(|core, now| core.set_pattern(now, "tenant/*/db", max(2))).is((), []);
    w.run(|core, now| core.set_pattern(now, "object/*", max(3))).is((), []);
    w.run(|core, now| core.remove_pattern(now, "tenant/*")).is(true, []);
    let of = |w: &World, name: &str| w.core.pattern_of(name).map(|(pattern, _)| pattern.to_string());
    assert_eq!(of(&w, "tenant/a"), None);
    assert_eq!(of(&w, "tenant/a/db").as_deref(), Some("tenant/*/db"));
    assert_eq!(of(&w, "object/a").as_deref(), Some("object/*"));
    w.run(|core, now| core.remove_pattern(now, "tenant/*/db")).is(true, []);
    w.run(|core, now| core.remove_pattern(now, "object/*")).is(true, []);
    assert_eq!(of(&w, "object/a"), None);
}

#[test]
fn a_change_of_a_pattern_is_told_once_for_each_member() {
    let mut w = world([ANN]);
    w.acquire(ANN, "tenant/a=1").is(acquired(1), ["tenant/a has max 1", "ann gets tenant/a=1 #1"]);
    w.run(|core, now| core.remove_pattern(now, "tenant/*")).is(true, ["tenant/a takes no new requests"]);
    w.run(|core, now| core.set_pattern(now, "tenant/*", max(4))).is((), ["tenant/a has max 4"]);
}

#[test]
fn members_detect_deadlocks_if_their_pattern_does() {
    let detect = |max| Spec { deadlock: Deadlock::Detect, ..super::max(max) };
    let mut w = World::new("", [ANN, BOB]);
    w.run(|core, now| core.set_pattern(now, "t/*", detect(1))).is((), []);
    w.acquire(ANN, "t/a=1").is(acquired(1), ["t/a has max 1", "ann gets t/a=1 #1"]);
    w.acquire(BOB, "t/b=1").is(acquired(2), ["t/b has max 1", "bob gets t/b=1 #2"]);
    w.acquire(ANN, "t/b=1").is(PENDING, ["ann waits for t/b=1"]);
    assert!(matches!(w.acquire(BOB, "t/a=1").reply, Err(AcquireError::Deadlock { .. })));
    w.run(|core, now| core.set_pattern(now, "t/*", detect(2)))
        .is((), ["t/a has max 2", "t/b has max 2", "ann gets t/b=1 #3 after 0ns"]);
    w.run(|core, now| core.set_pattern(now, "t/*", max(2))).is((), ["t/a has max 2", "t/b has max 2"]);
    for peer in [ANN, BOB] {
        assert!(w.end(peer, EndCause::Released).reply);
    }
    w.run(|core, now| core.remove_pattern(now, "t/*")).is(true, []);
    assert_eq!(w.core.semaphore_count(), 0);
}

#[test]
fn members_need_room_and_a_short_name() {
    let mut w = World::new("", [ANN]);
    w.run(|core, now| core.set_pattern(now, "*", max(1))).is((), []);
    let (short, long) = ("x".repeat(512), "x".repeat(513));
    assert!(w.core.pattern_of(&short).is_some() && w.core.pattern_of(&long).is_none());
}

/// What goes while it detects deadlocks leaves nobody who thinks that some are detected.
#[test]
fn members_and_patterns_that_detect_deadlocks_go() {
    let detect = |max| Spec { deadlock: Deadlock::Detect, ..super::max(max) };
    let mut w = World::new("", [ANN]).with_semaphore("own", detect(1));
    w.run(|core, now| core.set_pattern(now, "t/*", detect(1))).is((), []);
    w.acquire(ANN, "t/a=1").is(acquired(1), ["t/a has max 1", "ann gets t/a=1 #1"]);
    let gone = ["ann gives up t/a=1 #1 after 0ns, Released", "t/a is removed"];
    w.release(ANN, "t/a").is(Ok(()), gone);
    w.run(|core, now| core.remove_pattern(now, "t/*")).is(true, []);
    w.remove("own", false).is(Ok(()), ["own is removed"]);
}

/// A pattern has so many members at most, and one that goes makes room.
#[test]
fn a_pattern_has_room_for_so_many_members() {
    let limits = Limits { members_per_pattern: 2, ..Settings::default().limits };
    let mut w = World::with_settings(Settings { limits, ..Settings::default() });
    for peer in [ANN, BOB, CAT, DAN] {
        w.new_peer(peer, DAY).is(Ok(peer), [&format!("{} begins, 86400s", name(peer))]);
    }
    for pattern in ["t/*", "u/*"] {
        w.run(|core, now| core.set_pattern(now, pattern, max(1))).is((), []);
    }
    let full = Err(AcquireError::Limit(LimitReached { resource: Resource::Members, limit: 2 }));
    w.acquire(ANN, "t/a=1").is(acquired(1), ["t/a has max 1", "ann gets t/a=1 #1"]);
    w.acquire(BOB, "t/b=1").is(acquired(2), ["t/b has max 1", "bob gets t/b=1 #2"]);
    w.acquire(CAT, "t/c=1").is(full.clone(), []);
    w.acquire(CAT, "u/a=1").is(acquired(3), ["u/a has max 1", "cat gets u/a=1 #3"]);
    w.release(ANN, "t/a").is(Ok(()), ["ann gives up t/a=1 #1 after 0ns, Released", "t/a is removed"]);
    w.acquire(ANN, "t/c=1").is(acquired(4), ["t/c has max 1", "ann gets t/c=1 #4"]);
    w.acquire(DAN, "t/d=1").is(full.clone(), []);
    // One that is set on its own is a member no more.
    w.run(|core, now| core.set_semaphore(now, "t/c", max(1))).is((), ["t/c has max 1"]);
    w.acquire(DAN, "t/d=1").is(acquired(5), ["t/d has max 1", "dan gets t/d=1 #5"]);
}
