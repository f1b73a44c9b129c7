//! The world of one seed: what happens when, in one order.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
};

use throttle_core::Spec;
use throttle_journal::memory::Fault;
use throttle_node::{Beginning, Found, LoggedEvent, Missed, Ticket};

use crate::{
    client::{Act, Client},
    invariants::{self, Invariant, Shown, Verdict},
    ledger::{Exchange, Ledger, Note},
    message::{Answer, Call, Reply, Request, RequestId},
    operator,
    server::{Fate, Out, Server},
    setup::{Faults, Setup, pick},
    shown,
    time::{MS, Micros, Moment, SECOND},
};

/// When the world begins.
const START: Moment = 1_700_000_000 * SECOND;
/// How long clients may take to finish once faults have ceased.
const PATIENCE: Micros = 4_000 * SECOND;
/// After so many steps somebody looks at everything.
const LOOK_EVERY: usize = 8;
/// A run that goes on for so many steps after the faults has no end.
const STEPS_MAX: usize = 200_000;

/// Something that is going to happen.
#[derive(Debug)]
enum Event {
    /// A request reaches the server.
    Deliver(Arc<Request>),
    /// The server learns that the connection of a request is gone.
    Close(Arc<Request>),
    /// An answer reaches its client.
    Arrive(Reply),
    /// A client learns that the connection of its request is gone.
    Broken(Arc<Request>),
    /// A client acts.
    Wake(usize),
    /// Something falls due at the server.
    Deadline(u64),
    /// A write ends.
    EndWrite(u64),
    /// A request that was woken goes on.
    Resume(u64, Ticket),
    /// The server starts.
    Start,
}

/// Why a run failed.
#[derive(Clone, Debug)]
pub struct Failure {
    pub invariant: &'static str,
    pub sentence: String,
    /// How many steps the faulty part had by then.
    pub step: usize,
}

/// What a run came to.
pub struct Outcome {
    pub steps: usize,
    pub trace: String,
    pub failure: Option<Failure>,
}

struct World {
    setup: Arc<Setup>,
    faults: Faults,
    random: fastrand::Rng,
    now: Moment,
    sequence: u64,
    events: BTreeMap<(Moment, u64), Event>,
    server: Server,
    /// Counts the runs of the server: what was meant for an earlier one is void.
    run: u64,
    paused_until: Moment,
    deadline_at: Moment,
    clients: Vec<Client>,
    /// When each client acts next.
    wakes: Vec<Moment>,
    ids: u64,
    /// Requests that have no answer yet.
    open: BTreeMap<RequestId, Arc<Request>>,
    /// Requests that reached the server.
    delivered: BTreeSet<RequestId>,
    ledger: Ledger,
    invariants: Vec<Box<dyn Invariant>>,
    read_upto: Option<u64>,
    is_new_run: bool,
    steps: usize,
    answers: BTreeMap<RequestId, Answer>,
    trace: Option<String>,
    failure: Option<Failure>,
}

/// Runs a seed to its end, or to its first failure.
pub fn run(setup: &Setup, is_traced: bool) -> Outcome {
    let setup = Arc::new(setup.clone());
    let mut random = fastrand::Rng::with_seed(setup.seed ^ 0x5eed);
    let server = Server::new(setup.clone(), random.fork());
    let clients = (0..setup.clients).map(|index| Client::new(index, setup.clone(), random.fork(), START));
    let clients: Vec<_> = clients.collect();
    let mut world = World {
        faults: setup.faults.clone(),
        ledger: Ledger::new(setup.clone()),
        setup,
        random,
        now: START,
        sequence: 0,
        events: BTreeMap::new(),
        server,
        run: 0,
        paused_until: 0,
        deadline_at: Moment::MAX,
        wakes: vec![Moment::MAX; clients.len()],
        clients,
        ids: 0,
        open: BTreeMap::new(),
        delivered: BTreeSet::new(),
        invariants: invariants::all(),
        read_upto: None,
        is_new_run: true,
        steps: 0,
        answers: BTreeMap::new(),
        trace: is_traced.then(String::new),
        failure: None,
    };
    world.live();
    Outcome { steps: world.steps, trace: world.trace.unwrap_or_default(), failure: world.failure }
}

