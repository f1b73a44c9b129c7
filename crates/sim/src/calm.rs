//! The end of a run: faults cease, everybody finishes, and nothing is left.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use throttle_core::Spec;

use crate::{
    client::Client,
    invariants::Shown,
    ledger::Note,
    message::{Answer, Call, Refused, RequestId},
    service::Service,
    setup::Faults,
    shown,
    time::{MS, Micros, Moment, SECOND},
    world::World,
};

/// How long clients may take to finish once faults have ceased.
const PATIENCE: Micros = 4_000 * SECOND;
/// A run that goes on for so many steps after the faults has no end.
const STEPS_MAX: usize = 200_000;

impl<S: Service> World<S> {
    /// Ends the faults, waits until every client has finished, and looks at what is left.
    pub(crate) fn calm_down(&mut self) {
        self.tell(|| "faults cease".to_owned());
        self.faults = Faults::none();
        let effective_until = S::calm_down(self);
        let names: Vec<_> = self.setup.names.clone();
        self.run_until(effective_until + 8 * SECOND);
        self.note(&Note::Calm);
        let declared = self.setup.declared.clone();
        if self.setup.faults.operators > 0 {
            self.ask_until_done(&Call::Reload { declared: BTreeMap::new() });
            self.ask_until_done(&Call::Reload { declared });
        }
        for name in names {
            if let Some(spec) = self
                .setup
                .spec_of(&name)
                .filter(|_| self.setup.faults.resizes && self.setup.faults.operators > 0)
            {
                // Some asked for more than there usually is, while it was paused.
                let spec = Spec { max: spec.max + 1, ..spec };
                let call = Call::SetSemaphore { semaphore: name, spec };
                self.ask_until_done(&call);
            }
        }
        self.clients.iter_mut().for_each(Client::finish);
        for index in 0..self.clients.len() {
            self.schedule_client(index);
        }
        let end = self.now + PATIENCE;
        let limit = self.steps + STEPS_MAX;
        while !self.clients.iter().all(Client::is_idle) && self.failure.is_none() {
            if !self.step() || self.now > end || self.steps > limit {
                let stuck: Vec<_> =
                    self.clients.iter().filter(|client| !client.is_idle()).map(Client::state).collect();
                return self.fail("liveness", format!("clients do not come to an end: {stuck:?}"));
            }
        }
        if self.failure.is_none() {
            self.look_at_what_is_left();
        }
    }

    fn look_at_what_is_left(&mut self) {
        let rest = self.setup.longest_life() + self.setup.longest_rate() + self.setup.hold_grants;
        // Whoever waits for a peer that nobody renews is granted its locks when that one ends, and lives on for a while
        // itself.
        for _ in 0..=self.setup.clients * 10 {
            self.run_until(self.now + rest + 5 * SECOND);
            if self.failure.is_some() {
                return;
            }
            if self.service.inspect(self.now, |node| node.core().peer_count()) == Some(0) {
                break;
            }
        }
        let Some(seen) = self.service.inspect(self.now, |node| shown::everything(node)) else {
            return self.fail("liveness", "the server is down".to_owned());
        };
        let (events, connected) = (&[], &self.service.connected());
        let waiting = &self.service.waiting_by_owner();
        let shown = Shown { at: self.now, events, is_broken: false, seen: &seen, connected, waiting };
        let verdict = self.judge(|invariant, ledger| invariant.over(ledger, &shown));
        self.settle(verdict);
        // What everybody has given back can be had, also by a server that died since, though its clock was set back.
        let names: BTreeSet<_> = self.setup.names.iter().cloned().collect();
        for name in names {
            self.take_and_give_back(&name);
            if self.setup.is_durable && self.setup.faults.clock_is_set && self.failure.is_none() {
                S::die_once_more(self);
                self.note(&Note::ClockSet);
                self.run_until(self.now + self.setup.longest_rate() + 10 * SECOND);
                self.take_and_give_back(&name);
            }
            if self.failure.is_some() {
                return;
            }
            self.run_until(self.now + self.setup.longest_rate() + SECOND);
        }
    }

    fn take_and_give_back(&mut self, name: &Arc<str>) {
        let Some(spec) = self.setup.spec_of(name) else { return };
        let call = Call::Session {
            key: None,
            expires_in: SECOND,
            locks: vec![(name.clone(), spec.max)],
            priority: 0,
            wait: 500 * MS,
            leaves: false,
        };
        // Whoever follows may know no leader that it could pass this on to.
        let servers = self.setup.cluster.as_ref().map_or(1, |cluster| cluster.servers);
        let mut answers = (0..servers).map(|_| self.ask(call.clone()));
        let answer = answers.find(|answer| *answer != Some(Answer::Unavailable)).flatten();
        match answer {
            Some(Answer::Peer(seen)) if seen.pending.is_empty() && !seen.locks.is_empty() => {
                self.ask(Call::EndPeer { peer: seen.id, reason: None });
            }
            Some(Answer::Refused(Refused::Limit)) => {}
            answer => self.fail("liveness", format!("{name} is free, and yet: {answer:?}")),
        }
    }

    fn run_until(&mut self, until: Moment) {
        while self.failure.is_none()
            && self.events.first_key_value().is_some_and(|((at, _), _)| *at <= until)
            && self.step()
        {}
        self.now = self.now.max(until);
    }

    /// Sends a request without a client, and waits for the answer.
    fn ask(&mut self, call: Call) -> Option<Answer> {
        self.ids += 1;
        let id = RequestId(self.ids);
        let until = self.now + call.wait() + 10 * SECOND;
        self.send(id, None, call);
        while self.failure.is_none() && self.now < until {
            if let Some(answer) = self.answers.remove(&id) {
                return Some(answer);
            }
            if !self.step() {
                break;
            }
        }
        self.answers.remove(&id)
    }

    fn ask_until_done(&mut self, call: &Call) {
        for _ in 0..10 {
            if self.ask(call.clone()).is_some_and(|answer| answer != Answer::Unavailable) {
                return;
            }
        }
    }
}
