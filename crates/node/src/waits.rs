//! The requests that wait for a grant with their connection open.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use throttle_core::{Account, By, Owner, PeerId, Time, planted};

/// Identifies a waiting request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// The waiting requests: whose they are, and when each wait is over.
///
/// A client that lost its connection may ask again while its old request is not yet gone, so there may be several for
/// one peer.
pub(crate) struct Waits {
    limit: usize,
    next: u64,
    by_peer: HashMap<PeerId, Vec<Wait>, foldhash::fast::RandomState>,
    /// How many each owner has that has any.
    by_owner: BTreeMap<Owner, usize>,
    /// Every wait by a time that is not after its end.
    deadlines: BTreeSet<(Time, Ticket, PeerId)>,
}

/// There is no room for one more waiting request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyWaits {
    /// How many there may be.
    pub limit: usize,
    /// Whether that is the share of whoever asks.
    pub is_share: bool,
}

/// A waiting request.
#[derive(Clone, Debug)]
struct Wait {
    ticket: Ticket,
    /// Whose it is.
    owner: Owner,
    /// When the client wants an answer.
    until: Time,
    /// Where it stands in the index of deadlines.
    indexed_at: Time,
}

/// A wait whose deadline came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) ticket: Ticket,
    pub(crate) peer: PeerId,
    pub(crate) until: Time,
}

impl Waits {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            next: 0,
            by_peer: HashMap::default(),
            by_owner: BTreeMap::new(),
            deadlines: BTreeSet::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.deadlines.len()
    }

    /// Enters somebody's request of `peer` that waits until `until`, and is looked at again at `at`.
    ///
    /// # Errors
    ///
    /// If as many wait as may.
    pub(crate) fn enter(
        &mut self,
        by: By<'_>,
        peer: PeerId,
        until: Time,
        at: Time,
    ) -> Result<Ticket, TooManyWaits> {
        if self.len() >= self.limit {
            return Err(TooManyWaits { limit: self.limit, is_share: false });
        }
        if let Some(Account { owner, quota }) = by.account() {
            let own = self.by_owner.get(owner).copied().unwrap_or(0);
            if own >= quota.blocked && !planted!(BlockedIgnored) {
                return Err(TooManyWaits { limit: quota.blocked, is_share: true });
            }
            self.by_owner.insert(owner.clone(), own + 1);
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        self.by_peer.entry(peer).or_default().push(Wait { ticket, owner: by.owner(), until, indexed_at: at });
        self.deadlines.insert((at, ticket, peer));
        Ok(ticket)
    }

    /// Removes a request that waits no longer, if it was not removed already. Tells whether it was its peer's last.
    pub(crate) fn leave(&mut self, peer: PeerId, ticket: Ticket) -> bool {
        let Some(waits) = self.by_peer.get_mut(&peer) else { return false };
        let Some(at) = waits.iter().position(|wait| wait.ticket == ticket) else { return false };
        let wait = waits.swap_remove(at);
        self.deadlines.remove(&(wait.indexed_at, ticket, peer));
        count_off(&mut self.by_owner, &wait.owner);
        let was_last = waits.is_empty();
        if was_last {
            self.by_peer.remove(&peer);
        }
        was_last
    }

    /// Whether a request of this peer waits.
    pub(crate) fn has(&self, peer: PeerId) -> bool {
        self.by_peer.contains_key(&peer)
    }

    /// Removes all requests of a peer: something happened to what they wait for. Passes each to `wake`, the oldest
    /// first, and returns the first.
    pub(crate) fn take_all(&mut self, peer: PeerId, mut wake: impl FnMut(Ticket)) -> Option<Ticket> {
        if self.by_peer.is_empty() {
            return None;
        }
        let mut waits = self.by_peer.remove(&peer)?;
        waits.sort_unstable_by_key(|wait| wait.ticket);
        for wait in &waits {
            self.deadlines.remove(&(wait.indexed_at, wait.ticket, peer));
            count_off(&mut self.by_owner, &wait.owner);
            wake(wait.ticket);
        }
        waits.first().map(|wait| wait.ticket)
    }

    /// Removes every request.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (Ticket, PeerId)> + use<> {
        self.by_peer.clear();
        self.by_owner.clear();
        std::mem::take(&mut self.deadlines).into_iter().map(|(_, ticket, peer)| (ticket, peer))
    }

    /// When the next wait is to be looked at.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|&(at, _, _)| at)
    }

    /// The next wait whose deadline has come by `now`, if there is one. It stays where it is.
    pub(crate) fn due(&self, now: Time) -> Option<Due> {
        let &(_, ticket, peer) = self.deadlines.first().filter(|&&(at, _, _)| at <= now)?;
        let wait = self.by_peer.get(&peer)?.iter().find(|wait| wait.ticket == ticket)?;
        Some(Due { ticket, peer, until: wait.until })
    }

    /// Brings the waits of a peer forward to the time that `at` gives: its lease may end earlier than it did.
    pub(crate) fn bring_forward(&mut self, peer: PeerId, at: impl FnOnce() -> Option<Time>) {
        if self.by_peer.is_empty() {
            return;
        }
        let Some(waits) = self.by_peer.get_mut(&peer) else { return };
        let Some(at) = at() else { return };
        for wait in waits.iter_mut().filter(|wait| wait.indexed_at > at) {
            reindex(&mut self.deadlines, peer, wait, at);
        }
    }

    /// Puts off the deadline of a wait.
    pub(crate) fn postpone(&mut self, due: Due, at: Time) {
        let waits = self.by_peer.get_mut(&due.peer).into_iter().flatten();
        for wait in waits.filter(|wait| wait.ticket == due.ticket) {
            reindex(&mut self.deadlines, due.peer, wait, at);
        }
    }
}

