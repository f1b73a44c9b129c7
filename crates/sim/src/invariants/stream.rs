//! The stream of events: nothing is missing in it, and whoever reads it knows what a look shows.

use std::{collections::BTreeMap, sync::Arc};

use throttle_core::{Event, PeerId};

use super::{Invariant, Shown, Verdict};
use crate::{ledger::Ledger, message::Semaphore};

type Counts = BTreeMap<(Arc<str>, u64), i64>;

#[derive(Default)]
pub(super) struct Stream {
    next: Option<u64>,
    acquired: Counts,
    pending: Counts,
}

impl Stream {
    fn take(&mut self, event: &Event) {
        let key = |semaphore: &str, peer: &PeerId| (Arc::from(semaphore), peer.0);
        match event {
            Event::Granted { peer, semaphore, count, .. } => {
                self.pending.remove(&key(semaphore, peer));
                self.acquired.insert(key(semaphore, peer), *count);
            }
            Event::Restored { peer, semaphore, count, .. } => {
                self.acquired.insert(key(semaphore, peer), *count);
            }
            Event::Queued { peer, semaphore, count, .. } => {
                self.pending.insert(key(semaphore, peer), *count);
            }
            Event::Released { peer, semaphore, .. } => drop(self.acquired.remove(&key(semaphore, peer))),
            Event::Withdrawn { peer, semaphore, .. } => drop(self.pending.remove(&key(semaphore, peer))),
            Event::Shrunk { peer, semaphore, count, .. } => {
                for counts in [&mut self.acquired, &mut self.pending] {
                    if let Some(kept) = counts.get_mut(&key(semaphore, peer)) {
                        *kept = *count;
                    }
                }
            }
            Event::SemaphoreSet { .. }
            | Event::SemaphoreRemoved { .. }
            | Event::SemaphoreRetired { .. }
            | Event::PeerCreated { .. }
            | Event::PeerOwned { .. }
            | Event::SemaphoreOwned { .. }
            | Event::PeerEnded { .. }
            | Event::LeaseChanged { .. }
            | Event::Connected { .. }
            | Event::Overcommitted { .. }
            | Event::Counters { .. }
            | Event::Cooling { .. }
            | Event::Paused { .. } => {}
        }
    }

    fn look(&mut self, semaphores: &[Semaphore]) {
        let of = |list: fn(&Semaphore) -> &Vec<(u64, i64)>| {
            let pairs = semaphores.iter().flat_map(|one| list(one).iter().map(move |pair| (one, pair)));
            pairs.map(|(one, (peer, count))| ((one.name.clone(), *peer), *count)).collect::<Counts>()
        };
        self.acquired = of(|one| &one.holders);
        self.pending = of(|one| &one.queue);
    }
}

impl Invariant for Stream {
    fn name(&self) -> &'static str {
        "stream"
    }

    fn shown(&mut self, _: &Ledger, shown: &Shown<'_>) -> Verdict {
        if shown.is_broken {
            self.next = None;
        }
        for (number, logged) in shown.events {
            if self.next.is_some_and(|next| next != *number) {
                return Err(format!("event {:?} is missing, and {number} comes", self.next));
            }
            self.next = Some(number + 1);
            self.take(&logged.event);
        }
        if shown.is_broken {
            self.look(&shown.seen.semaphores);
            return Ok(());
        }
        let (acquired, pending) = (std::mem::take(&mut self.acquired), std::mem::take(&mut self.pending));
        self.look(&shown.seen.semaphores);
        if acquired != self.acquired {
            return Err(format!(
                "by the events these are held: {acquired:?}; by a look: {:?}",
                self.acquired
            ));
        }
        if pending != self.pending {
            return Err(format!("by the events these wait: {pending:?}; by a look: {:?}", self.pending));
        }
        Ok(())
    }
}
