//! Every grant that was ever told of, by its fencing token.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Instant,
};

use throttle_api::Stamp;

/// A grant, as far as it is known when it was given.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) token: u64,
    pub(crate) peer: u64,
    pub(crate) semaphore: String,
    /// It was given after this,
    pub(crate) after: Instant,
    /// and before this.
    pub(crate) before: Instant,
}

/// What is told of the moment at which a living thing began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Times {
    /// Always the same.
    #[default]
    Fixed,
    /// Others: the time of leases stands still while a leader is not confirmed, what is shown of it is by the clock of
    /// now, and a successor need not know of the last such pause.
    Moving,
}

impl Times {
    /// Whether the same moment can have been told of as `before` and then as `now`.
    pub(crate) fn are_alike(self, before: Stamp, now: Stamp) -> bool {
        match self {
            Self::Fixed => before == now,
            Self::Moving => true,
        }
    }
}

#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) times: Times,
    tokens: HashMap<u64, (u64, String)>,
    /// The grants of this round, and of the one before.
    now: Vec<Grant>,
    before: Vec<Grant>,
    /// The largest token of earlier rounds.
    floor: u64,
}

impl Ledger {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(crate) fn knows(&self, token: u64) -> bool {
        self.tokens.contains_key(&token)
    }

    /// Writes down a grant, if it is new.
    pub(crate) fn granted(&mut self, grant: Grant) -> Result<(), String> {
        match self.tokens.entry(grant.token) {
            Entry::Occupied(entry) => {
                let (peer, semaphore) = entry.get();
                if (*peer, semaphore) == (grant.peer, &grant.semaphore) {
                    return Ok(());
                }
                return Err(format!(
                    "token {} was given to peer {peer} on {semaphore}, and to peer {} on {}",
                    grant.token, grant.peer, grant.semaphore
                ));
            }
            Entry::Vacant(entry) => drop(entry.insert((grant.peer, grant.semaphore.clone()))),
        }
        if grant.token <= self.floor {
            return Err(format!("{grant:?}: its token is not above {}, which was given before", self.floor));
        }
        self.now.push(grant);
        Ok(())
    }

    /// Whether a grant that was given after another one has the larger token.
    pub(crate) fn check_order(&self) -> Result<(), String> {
        let mut by_end: Vec<&Grant> = self.before.iter().chain(&self.now).collect();
        let mut by_beginning = by_end.clone();
        by_end.sort_by_key(|grant| grant.before);
        by_beginning.sort_by_key(|grant| grant.after);
        let mut ended = by_end.into_iter().peekable();
        let mut largest: Option<&Grant> = None;
        for grant in by_beginning {
            while let Some(earlier) = ended.next_if(|earlier| earlier.before < grant.after) {
                largest = largest.filter(|largest| largest.token > earlier.token).or(Some(earlier));
            }
            if let Some(earlier) = largest.filter(|earlier| earlier.token >= grant.token) {
                return Err(format!("tokens do not grow: {earlier:?} came before {grant:?}"));
            }
        }
        Ok(())
    }

    /// Begins a new round.
    pub(crate) fn turn(&mut self) {
        let old = std::mem::replace(&mut self.before, std::mem::take(&mut self.now));
        self.floor = old.iter().map(|grant| grant.token).fold(self.floor, u64::max);
    }
}
