//! How peers and grants ended that ended not long ago: so that a client whose peer or token is gone can be told why.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use throttle_core::{Claim, EndCause, Owner, PeerId, Token, planted};
use throttle_journal::WallTime;

/// How a peer or a grant ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Why.
    pub cause: EndCause,
    /// What the operator who released it gave as the reason.
    pub reason: Option<Arc<str>>,
    /// When, by the wall clock of that moment.
    pub at: WallTime,
}

/// A peer that ended.
struct Ended {
    number: u64,
    owner: Owner,
    ending: Ending,
}

/// A memory of the last endings of peers; the oldest make room for new ones.
pub(crate) struct Endings {
    limit: usize,
    next: u64,
    by_peer: HashMap<PeerId, Ended, foldhash::fast::RandomState>,
    /// In order of their ends. A peer that was restored and ended again is in here twice; its number tells
    /// which entry counts.
    order: VecDeque<(u64, PeerId)>,
}

impl Endings {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, next: 0, by_peer: HashMap::default(), order: VecDeque::new() }
    }

    pub(crate) fn remember(&mut self, peer: PeerId, owner: Owner, mut ending: Ending) {
        if planted!(EndingConfused) && ending.cause == EndCause::Expired {
            ending.cause = EndCause::Released;
        }
        if self.limit == 0 || planted!(EndingForgotten) {
            return;
        }
        if self.order.len() >= self.limit
            && let Some((number, oldest)) = self.order.pop_front()
            && self.by_peer.get(&oldest).is_some_and(|ended| ended.number == number)
        {
            self.by_peer.remove(&oldest);
        }
        self.by_peer.insert(peer, Ended { number: self.next, owner, ending });
        self.order.push_back((self.next, peer));
        self.next += 1;
    }

    /// How a peer ended, for its owner and those who are over everything.
    pub(crate) fn of(&self, claim: Claim<'_>) -> Option<&Ending> {
        let ended = self.by_peer.get(&claim.peer)?;
        claim.by.owns(&ended.owner).then_some(&ended.ending)
    }
}

/// A memory of the last endings of grants. Tokens are numbers in a row, so each has a place of its own among the
/// last of them, and nothing has to be searched for.
pub(crate) struct TokenEndings {
    limit: usize,
    /// The token whose place is the first one.
    first: Option<u64>,
    by_place: Vec<Option<(Token, Ending)>>,
}

impl TokenEndings {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, first: None, by_place: Vec::new() }
    }

    pub(crate) fn remember(&mut self, token: Token, ending: Ending) {
        if self.limit == 0 {
            return;
        }
        self.first.get_or_insert(token.0);
        let Some(place) = self.place(token) else { return };
        if self.by_place.len() <= place {
            self.by_place.resize(place + 1, None);
        }
        if let Some(entry) = self.by_place.get_mut(place) {
            *entry = Some((token, ending));
        }
    }

    pub(crate) fn of(&self, token: Token) -> Option<&Ending> {
        let entry = self.by_place.get(self.place(token)?)?.as_ref();
        entry.filter(|(of, _)| *of == token).map(|(_, ending)| ending)
    }

    /// Where a token has its place: before the first one there is none.
    fn place(&self, token: Token) -> Option<usize> {
        let distance = usize::try_from(token.0.checked_sub(self.first?)?).ok()?;
        distance.checked_rem(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use throttle_core::{Account, By};

    use super::*;

    fn ending(micros: u64) -> Ending {
        Ending { cause: EndCause::Released, reason: None, at: WallTime::from_micros(micros) }
    }

    #[test]
    fn the_oldest_are_forgotten_first() {
        let mut ended = Endings::new(2);
        // The first peer ends twice: its later end outlives its earlier place in the order.
        for (peer, micros) in [(1, 1), (1, 2), (2, 3)] {
            ended.remember(PeerId(peer), Owner::NOBODY, ending(micros));
        }
        assert_eq!(ended.of(PeerId(1).by_server()), Some(&ending(2)));
        assert_eq!(ended.of(PeerId(2).by_server()), Some(&ending(3)));
        ended.remember(PeerId(3), Owner::NOBODY, ending(4));
        assert_eq!(ended.of(PeerId(1).by_server()), None);
        assert_eq!(ended.by_peer.len(), 2);
        assert_eq!(ended.order.len(), 2);
    }

    #[test]
    fn how_a_peer_ended_is_for_its_owner() {
        let mut ended = Endings::new(2);
        let [ann, bob] = ["ann", "bob"].map(|name| Account::from(Owner::new(name)));
        ended.remember(PeerId(1), ann.owner.clone(), ending(1));
        assert_eq!(ended.of(PeerId(1).by(By::Owner(&ann))), Some(&ending(1)));
        assert_eq!(ended.of(PeerId(1).by(By::Owner(&bob))), None);
        assert_eq!(ended.of(PeerId(1).by_server()), Some(&ending(1)));
    }

    #[test]
    fn of_grants_the_last_are_remembered() {
        let mut ended = TokenEndings::new(3);
        for token in [101, 100, 102, 103, 104] {
            ended.remember(Token(token), ending(token));
        }
        // The first one that ends begins the row; one from before it, or too long ago, is unknown.
        let known: Vec<u64> = (90..110).filter(|token| ended.of(Token(*token)).is_some()).collect();
        assert_eq!(known, [102, 103, 104]);
        assert_eq!(ended.of(Token(103)), Some(&ending(103)));
        let mut none = TokenEndings::new(0);
        none.remember(Token(1), ending(1));
        assert_eq!(none.of(Token(1)), None);
    }
}
