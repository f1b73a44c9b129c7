//! Whose a peer is: to others it is as unknown as one that never was.

use throttle_core::{Account, By, Claim, Oversight, Owner};

use super::*;

/// Over semaphores whose names begin so.
struct Over(&'static str);

impl Oversight for Over {
    fn covers(&self, semaphore: &str) -> bool {
        semaphore.starts_with(self.0)
    }

    fn covers_all(&self) -> bool {
        self.0.is_empty()
    }
}

fn account(name: &str) -> Account {
    Owner::new(name).into()
}

/// Ann's and Bob's peers, and what they hold and wait for.
fn world() -> (World, Account, Account) {
    let [ann, bob] = ["ann", "bob"].map(account);
    let mut w = World::new("etl/a=1 web=1", []);
    for (peer, owner) in [(ANN, &ann), (BOB, &bob)] {
        let events = [format!("{} begins, 86400s", name(peer)), format!("{0} is {0}'s", name(peer))];
        let made = w.run(|core, now| core.new_peer(now, By::Owner(owner), DAY, peer.0, None));
        assert_eq!((made.reply, made.events), (Ok(peer), events.to_vec()));
    }
    let ask =
        Acquire { peer: ANN.by(By::Owner(&ann)), locks: &[("etl/a", 1)], priority: 0, expires_in: None };
    w.run(|core, now| core.acquire(now, &ask)).is(acquired(1), ["ann gets etl/a=1 #1"]);
    (w, ann, bob)
}

/// All that can be done with a peer, each refused as if it were unknown.
fn is_unknown(w: &mut World, claim: Claim<'_>) {
    let ask = Acquire { peer: claim, locks: &[("web", 1)], priority: 0, expires_in: Some(HOUR) };
    w.run(|core, now| core.acquire(now, &ask)).is(Err(AcquireError::UnknownPeer), []);
    w.run(|core, now| core.heartbeat(now, claim, HOUR)).is(Err(UnknownPeer), []);
    w.run(|core, now| core.release_lock(now, claim, "etl/a")).is(Err(ReleaseError::UnknownPeer), []);
    w.run(|core, now| core.end_peer(now, claim, EndCause::Operator)).is(false, []);
    w.run(|core, now| core.poll(now, claim)).is(Err(AcquireError::UnknownPeer), []);
    w.run(|core, now| core.connect(now, claim)).is(Err(AcquireError::UnknownPeer), []);
    w.run(|core, now| core.disconnect(now, claim)).is((), []);
    assert!(w.core.peer(claim).is_err());
    // That it is there shows, as its id is taken: but nothing of it, whatever the restore says.
    for locks in [&[][..], &[RestoreLock { semaphore: "etl/a", count: 1, token: None }][..]] {
        let restore = Restore { peer: claim, expires_in: HOUR, locks, labels: None };
        w.run(|core, now| core.restore(now, &restore)).is(Err(RestoreError::Conflict), []);
    }
    assert_eq!(w.expires_at(claim.peer), DAY);
}

#[test]
fn the_peer_of_another_is_unknown() {
    let (mut w, ann, bob) = world();
    is_unknown(&mut w, ANN.by(By::Owner(&bob)));
    w.run(|core, now| core.heartbeat(now, ANN.by(By::Owner(&ann)), HOUR)).is(Ok(()), ["ann lasts 3600s"]);
    w.run(|core, now| core.release_lock(now, ANN.by(By::Owner(&ann)), "etl/a"))
        .is(Ok(()), ["ann gives up etl/a=1 #1 after 0ns, Released"]);
}

#[test]
fn whoever_is_over_all_that_a_peer_uses_may_act_on_it() {
    let (mut w, ann, bob) = world();
    is_unknown(&mut w, ANN.by(By::Overseer(&bob, &Over("web"))));
    let overseen = ANN.by(By::Overseer(&bob, &Over("etl/")));
    assert!(w.core.peer(overseen).is_ok());
    // It asks for something else beside, and is out of reach.
    let ask = Acquire { peer: BOB.by(By::Owner(&bob)), locks: &[("web", 1)], priority: 0, expires_in: None };
    w.run(|core, now| core.acquire(now, &ask)).is(acquired(2), ["bob gets web=1 #2"]);
    w.set("web", Spec { level: -1, ..max(1) }).is((), ["web has max 1, level -1"]);
    let ask = Acquire { peer: ANN.by(By::Owner(&ann)), locks: &[("web", 1)], priority: 0, expires_in: None };
    w.run(|core, now| core.acquire(now, &ask)).is(PENDING, ["ann waits for web=1"]);
    is_unknown(&mut w, overseen);
    let everything = ANN.by(By::Overseer(&bob, &Over("")));
    w.run(|core, now| core.end_peer(now, everything, EndCause::Operator)).is(
        true,
        [
            "ann stops waiting for web=1, Operator",
            "ann gives up etl/a=1 #1 after 0ns, Operator",
            "ann ends, Operator",
        ],
    );
}

/// A peer that uses nothing is for those only who are over everything.
#[test]
fn nobody_is_over_a_part_of_nothing() {
    let (mut w, ann, _) = world();
    is_unknown_but_free(&mut w, BOB.by(By::Overseer(&ann, &Over("etl/"))));
    assert!(w.core.peer(BOB.by(By::Overseer(&ann, &Over("")))).is_ok());
}

fn is_unknown_but_free(w: &mut World, claim: Claim<'_>) {
    assert!(w.core.peer(claim).is_err());
    w.run(|core, now| core.heartbeat(now, claim, HOUR)).is(Err(UnknownPeer), []);
}

#[test]
fn what_nobody_owns_is_for_everybody() {
    let mut w = World::new("A=1", [ANN]);
    let bob = account("bob");
    w.run(|core, now| core.heartbeat(now, ANN.by(By::Owner(&bob)), HOUR)).is(Ok(()), ["ann lasts 3600s"]);
    assert_eq!(w.core.peer(ANN.by_server()).expect("known").owner(), &Owner::NOBODY);
}

#[test]
fn whoever_brings_a_peer_back_has_it() {
    let mut w = World::new("A=1", []);
    let [ann, bob] = ["ann", "bob"].map(account);
    let locks = [RestoreLock { semaphore: "A", count: 1, token: None }];
    let restore = Restore { peer: ANN.by(By::Owner(&ann)), expires_in: DAY, locks: &locks, labels: None };
    w.run(|core, now| core.restore(now, &restore))
        .is(Ok(()), ["ann begins, 86400s", "ann is ann's", "ann restores A=1 without token"]);
    assert!(w.core.peer(ANN.by(By::Owner(&bob))).is_err());
    assert_eq!(w.core.peer(ANN.by(By::Owner(&ann))).expect("hers").owner().name(), Some("ann"));
}

#[test]
fn a_snapshot_tells_whose_peers_are() {
    let (w, ann, bob) = world();
    let mut copy = Core::new(w.settings.clone(), 1, 0);
    for event in w.core.snapshot() {
        copy.replay(&event).expect("fits");
    }
    copy.end_replay(START);
    assert!(copy.peer(ANN.by(By::Owner(&ann))).is_ok() && copy.peer(ANN.by(By::Owner(&bob))).is_err());
}