impl World {
    fn live(&mut self) {
        self.at(START, Event::Start);
        for index in 0..self.clients.len() {
            self.schedule_client(index);
        }
        while self.steps < self.setup.steps && self.failure.is_none() {
            if !self.step() {
                break;
            }
            self.disturb();
        }
        if self.failure.is_none() {
            self.calm_down();
        }
    }

    fn at(&mut self, at: Moment, event: Event) {
        self.sequence += 1;
        self.events.insert((at.max(self.now), self.sequence), event);
    }

    /// Does what happens next. `false`: nothing will.
    fn step(&mut self) -> bool {
        let Some(((at, _), event)) = self.events.pop_first() else { return false };
        self.now = at;
        let is_servers =
            !matches!(event, Event::Arrive(_) | Event::Broken(_) | Event::Wake(_) | Event::Start);
        if is_servers && at < self.paused_until {
            if matches!(event, Event::Deadline(_)) && at == self.deadline_at {
                self.deadline_at = self.paused_until;
            }
            self.at(self.paused_until, event);
            return true;
        }
        if matches!(event, Event::Wake(index) if self.wakes[index] != at) || self.is_void(&event) {
            return true;
        }
        self.steps += 1;
        self.tell(|| format!("{event:?}"));
        self.happen(event);
        self.collect();
        if self.steps.is_multiple_of(LOOK_EVERY) {
            self.look();
        }
        true
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Start => {
                if let Err(why) = self.server.start(self.now) {
                    return self.fail("answers", why);
                }
                self.run += 1;
                self.is_new_run = true;
                let instance = self.server.instance();
                self.note(&Note::Started { instance });
            }
            Event::Deliver(request) => {
                self.delivered.insert(request.id);
                self.server.receive(self.now, &request);
            }
            Event::Close(request) => {
                self.server.close(self.now, request.id);
                self.note(&Note::Closed(request));
            }
            Event::Arrive(reply) => self.arrive(reply),
            Event::Broken(request) => {
                self.open.remove(&request.id);
                self.note(&Note::Muddled(request.clone()));
                if let Some(client) = request.client {
                    self.clients[client].broken(self.now, request.id);
                    self.schedule_client(client);
                }
            }
            Event::Wake(index) => {
                self.wakes[index] = Moment::MAX;
                let acts = self.clients[index].wake(self.now, &mut self.ids);
                for act in acts {
                    self.act(index, act);
                }
                self.schedule_client(index);
            }
            Event::Deadline(_) => {
                self.deadline_at = Moment::MAX;
                self.server.tick(self.now);
            }
            Event::EndWrite(_) => self.end_write(),
            Event::Resume(_, ticket) => self.server.resume(self.now, ticket),
        }
    }

    /// Whether it was meant for an earlier run of the server.
    fn is_void(&self, event: &Event) -> bool {
        match event {
            Event::Deadline(_) if self.deadline_at != self.now => true,
            Event::Deadline(run) | Event::EndWrite(run) | Event::Resume(run, _) => *run != self.run,
            _ => false,
        }
    }

    fn schedule_client(&mut self, index: usize) {
        let at = self.clients[index].wake_at();
        // Never twice at the same moment: what it waits for takes time.
        let at = if at < Moment::MAX { at.max(self.now + MS) } else { at };
        self.wakes[index] = at;
        if at < Moment::MAX {
            self.at(at, Event::Wake(index));
        }
    }

    fn act(&mut self, client: usize, act: Act) {
        match act {
            Act::Send(id, call) => self.send(id, Some(client), call),
            Act::Echo(id, call) => {
                let request = Arc::new(Request { id, client: Some(client), sent_at: self.now, call });
                let at = self.now + self.delay();
                self.at(at, Event::Deliver(request));
            }
            Act::Close(id) => {
                let Some(request) = self.open.remove(&id) else { return };
                if !self.delivered.contains(&id) {
                    // It is still on its way.
                    self.note(&Note::Muddled(request.clone()));
                }
                if self.random.u32(0..100) >= self.faults.lost {
                    let at = self.now + self.delay();
                    self.at(at, Event::Close(request));
                }
            }
        }
    }

    fn send(&mut self, id: RequestId, client: Option<usize>, call: Call) {
        let request = Arc::new(Request { id, client, sent_at: self.now, call });
        self.open.insert(id, request.clone());
        self.ledger.sent(&request);
        for invariant in &mut self.invariants {
            invariant.sent(&self.ledger, &request);
        }
        if self.random.u32(0..100) < self.faults.lost {
            let at = self.now + self.delay();
            return self.at(at, Event::Broken(request));
        }
        let at = self.now + self.delay();
        if self.random.u32(0..100) < self.faults.doubled {
            self.note(&Note::Muddled(request.clone()));
            let again = at + self.delay();
            self.at(again, Event::Deliver(request.clone()));
        }
        self.at(at, Event::Deliver(request));
    }

    fn delay(&mut self) -> Micros {
        self.random.u64(10..=self.faults.delay_max)
    }

    fn arrive(&mut self, reply: Reply) {
        let Some(request) = self.open.remove(&reply.request.id) else {
            let Reply { request, answer, instance } = &reply;
            let exchange = Exchange { request, answer, instance: *instance, at: self.now };
            let verdict = self.judge(|invariant, ledger| invariant.echoed(ledger, &exchange));
            return self.settle(verdict);
        };
        let Reply { answer, instance, .. } = &reply;
        let exchange = Exchange { request: &request, answer, instance: *instance, at: self.now };
        let verdict = self.judge(|invariant, ledger| invariant.told(ledger, &exchange));
        self.ledger.told(&exchange);
        let learned = self.judge(|invariant, ledger| invariant.learned(ledger, &exchange));
        self.settle(verdict);
        self.settle(learned);
        match request.client {
            Some(client) => {
                self.clients[client].receive(self.now, &reply);
                self.schedule_client(client);
            }
            None => drop(self.answers.insert(request.id, reply.answer)),
        }
    }

    fn judge(
        &mut self,
        mut ask: impl FnMut(&mut dyn Invariant, &Ledger) -> Verdict,
    ) -> Option<(&'static str, String)> {
        let ledger = &self.ledger;
        self.invariants.iter_mut().find_map(|invariant| {
            ask(&mut **invariant, ledger).err().map(|sentence| (invariant.name(), sentence))
        })
    }

    fn settle(&mut self, verdict: Option<(&'static str, String)>) {
        if let Some((invariant, sentence)) = verdict {
            self.fail(invariant, sentence);
        }
    }

    fn fail(&mut self, invariant: &'static str, sentence: String) {
        self.tell(|| format!("VIOLATION of {invariant}: {sentence}"));
        self.failure.get_or_insert(Failure { invariant, sentence, step: self.steps });
    }

    fn note(&mut self, note: &Note) {
        self.ledger.noted(self.now, note);
        for invariant in &mut self.invariants {
            invariant.noted(&self.ledger, self.now, note);
        }
    }

    /// Does what the server asks for.
    fn collect(&mut self) {
        for out in self.server.drain() {
            match out {
                Out::Reply(reply) => {
                    let at = self.now + self.delay();
                    if self.random.u32(0..100) < self.faults.lost {
                        self.at(at, Event::Broken(reply.request.clone()));
                    } else {
                        self.at(at, Event::Arrive(reply));
                    }
                }
                Out::WriteBegins => {
                    let at = self.now + self.random.u64(50..=self.faults.write_max);
                    self.at(at, Event::EndWrite(self.run));
                }
                Out::Woken(ticket) => {
                    let at = self.now + self.random.u64(0..100);
                    self.at(at, Event::Resume(self.run, ticket));
                }
            }
        }
        if let Some(due) = self.server.next_deadline()
            && due < self.deadline_at
        {
            self.deadline_at = due.max(self.now);
            self.at(self.deadline_at, Event::Deadline(self.run));
        }
    }

    fn end_write(&mut self) {
        let is_failing = self.random.u32(0..100) < self.faults.failing_writes;
        let faults = [Fault::Fails, Fault::UnknownKept, Fault::UnknownLost];
        let fault = is_failing.then(|| *pick(&mut self.random, &faults));
        if let Err(unanswered) = self.server.end_write(fault) {
            self.went_down(unanswered);
        }
    }

    /// The server is down: connections break, and it starts again after a while.
    fn went_down(&mut self, unanswered: Vec<RequestId>) {
        self.run += 1;
        self.deadline_at = Moment::MAX;
        // What it had not looked at is lost with it.
        let paused_until = std::mem::take(&mut self.paused_until);
        let queued = (paused_until, 0)..=(paused_until, u64::MAX);
        let is_request = |event: &Event| matches!(event, Event::Deliver(_) | Event::Close(_));
        let mut lost: Vec<_> =
            self.events.range(queued).filter(|(_, event)| is_request(event)).map(|(at, _)| *at).collect();
        lost.retain(|_| self.now < paused_until);
        for at in lost {
            if let Some(Event::Deliver(request)) = self.events.remove(&at) {
                let at = self.now + self.delay();
                self.at(at, Event::Broken(request));
            }
        }
        for id in unanswered {
            if let Some(request) = self.open.get(&id).cloned() {
                let at = self.now + self.delay();
                self.at(at, Event::Broken(request));
            }
        }
        let longest = *pick(&mut self.random, &[10 * MS, 300 * MS, 5 * SECOND]);
        let at = self.now + self.random.u64(MS..=longest);
        self.at(at, Event::Start);
    }

    /// Faults, now and then.
    fn disturb(&mut self) {
        if !self.server.is_up() {
            return;
        }
        let chance = self.random.u32(0..1_000);
        let Faults { crashes, pauses, operators, clock_is_set, .. } = self.faults;
        if chance < crashes {
            let fate = *pick(&mut self.random, &[Fate::Lost, Fate::Kept, Fate::Torn]);
            self.tell(|| format!("the server dies; a write under way is {fate:?}"));
            let unanswered = self.server.crash(fate);
            self.went_down(unanswered);
            if clock_is_set && self.random.bool() {
                self.server.wall_ahead = self.random.i64(-3_600..=3_600) * 1_000_000;
                self.note(&Note::ClockSet);
            }
        } else if chance < crashes + pauses {
            if self.now < self.paused_until {
                return;
            }
            let length = self.random.u64(10 * MS..=30 * SECOND);
            self.tell(|| format!("the server stands still for {length} us"));
            self.paused_until = self.now + length;
            self.server.stand_still(length);
            self.note(&Note::StoodStill(length));
        } else if chance < crashes + pauses + operators {
            let peers: Vec<u64> = self.ledger.peers.keys().copied().collect();
            let call = operator::act(&mut self.random, &self.setup, &self.faults, &peers);
            self.ids += 1;
            self.send(RequestId(self.ids), None, call);
        }
    }

    /// Looks at everything, in two ways.
    fn look(&mut self) {
        if self.now < self.paused_until {
            return;
        }
        // What is due by now is to be in the events too.
        self.server.tick(self.now);
        self.collect();
        // What is not safe yet may never have happened.
        if !self.server.is_settled() {
            return;
        }
        let (read_upto, is_new_run) = (self.read_upto, std::mem::take(&mut self.is_new_run));
        let seen = self.server.inspect(self.now, |node| {
            let beginning = read_upto.filter(|_| !is_new_run).map_or(Beginning::Now, Beginning::After);
            let (mut next, missed) = node.events_mut().open(beginning);
            let mut events: Vec<(u64, LoggedEvent)> = Vec::new();
            while let Found::Page(page) = node.events().at(next) {
                events.extend(page.from(next).map(|(number, event)| (number, event.clone())));
                next = page.end();
            }
            let semaphores: Vec<_> = node.core().semaphores(None).map(|one| shown::semaphore(&one)).collect();
            let is_broken = is_new_run || read_upto.is_none() || missed.is_some();
            let unknown = missed == Some(Missed::Unknown);
            let is_holding = node.core().is_holding_grants();
            (events, next, is_broken, unknown, semaphores, node.core().peer_count(), is_holding)
        });
        let Some((events, next, is_broken, unknown, semaphores, peers, is_holding)) = seen else { return };
        self.read_upto = Some(next.saturating_sub(1));
        if unknown {
            return self.fail("stream", "the server does not know its own number".to_owned());
        }
        let (semaphores, events) = (&*semaphores, &*events);
        let shown = Shown { at: self.now, events, is_broken, semaphores, peers, is_holding };
        let verdict = self.judge(|invariant, ledger| invariant.shown(ledger, &shown));
        self.settle(verdict);
        self.collect();
    }

    /// Has faults cease, lets everybody finish, and looks at what is left.
    fn calm_down(&mut self) {
        self.tell(|| "faults cease".to_owned());
        self.faults = Faults::none();
        let names: Vec<_> = self.setup.names.clone();
        self.run_until(self.now.max(self.paused_until) + 6 * SECOND);
        self.note(&Note::Calm);
        let declared = self.setup.declared.clone();
        if self.setup.faults.operators > 0 {
            self.ask_until_done(Call::Reload { declared: BTreeMap::new() });
            self.ask_until_done(Call::Reload { declared });
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
                self.ask_until_done(call);
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
            if self.server.inspect(self.now, |node| node.core().peer_count()) == Some(0) {
                break;
            }
        }
        let seen = self.server.inspect(self.now, |node| {
            let semaphores: Vec<_> = node.core().semaphores(None).map(|one| shown::semaphore(&one)).collect();
            (semaphores, node.core().peer_count(), node.core().is_holding_grants())
        });
        let Some((semaphores, peers, is_holding)) = seen else {
            return self.fail("liveness", "the server is down".to_owned());
        };
        let shown =
            Shown { at: self.now, events: &[], is_broken: false, semaphores: &semaphores, peers, is_holding };
        let verdict = self.judge(|invariant, ledger| invariant.over(ledger, &shown));
        self.settle(verdict);
        // What everybody has given back can be had.
        let names: BTreeSet<_> = self.setup.names.iter().cloned().collect();
        for name in names {
            let Some(spec) = self.setup.spec_of(&name) else { continue };
            let call = Call::Session {
                key: None,
                expires_in: SECOND,
                locks: vec![(name.clone(), spec.max)],
                priority: 0,
                wait: 500 * MS,
                leaves: false,
            };
            match self.ask(call) {
                Some(Answer::Peer(seen)) if seen.pending.is_empty() && !seen.locks.is_empty() => {
                    self.ask(Call::EndPeer { peer: seen.id, reason: None });
                    self.run_until(self.now + self.setup.longest_rate() + SECOND);
                }
                Some(Answer::Refused(crate::message::Refused::Limit)) => {}
                answer => return self.fail("liveness", format!("{name} is free, and yet: {answer:?}")),
            }
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

    fn ask_until_done(&mut self, call: Call) {
        for _ in 0..10 {
            if self.ask(call.clone()).is_some_and(|answer| answer != Answer::Unavailable) {
                return;
            }
        }
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let since = self.now - START;
            // Writing to a string cannot fail.
            let _ =
                writeln!(trace, "{:>5} {:>10}.{:06} {}", self.steps, since / SECOND, since % SECOND, line());
        }
    }
}
