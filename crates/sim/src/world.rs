//! The world of one seed: what happens when, in one order.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
    sync::Arc,
};

use throttle_node::{Beginning, Found, LoggedEvent, Missed};

use crate::{
    client::{Act, Client},
    cluster,
    invariants::{self, Invariant, Shown, Verdict},
    ledger::{Exchange, Ledger, Note},
    message::{Answer, Call, Reply, Request, RequestId, Write},
    service::Service,
    setup::{Faults, Setup},
    shown,
    single::Single,
    time::{MS, Micros, Moment, SECOND},
};

/// When the world begins.
const START: Moment = 1_700_000_000 * SECOND;
/// After so many steps somebody looks at everything.
const LOOK_EVERY: usize = 8;

/// Something that is going to happen.
pub(crate) enum Event<E> {
    /// An answer reaches its client.
    Arrive(Reply),
    /// A client learns that the connection of its request is gone.
    Broken(Arc<Request>),
    /// A client acts.
    Wake(usize),
    /// What a client writes reaches the resource that a semaphore protects.
    Write(Write),
    /// Something happens to what they speak to.
    Service(E),
}

impl<E: fmt::Debug> fmt::Debug for Event<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arrive(reply) => f.debug_tuple("Arrive").field(reply).finish(),
            Self::Broken(request) => f.debug_tuple("Broken").field(request).finish(),
            Self::Wake(client) => f.debug_tuple("Wake").field(client).finish(),
            Self::Write(write) => f.debug_tuple("Write").field(write).finish(),
            Self::Service(event) => event.fmt(f),
        }
    }
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

/// A run of the world.
pub(crate) struct World<S: Service> {
    pub(crate) setup: Arc<Setup>,
    pub(crate) faults: Faults,
    pub(crate) random: fastrand::Rng,
    pub(crate) now: Moment,
    pub(crate) sequence: u64,
    pub(crate) events: BTreeMap<(Moment, u64), Event<S::Event>>,
    pub(crate) service: S,
    pub(crate) clients: Vec<Client>,
    /// When each client acts next.
    pub(crate) wakes: Vec<Moment>,
    pub(crate) ids: u64,
    /// Requests that have no answer yet.
    pub(crate) open: BTreeMap<RequestId, Arc<Request>>,
    /// Requests that reached the server.
    pub(crate) delivered: BTreeSet<RequestId>,
    pub(crate) ledger: Ledger,
    pub(crate) invariants: Vec<Box<dyn Invariant>>,
    pub(crate) read_upto: Option<u64>,
    pub(crate) is_new_run: bool,
    pub(crate) steps: usize,
    pub(crate) answers: BTreeMap<RequestId, Answer>,
    pub(crate) trace: Option<String>,
    pub(crate) failure: Option<Failure>,
}

/// Runs a seed to its end, or to its first failure.
pub fn run(setup: &Setup, is_traced: bool) -> Outcome {
    let setup = Arc::new(setup.clone());
    if let Some(cluster) = &setup.cluster {
        return cluster::world::run(&setup, cluster, is_traced);
    }
    let mut random = fastrand::Rng::with_seed(setup.seed ^ 0x5eed);
    let service = Single::new(setup.clone(), random.fork());
    World::new(setup, random, service, is_traced).run()
}

impl<S: Service> World<S> {
    /// A world in which nothing has happened yet.
    pub(crate) fn new(setup: Arc<Setup>, mut random: fastrand::Rng, service: S, is_traced: bool) -> Self {
        let clients = (0..setup.clients).map(|index| Client::new(index, setup.clone(), random.fork(), START));
        let clients: Vec<_> = clients.collect();
        Self {
            faults: setup.faults.clone(),
            ledger: Ledger::new(setup.clone()),
            setup,
            random,
            now: START,
            sequence: 0,
            events: BTreeMap::new(),
            service,
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
        }
    }

    /// Runs it to its end, or to its first failure.
    pub(crate) fn run(mut self) -> Outcome {
        self.live();
        Outcome { steps: self.steps, trace: self.trace.unwrap_or_default(), failure: self.failure }
    }

