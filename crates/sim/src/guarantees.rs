//! What clients may rely on, for those who judge.

use crate::{
    ledger::{Hold, Known, Ledger},
    message::{Call, Request},
    time::{MS, Micros, Moment, SECOND},
};

impl Ledger {
    /// A request that its client has given up, or sent once, may arrive at any time from now on, or once more.
    pub(crate) fn may_arrive(&mut self, request: &Request) {
        if let Call::Session { key: Some(key), .. } = &request.call {
            self.unsettled_keys.insert(key.clone());
        }
    }

    /// By how much a length of time may be another one by the clocks of a cluster, and what is shown of it.
    pub fn tolerance(&self, length: Micros) -> Micros {
        self.setup.cluster.as_ref().map_or(0, |cluster| length * (cluster.drift + 1) / 100 + 20 * MS)
    }

    /// Whether the clocks of servers are too fast or too slow.
    pub fn clocks_drift(&self) -> bool {
        self.setup.cluster.as_ref().is_some_and(|cluster| cluster.drift > 0)
    }

    /// How long the server stood still after a peer was last known to be renewed, and before `until`: its lease goes
    /// on for so long.
    pub fn forgiven(&self, known: &Known, until: Moment) -> Micros {
        let after = known.guaranteed_at.max(self.started_at);
        let counted = self
            .standstills
            .iter()
            .filter(|(at, length)| *at > after && at + length <= until && *length > SECOND);
        counted.map(|(_, length)| length).sum()
    }

    /// The locks on a semaphore that clients relied on from `since` to `until`, as the state `instance` must know.
    pub fn relied_on(
        &self,
        name: &str,
        (since, until): (Moment, Moment),
        instance: u64,
    ) -> Vec<(u64, &Hold)> {
        let peers = self.peers.iter().filter(|(_, known)| {
            known.is_certain() && known.guaranteed_until > until && known.instance == instance
        });
        let held = peers.filter_map(|(peer, known)| Some((*peer, known.held.get(name)?)));
        held.filter(|(_, hold)| hold.told_at <= since && !self.removed.contains_key(name)).collect()
    }
}
