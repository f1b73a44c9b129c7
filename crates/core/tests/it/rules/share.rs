//! Quotas: what the peers of one owner may use, all together.

use throttle_core::{Account, By, Claim, Oversight, Quota, Share, Usage};

use super::*;

fn account(name: &str, quota: Quota) -> Account {
    Account { owner: Owner::new(name), quota }
}

fn full<T>(share: Share, limit: usize) -> Result<T, LimitReached> {
    Err(LimitReached { resource: Resource::Share(share), limit })
}

fn make(w: &mut World, account: &Account, peer: PeerId) -> Result<PeerId, NewPeerError> {
    w.run(|core, now| core.new_peer(now, By::Owner(account), HOUR, peer.0, None)).reply
}

fn ask(w: &mut World, peer: Claim<'_>, locks: &str) -> Result<Status, AcquireError> {
    let locks = parse(locks);
    w.run(|core, now| core.acquire(now, &Acquire { peer, locks: &locks, priority: 0, expires_in: None }))
        .reply
}

fn usage(w: &World, account: &Account) -> Usage {
    w.core.audit().expect("it adds up");
    w.core.usage(&account.owner)
}

#[test]
fn an_owner_has_so_many_peers() {
    let mut w = World::new("A=1", []);
    let quota = Quota { peers: 2, ..Quota::NONE };
    let (ann, bob) = (account("ann", quota), account("bob", quota));
    assert_eq!([make(&mut w, &ann, ANN), make(&mut w, &ann, BOB)], [Ok(ANN), Ok(BOB)]);
    assert_eq!(make(&mut w, &ann, CAT), full(Share::Peers, 2));
    // It concerns nobody else.
    assert_eq!(make(&mut w, &bob, CAT), Ok(CAT));
    // Nor does it help to bring a peer back.
    let restore = Restore { peer: DAN.by(By::Owner(&ann)), expires_in: HOUR, locks: &[], labels: None };
    let refused = full::<()>(Share::Peers, 2).map_err(RestoreError::Limit);
    w.run(|core, now| core.restore(now, &restore)).is(refused, []);
    // What has ended counts no more.
    assert!(w.run(|core, now| core.end_peer(now, BOB.by_server(), EndCause::Released)).reply);
    assert_eq!(usage(&w, &ann), Usage { peers: 1, ..Usage::default() });
    w.run(|core, now| core.restore(now, &restore)).is(Ok(()), ["dan begins, 3600s", "dan is ann's"]);
    w.now += 2 * HOUR;
    let ended = w.run(Core::advance);
    assert_eq!(ended.events, ["ann ends, Expired", "dan ends, Expired", "cat ends, Expired"]);
    assert_eq!(usage(&w, &ann), Usage::default());
}

#[test]
fn an_owner_has_so_many_pending_requests() {
    let mut w = World::new("A=1 B=1", [EVE]);
    let ann = account("ann", Quota { pending: 1, ..Quota::NONE });
    for peer in [ANN, BOB, CAT] {
        assert_eq!(make(&mut w, &ann, peer), Ok(peer));
    }
    let [first, second] = [ANN, BOB].map(|peer| peer.by(By::Owner(&ann)));
    w.acquire(EVE, "A=1").is(acquired(1), ["eve gets A=1 #1"]);
    assert_eq!(ask(&mut w, first, "A=1"), PENDING);
    assert_eq!(ask(&mut w, second, "A=1"), full(Share::Pending, 1).map_err(AcquireError::Limit));
    // A repeat is no other request, and what is granted at once does not wait.
    assert_eq!(ask(&mut w, first, "A=1"), PENDING);
    assert_eq!(ask(&mut w, second, "B=1"), acquired(2));
    assert_eq!(usage(&w, &ann), Usage { peers: 3, pending: 1, members: 0 });
    // The grant makes room for another.
    w.release(EVE, "A").is(Ok(()), ["eve gives up A=1 #1 after 0ns, Released", "ann gets A=1 #3 after 0ns"]);
    assert_eq!(ask(&mut w, CAT.by(By::Owner(&ann)), "A=1"), PENDING);
}

/// Over everything.
struct Everything;

impl Oversight for Everything {
    fn covers(&self, _: &str) -> bool {
        true
    }

    fn covers_all(&self) -> bool {
        true
    }
}

