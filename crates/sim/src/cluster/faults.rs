//! What goes wrong in a cluster, now and then.

use super::{
    member::State,
    network::Party,
    setup,
    world::{Cluster, Event, STOP},
};
use crate::{
    ledger::Note,
    setup::{Faults, pick},
    time::{MS, Micros, SECOND},
    world::World,
};

/// How long a server stands still at most.
pub(super) const STANDSTILL_MAX: Micros = 30 * SECOND;

impl World<Cluster> {
    pub(super) fn go_wrong(&mut self) {
        let chance = self.random.u32(0..1_000);
        let Faults { crashes, pauses, stops, operators, thefts, clock_is_set, .. } = self.faults;
        let setup::Cluster { cuts, outages, floods, elections, lies, revocations, .. } = self.service.setup;
        let mut below = 0;
        let mut hits = |share: u32| {
            below += share;
            chance < below
        };
        if hits(crashes) {
            self.die_and_start(clock_is_set);
        } else if hits(pauses) {
            self.stand_still(clock_is_set);
        } else if hits(stops) {
            self.stop();
        } else if hits(operators) {
            self.operate();
        } else if hits(thefts) {
            if !self.setup.owners.is_empty() {
                self.steal();
            }
        } else if hits(cuts) {
            self.cut_somebody_off();
        } else if hits(outages) {
            let length = self.some_time(20 * SECOND);
            self.tell(|| format!("etcd has no quorum for {length} us"));
            self.service.out_until = self.now + length;
        } else if hits(floods) {
            let length = self.some_time(30 * SECOND);
            self.tell(|| format!("etcd is full for {length} us"));
            self.service.full_until = self.now + length;
        } else if hits(elections) {
            self.tell(|| "another member of etcd leads".to_owned());
            self.service.store.restart_leases(self.now);
            self.service.out_until = self.now + self.some_time(3 * SECOND);
        } else if hits(lies) {
            let length = self.some_time(10 * SECOND);
            self.tell(|| format!("for {length} us leases are said to live"));
            self.service.lying_until = self.now + length;
        } else if hits(revocations) {
            let lease = self.service.leader_lease();
            if let Some(lease) = lease {
                self.tell(|| "the lease of the leader is deleted".to_owned());
                self.service.store.revoke(lease);
            }
        }
    }

    /// Often short, sometimes long.
    fn some_time(&mut self, longest: Micros) -> Micros {
        let longest = *pick(&mut self.random, &[SECOND, longest / 4, longest]);
        self.random.u64(10 * MS..=longest.max(SECOND))
    }

    /// A server, and more often the one that leads.
    fn a_server(&mut self) -> usize {
        let leader = self.service.true_leader(self.now).filter(|_| self.random.bool());
        leader.unwrap_or_else(|| self.random.usize(..self.service.members.len()))
    }

    fn die_and_start(&mut self, clock_is_set: bool) {
        let index = self.a_server();
        if !self.service.members[index].is_up() {
            return;
        }
        self.crash(index);
        self.start_later(index);
        self.set_clock(index, clock_is_set);
    }

    fn set_clock(&mut self, index: usize, is_to_be_set: bool) {
        if is_to_be_set && self.random.bool() {
            self.service.members[index].wall_ahead = self.random.i64(-3_600..=3_600) * 1_000_000;
            self.note(&Note::ClockSet);
        }
    }

    pub(super) fn start_later(&mut self, index: usize) {
        let longest = *pick(&mut self.random, &[10 * MS, 300 * MS, 5 * SECOND]);
        let at = self.now + self.random.u64(MS..=longest);
        self.later(at, Event::Start(index));
    }

    fn stand_still(&mut self, clock_is_set: bool) {
        let index = self.a_server();
        self.set_clock(index, clock_is_set);
        let length = self.some_time(STANDSTILL_MAX);
        let member = &mut self.service.members[index];
        if self.now < member.paused_until || !member.is_up() {
            return;
        }
        member.paused_until = self.now + length;
        self.tell(|| format!("server {index} stands still for {length} us"));
        self.later(self.now + length, Event::Wake(index));
        self.note(&Note::StoodStill(length));
    }

    /// A server stops in good order.
    fn stop(&mut self) {
        let index = self.a_server();
        let now = self.now;
        if now < self.service.members[index].paused_until {
            return;
        }
        let is_true = self.service.true_leader(now) == Some(index);
        let member = &mut self.service.members[index];
        let run = member.run;
        match &mut member.state {
            State::Down | State::Resigning => {}
            State::Following(_) => {
                self.crash(index);
                self.start_later(index);
            }
            State::Leading(leading) if leading.is_stopping => {}
            State::Leading(leading) => {
                leading.is_stopping = true;
                self.tell(|| format!("server {index} begins to stop"));
                if is_true {
                    self.note(&Note::Stopping);
                }
                self.turn(index, |leading, _, when| {
                    leading.shell.turn(when, throttle_node::Node::drain);
                });
                self.later(now + STOP, Event::Stopped(index, run));
            }
        }
    }

    fn cut_somebody_off(&mut self) {
        let servers = self.service.members.len();
        let server = self.a_server();
        let other = match self.random.u8(0..4) {
            0 => Party::Client(self.random.usize(..self.clients.len())),
            1 => Party::Server((server + self.random.usize(1..servers)) % servers),
            _ => Party::Etcd,
        };
        let until = self.now + self.some_time(20 * SECOND);
        self.cut(Party::Server(server), other, until);
    }
}