    fn live(&mut self) {
        S::begin(self);
        for index in 0..self.clients.len() {
            self.schedule_client(index);
        }
        while self.steps < self.setup.steps && self.failure.is_none() {
            if !self.step() {
                break;
            }
            S::disturb(self);
        }
        if self.failure.is_none() {
            self.calm_down();
        }
    }

    pub(crate) fn at(&mut self, at: Moment, event: Event<S::Event>) {
        self.sequence += 1;
        self.events.insert((at.max(self.now), self.sequence), event);
    }

    /// Something will happen to what clients speak to.
    pub(crate) fn later(&mut self, at: Moment, event: S::Event) {
        self.at(at, Event::Service(event));
    }

    /// An answer leaves for its client.
    pub(crate) fn reply(&mut self, reply: Reply) {
        let at = self.now + self.delay();
        if self.random.u32(0..100) < self.faults.lost {
            self.at(at, Event::Broken(reply.request));
        } else {
            self.at(at, Event::Arrive(reply));
        }
    }

    /// Does what happens next. `false`: nothing will.
    pub(crate) fn step(&mut self) -> bool {
        let Some(((at, _), event)) = self.events.pop_first() else { return false };
        self.now = at;
        if let Event::Service(of_service) = &event
            && let Some(until) = self.service.put_off(at, of_service)
        {
            self.at(until, event);
            return true;
        }
        let is_void = match &event {
            Event::Wake(index) => self.wakes[*index] != at,
            Event::Service(event) => S::is_void(self, event),
            Event::Arrive(_) | Event::Broken(_) | Event::Write(_) => false,
        };
        if is_void {
            return true;
        }
        let is_quiet = matches!(&event, Event::Service(event) if S::is_quiet(event));
        self.steps += usize::from(!is_quiet);
        self.tell(|| format!("{event:?}"));
        self.happen(event);
        S::collect(self);
        if is_quiet {
            return true;
        }
        if self.steps.is_multiple_of(LOOK_EVERY) {
            self.look();
        }
        true
    }