#[test]
fn a_pending_request_counts_for_the_owner_of_the_peer_whoever_makes_it() {
    let mut w = World::new("A=1", [EVE]);
    let quota = Quota { pending: 1, ..Quota::NONE };
    let (ann, bob) = (account("ann", quota), account("bob", quota));
    for (account, peer) in [(&ann, ANN), (&ann, CAT), (&bob, BOB), (&bob, DAN)] {
        assert_eq!(make(&mut w, account, peer), Ok(peer));
    }
    w.acquire(EVE, "A=1").is(acquired(1), ["eve gets A=1 #1"]);
    assert_eq!(ask(&mut w, ANN.by(By::Owner(&ann)), "A=1"), PENDING);
    assert_eq!(ask(&mut w, BOB.by(By::Owner(&bob)), "A=1"), PENDING);
    // He has as many as he may have, but this is none of his.
    let overseer = By::Overseer(&bob, &Everything);
    assert_eq!(ask(&mut w, CAT.by(overseer), "A=1"), PENDING);
    assert_eq!([&ann, &bob].map(|account| usage(&w, account).pending), [2, 1]);
    // To be over others frees nobody from his own quota.
    let refused = full(Share::Pending, 1).map_err(AcquireError::Limit);
    assert_eq!(ask(&mut w, DAN.by(overseer), "A=1"), refused);
    // What he did counts for her.
    let hers = [ANN, CAT].map(|peer| peer.by(By::Owner(&ann)));
    w.run(|core, now| core.release_lock(now, hers[0], "A")).reply.expect("known");
    assert_eq!(ask(&mut w, hers[0], "A=1"), refused);
    w.run(|core, now| core.release_lock(now, hers[1], "A")).reply.expect("known");
    assert_eq!(ask(&mut w, hers[0], "A=1"), PENDING);
    // A peer of nobody counts for nobody.
    w.release(EVE, "A").reply.expect("held");
    assert_eq!(ask(&mut w, EVE.by(By::Owner(&bob)), "A=1"), PENDING);
}

#[test]
fn an_owner_makes_so_many_members_of_patterns() {
    let mut w = World::new("", []);
    w.run(|core, now| core.set_pattern(now, "t/*", max(1))).is((), []);
    let quota = Quota { members: 1, ..Quota::NONE };
    let (ann, bob) = (account("ann", quota), account("bob", quota));
    for (account, peer) in [(&ann, ANN), (&ann, BOB), (&bob, CAT)] {
        assert_eq!(make(&mut w, account, peer), Ok(peer));
    }
    let [first, second, other] = [(ANN, &ann), (BOB, &ann), (CAT, &bob)].map(|(p, a)| p.by(By::Owner(a)));
    let made = w.run(|core, now| {
        core.acquire(now, &Acquire { peer: first, locks: &[("t/1", 1)], priority: 0, expires_in: None })
    });
    made.is(acquired(1), ["t/1 has max 1", "t/1 is ann's", "ann gets t/1=1 #1"]);
    assert_eq!(ask(&mut w, second, "t/2=1"), full(Share::Members, 1).map_err(AcquireError::Limit));
    // It is there already, and another makes his own.
    assert_eq!(ask(&mut w, second, "t/1=1"), PENDING);
    assert_eq!(ask(&mut w, other, "t/2=1"), acquired(2));
    // A restart forgets none of that.
    let mut copy = Core::new(w.settings.clone(), 1, 0);
    for event in w.core.snapshot() {
        copy.replay(&event).expect("fits");
    }
    copy.end_replay(START);
    assert_eq!(copy.usage(&ann.owner), Usage { peers: 2, pending: 1, members: 1 });
    assert_eq!(copy.snapshot(), w.core.snapshot());
    // Whoever uses it: it counts for whom it was made, until nobody does, or it is set on its own.
    w.run(|core, now| core.release_lock(now, first, "t/1")).reply.expect("known");
    assert_eq!(usage(&w, &ann).members, 1);
    w.run(|core, now| core.release_lock(now, second, "t/1")).reply.expect("known");
    assert_eq!(usage(&w, &ann).members, 0);
    assert_eq!(usage(&w, &bob).members, 1);
    w.set("t/2", max(1)).is((), ["t/2 has max 1"]);
    assert_eq!(usage(&w, &bob), Usage { peers: 1, ..Usage::default() });
}

#[test]
fn what_is_nobodys_is_not_counted() {
    let w = World::new("A=1", [ANN, BOB]);
    assert_eq!(w.core.usage(&Owner::NOBODY), Usage::default());
}