/// One request of this owner waits no longer.
fn count_off(by_owner: &mut BTreeMap<Owner, usize>, owner: &Owner) {
    if let Some(own) = by_owner.get_mut(owner) {
        *own -= 1;
        if *own == 0 {
            by_owner.remove(owner);
        }
    }
}

/// Has a wait looked at again at another time.
fn reindex(deadlines: &mut BTreeSet<(Time, Ticket, PeerId)>, peer: PeerId, wait: &mut Wait, at: Time) {
    deadlines.remove(&(wait.indexed_at, wait.ticket, peer));
    wait.indexed_at = at;
    deadlines.insert((at, wait.ticket, peer));
}

#[cfg(test)]
mod tests {
    use throttle_core::Quota;

    use super::*;

    fn at(micros: u64) -> Time {
        Time::from_micros(micros)
    }

    #[test]
    fn there_is_a_limit() {
        let mut waits = Waits::new(2);
        let first = waits.enter(By::Anybody, PeerId(1), at(9), at(9)).unwrap();
        waits.enter(By::Anybody, PeerId(1), at(9), at(9)).unwrap();
        assert_eq!(
            waits.enter(By::Anybody, PeerId(2), at(9), at(9)),
            Err(TooManyWaits { limit: 2, is_share: false })
        );
        assert!(!waits.leave(PeerId(1), first), "another one waits");
        assert!(!waits.leave(PeerId(1), first), "it is gone");
        assert!(waits.enter(By::Anybody, PeerId(2), at(9), at(9)).is_ok());
    }

    #[test]
    fn nobody_has_more_than_his_share() {
        let mut waits = Waits::new(10);
        let [ann, bob] = ["ann", "bob"].map(|name| {
            let quota = Quota { blocked: 2, ..Quota::NONE };
            Account { owner: Owner::new(name), quota }
        });
        let first = waits.enter(By::Owner(&ann), PeerId(1), at(9), at(9)).unwrap();
        waits.enter(By::Owner(&ann), PeerId(2), at(9), at(9)).unwrap();
        let full = Err(TooManyWaits { limit: 2, is_share: true });
        assert_eq!(waits.enter(By::Owner(&ann), PeerId(3), at(9), at(9)), full);
        // It concerns nobody else, and what is over does not count.
        assert!(waits.enter(By::Owner(&bob), PeerId(4), at(9), at(9)).is_ok());
        waits.leave(PeerId(1), first);
        assert!(waits.enter(By::Owner(&ann), PeerId(3), at(9), at(9)).is_ok());
        waits.take_all(PeerId(2), |_| {});
        assert!(waits.enter(By::Owner(&ann), PeerId(3), at(9), at(9)).is_ok());
        assert_eq!(waits.enter(By::Owner(&ann), PeerId(3), at(9), at(9)), full);
        drop(waits.drain());
        assert!(waits.enter(By::Owner(&ann), PeerId(3), at(9), at(9)).is_ok());
    }

    #[test]
    fn a_wait_comes_up_at_its_deadline_and_may_be_postponed() {
        let mut waits = Waits::new(10);
        let ticket = waits.enter(By::Anybody, PeerId(1), at(9), at(5)).unwrap();
        let later = waits.enter(By::Anybody, PeerId(2), at(7), at(7)).unwrap();
        assert_eq!((waits.next_deadline(), waits.due(at(4))), (Some(at(5)), None));
        let due = waits.due(at(5)).unwrap();
        assert_eq!(due, Due { ticket, peer: PeerId(1), until: at(9) });
        waits.postpone(due, at(9));
        assert_eq!(waits.due(at(8)).map(|due| due.ticket), Some(later));
        assert!(waits.leave(PeerId(2), later));
        assert_eq!(waits.next_deadline(), Some(at(9)));
        assert!(waits.leave(PeerId(1), ticket) && waits.next_deadline().is_none());
    }

    #[test]
    fn the_waits_of_a_peer_come_up_earlier_if_its_lease_does() {
        let mut waits = Waits::new(10);
        let ticket = waits.enter(By::Anybody, PeerId(1), at(9), at(7)).unwrap();
        waits.enter(By::Anybody, PeerId(2), at(9), at(6)).unwrap();
        waits.bring_forward(PeerId(1), || Some(at(8)));
        assert_eq!(waits.due(at(6)).map(|due| due.peer), Some(PeerId(2)), "it is earlier already");
        waits.bring_forward(PeerId(1), || Some(at(3)));
        waits.bring_forward(PeerId(3), || panic!("it does not wait"));
        assert_eq!(waits.due(at(3)), Some(Due { ticket, peer: PeerId(1), until: at(9) }));
        assert!(waits.leave(PeerId(1), ticket));
        assert_eq!(waits.next_deadline(), Some(at(6)));
    }

    #[test]
    fn all_of_a_peer_are_woken_in_their_order() {
        let mut waits = Waits::new(10);
        let mine: Vec<_> =
            (0..3).map(|_| waits.enter(By::Anybody, PeerId(1), at(9), at(9)).unwrap()).collect();
        let other = waits.enter(By::Anybody, PeerId(2), at(9), at(9)).unwrap();
        let mut woken = Vec::new();
        assert_eq!(waits.take_all(PeerId(1), |ticket| woken.push(ticket)), mine.first().copied());
        assert_eq!(woken, mine);
        assert!(!waits.has(PeerId(1)) && waits.has(PeerId(2)));
        assert_eq!(waits.drain().collect::<Vec<_>>(), [(other, PeerId(2))]);
        assert_eq!((waits.len(), waits.has(PeerId(2))), (0, false));
    }
}
