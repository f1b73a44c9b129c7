//! Who can reach whom, and what becomes of requests to etcd.

use throttle_etcd::{
    EtcdError,
    proto::{Operation, TxnRequest, TxnResponse},
};

use super::{
    following::PREFIX,
    setup,
    world::{Cluster, Event},
};
use crate::{
    etcd::kv::{Ask, Told, done},
    time::{MS, Micros, Moment, SECOND},
    world::World,
};

/// A late request arrives within this time: long after its sender gave it up.
const LATE_MAX: Micros = 40 * SECOND;
/// How long a server waits for the renewal of its lease.
const RENEWAL_DEADLINE: Micros = 500 * MS;

/// How the key of the first part of a batch ends.
const FIRST_PART: &[u8] = b"/00000000";

/// Somebody with an end of a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Party {
    Client(usize),
    Server(usize),
    Etcd,
}

impl World<Cluster> {
    /// Whether two parties cannot reach each other now.
    pub(super) fn is_cut(&self, one: Party, other: Party) -> bool {
        let pair = (one.min(other), one.max(other));
        self.service.cuts.get(&pair).is_some_and(|until| self.now < *until)
    }

    /// Two parties cannot reach each other until then.
    pub(super) fn cut(&mut self, one: Party, other: Party, until: Moment) {
        let pair = (one.min(other), one.max(other));
        self.tell(|| format!("{one:?} and {other:?} cannot reach each other"));
        self.service.cuts.insert(pair, until);
    }

    /// A server asks etcd for something, or its clock.
    pub(super) fn ask_etcd(&mut self, from: usize, slot: u64, ask: Ask) {
        let (now, setup) = (self.now, self.service.setup.clone());
        let member = &self.service.members[from];
        let (boot, clock) = (member.boot, member.clock);
        if let Ask::Pause(length) = ask {
            let told = Told::Done;
            return self.later(now + clock.real(length), Event::Told { to: from, boot, slot, told });
        }
        let is_renewal = matches!(ask, Ask::KeepAlive(_));
        let deadline = if is_renewal { setup.deadline.min(RENEWAL_DEADLINE) } else { setup.deadline };
        let told = Told::Failed(EtcdError::Unknown("no answer came in time".to_owned()));
        self.later(now + deadline, Event::Told { to: from, boot, slot, told });
        let (fate, is_cut) = (self.random.u32(0..100), self.is_cut(Party::Server(from), Party::Etcd));
        let is_lost = if is_cut { fate < 50 } else { fate < setup.lost };
        let is_late = is_cut || fate < setup.lost + setup.late;
        if is_lost {
            return;
        }
        // What is under way when a wire is cut may stay in a queue until it is mended.
        let at = now + if is_late { self.random.u64(50..=LATE_MAX) } else { self.way() };
        self.later(at, Event::Asked { from, boot, slot, ask });
    }

    /// A request reaches etcd, which does it, unless it has no quorum.
    pub(super) fn asked(&mut self, from: usize, boot: u64, slot: u64, ask: Ask) {
        let (now, setup) = (self.now, self.service.setup.clone());
        if now < self.service.out_until {
            if self.random.bool() {
                let at = self.service.out_until + self.random.u64(0..=setup.etcd_delay_max);
                self.later(at, Event::Asked { from, boot, slot, ask });
            }
            return;
        }
        let etcd = &mut self.service;
        etcd.store.is_full = now < etcd.full_until;
        etcd.store.expire(now);
        // One whose disk stands still knows nothing of the others.
        let lies = now < etcd.lying_until && matches!(ask, Ask::KeepAlive(_));
        let told = if lies { Told::Lives(true) } else { done(&mut etcd.store, now, &ask) };
        if let (Ask::Txn(request), Told::Txn(TxnResponse { succeeded: true, .. })) = (&ask, &told) {
            self.stays_trimmed(request);
        }
        if self.is_cut(Party::Server(from), Party::Etcd) || self.random.u32(0..100) < setup.unanswered {
            return;
        }
        let at = now + self.way();
        self.later(at, Event::Told { to: from, boot, slot, told });
    }

    /// What was trimmed from the log never comes back.
    fn stays_trimmed(&mut self, request: &TxnRequest) {
        let batches = format!("{PREFIX}/log/").into_bytes();
        for operation in request.success.iter().filter_map(|one| one.request.as_ref()) {
            let trimmed = &mut self.service.trimmed;
            match operation {
                Operation::DeleteRange(gone) if gone.key.starts_with(&batches) => {
                    *trimmed = gone.range_end.clone().max(std::mem::take(trimmed));
                }
                // By its part 0 a batch is there.
                Operation::Put(put)
                    if put.key.starts_with(&batches)
                        && put.key.ends_with(FIRST_PART)
                        && put.key < *trimmed =>
                {
                    let sentence = format!("{} was trimmed, and is back", String::from_utf8_lossy(&put.key));
                    return self.fail("log", sentence);
                }
                _ => {}
            }
        }
    }

    /// How long a message between a server and etcd is under way.
    fn way(&mut self) -> Micros {
        let setup::Cluster { etcd_delay_max, sluggish, deadline, .. } = self.service.setup;
        let is_sluggish = self.random.u32(0..100) < sluggish;
        self.random.u64(50..=if is_sluggish { deadline } else { etcd_delay_max })
    }

    /// An answer reaches a server, or its deadline does.
    pub(super) fn told_server(&mut self, to: usize, boot: u64, slot: u64, told: Told) {
        let member = &mut self.service.members[to];
        if member.boot == boot && member.kv.is_open(slot) {
            member.kv.fill(slot, told);
            member.is_awake = true;
        }
    }
}