    fn happen(&mut self, event: Event<S::Event>) {
        match event {
            Event::Service(event) => S::happen(self, event),
            Event::Arrive(reply) => self.arrive(reply),
            Event::Broken(request) => {
                self.open.remove(&request.id);
                self.note(&Note::Muddled(request.clone()));
                S::failed(self, &request);
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
            Event::Write(write) => {
                let now = self.now;
                let verdict = self.judge(|invariant, ledger| invariant.written(ledger, now, &write));
                self.settle(verdict);
            }
        }
    }

    pub(crate) fn schedule_client(&mut self, index: usize) {
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
                let request =
                    Arc::new(Request { id, client: Some(client), is_theft: false, sent_at: self.now, call });
                let at = self.now + self.delay();
                S::deliver(self, at, request);
            }
            Act::Write(write) => {
                let at = self.now + self.delay();
                self.at(at, Event::Write(write));
            }
            Act::Close(id) => {
                let Some(request) = self.open.remove(&id) else { return };
                if !self.delivered.contains(&id) {
                    // It is still on its way.
                    self.ledger.may_arrive(&request);
                    self.note(&Note::Muddled(request.clone()));
                }
                if self.random.u32(0..100) >= self.faults.lost {
                    let at = self.now + self.delay();
                    S::close(self, at, request);
                }
            }
        }
    }

    pub(crate) fn send(&mut self, id: RequestId, client: Option<usize>, call: Call) {
        let request = Arc::new(Request { id, client, is_theft: false, sent_at: self.now, call });
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
            self.ledger.may_arrive(&request);
            let again = at + self.delay();
            S::deliver(self, again, request.clone());
        }
        S::deliver(self, at, request);
    }

    pub(crate) fn delay(&mut self) -> Micros {
        self.random.u64(10..=self.faults.delay_max)
    }

    fn arrive(&mut self, reply: Reply) {
        if reply.request.is_theft {
            return self.stolen(&reply);
        }
        let Some(request) = self.open.remove(&reply.request.id) else {
            let exchange = exchange(&reply, self.now);
            let verdict = self.judge(|invariant, ledger| invariant.echoed(ledger, &exchange));
            return self.settle(verdict);
        };
        if reply.answer == Answer::Unavailable && reply.epoch > 0 {
            // Nobody knows what came of it.
            self.note(&Note::Muddled(request.clone()));
        }
        let exchange = exchange(&reply, self.now);
        let verdict = self.judge(|invariant, ledger| invariant.told(ledger, &exchange));
        self.ledger.told(&exchange);
        let learned = self.judge(|invariant, ledger| invariant.learned(ledger, &exchange));
        self.settle(verdict);
        self.settle(learned);
        if reply.answer == Answer::Unavailable {
            S::failed(self, &request);
        }
        match request.client {
            Some(client) => {
                self.clients[client].receive(self.now, &reply);
                self.schedule_client(client);
            }
            None => drop(self.answers.insert(request.id, reply.answer)),
        }
    }

    pub(crate) fn judge(
        &mut self,
        mut ask: impl FnMut(&mut dyn Invariant, &Ledger) -> Verdict,
    ) -> Option<(&'static str, String)> {
        let ledger = &self.ledger;
        self.invariants.iter_mut().find_map(|invariant| {
            ask(&mut **invariant, ledger).err().map(|sentence| (invariant.name(), sentence))
        })
    }

    pub(crate) fn settle(&mut self, verdict: Option<(&'static str, String)>) {
        if let Some((invariant, sentence)) = verdict {
            self.fail(invariant, sentence);
        }
    }

    pub(crate) fn fail(&mut self, invariant: &'static str, sentence: String) {
        self.tell(|| format!("VIOLATION of {invariant}: {sentence}"));
        self.failure.get_or_insert(Failure { invariant, sentence, step: self.steps });
    }

    pub(crate) fn note(&mut self, note: &Note) {
        self.ledger.noted(self.now, note);
        for invariant in &mut self.invariants {
            invariant.noted(&self.ledger, self.now, note);
        }
    }

    /// Looks at everything, in two ways.
    fn look(&mut self) {
        // What is not safe yet may never have happened.
        if !S::is_to_see(self) {
            return;
        }
        let (read_upto, is_new_run) = (self.read_upto, std::mem::take(&mut self.is_new_run));
        // Without a log, they go on by the clock.
        let may_repeat = self.ledger.has_forgotten && self.ledger.clock_was_set;
        let seen = self.service.inspect(self.now, |node| {
            let beginning = read_upto.filter(|_| !is_new_run).map_or(Beginning::Now, Beginning::After);
            // A reader that comes back after a restart must not take the numbers of another run for its own.
            let numbers_are_new = read_upto.filter(|_| is_new_run && !may_repeat).is_none_or(|last| {
                let (_, missed) = node.events_mut().open(Beginning::After(last));
                missed == Some(Missed::Unknown)
            });
            let (mut next, missed) = node.events_mut().open(beginning);
            let mut events: Vec<(u64, LoggedEvent)> = Vec::new();
            while let Found::Page(page) = node.events().at(next) {
                events.extend(page.from(next).map(|(number, event)| (number, event.clone())));
                next = page.end();
            }
            let is_broken = is_new_run || read_upto.is_none() || missed.is_some();
            let unknown = missed == Some(Missed::Unknown) || !numbers_are_new;
            (events, next, is_broken, unknown, shown::everything(node))
        });
        let Some((events, next, is_broken, unknown, seen)) = seen else { return };
        self.read_upto = Some(next.saturating_sub(1));
        if unknown {
            return self.fail(
                "stream",
                "the server takes its own number for that of another run, or the other way round".to_owned(),
            );
        }
        let (connected, waiting) = (&self.service.connected(), &self.service.waiting_by_owner());
        let shown = Shown { at: self.now, events: &events, is_broken, seen: &seen, connected, waiting };
        let verdict = self.judge(|invariant, ledger| invariant.shown(ledger, &shown));
        self.settle(verdict);
        S::collect(self);
    }

    pub(crate) fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let since = self.now - START;
            // Writing to a string cannot fail.
            let _ =
                writeln!(trace, "{:>5} {:>10}.{:06} {}", self.steps, since / SECOND, since % SECOND, line());
        }
    }
}

fn exchange(reply: &Reply, at: Moment) -> Exchange<'_> {
    let Reply { request, answer, instance, epoch, has_waited } = reply;
    Exchange { request, answer, instance: *instance, epoch: *epoch, at, has_waited: *has_waited }
}
