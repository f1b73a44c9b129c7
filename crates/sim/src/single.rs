//! A world with a single server: what happens to it, and what goes wrong with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use throttle_core::Owner;
use throttle_journal::memory::Fault;
use throttle_node::{Node, Ticket};

use crate::{
    ledger::Note,
    message::{Request, RequestId},
    server::{Fate, Out, Server},
    service::Service,
    setup::{Faults, Setup, pick},
    time::{MS, Micros, Moment, SECOND},
    world::{Event as WorldEvent, World},
};

/// How long a server takes to stop.
const STOP: Micros = 2 * SECOND;
/// In microseconds, with a sign.
const HOUR: i64 = 3_600 * 1_000_000;

/// A single server.
pub(crate) struct Single {
    server: Server,
    /// Counts the runs of the server: what was meant for an earlier one is void.
    run: u64,
    paused_until: Moment,
    deadline_at: Moment,
}

/// Something that is going to happen to it.
#[derive(Debug)]
pub(crate) enum Event {
    /// A request reaches the server.
    Deliver(Arc<Request>),
    /// The server learns that the connection of a request is gone.
    Close(Arc<Request>),
    /// The server dies, if it still is the same run.
    Crash(u64),
    /// The server has had time to stop.
    Stopped(u64),
    /// Something falls due at the server.
    Deadline(u64),
    /// A write ends.
    EndWrite(u64),
    /// A request that was woken goes on.
    Resume(u64, Ticket),
    /// The server starts.
    Start,
}

impl Single {
    pub(crate) fn new(setup: Arc<Setup>, random: fastrand::Rng) -> Self {
        Self { server: Server::new(setup, random), run: 0, paused_until: 0, deadline_at: Moment::MAX }
    }
}

impl Service for Single {
    type Event = Event;

    fn begin(world: &mut World<Self>) {
        let now = world.now;
        world.later(now, Event::Start);
    }

    fn deliver(world: &mut World<Self>, at: Moment, request: Arc<Request>) {
        world.later(at, Event::Deliver(request));
    }

    fn close(world: &mut World<Self>, at: Moment, request: Arc<Request>) {
        world.later(at, Event::Close(request));
    }

    fn put_off(&mut self, at: Moment, event: &Event) -> Option<Moment> {
        if matches!(event, Event::Start) || at >= self.paused_until {
            return None;
        }
        if matches!(event, Event::Deadline(_)) && at == self.deadline_at {
            self.deadline_at = self.paused_until;
        }
        Some(self.paused_until)
    }

    fn is_void(world: &World<Self>, event: &Event) -> bool {
        let Self { run: this, deadline_at, .. } = &world.service;
        match event {
            Event::Deadline(_) if *deadline_at != world.now => true,
            Event::Deadline(run)
            | Event::EndWrite(run)
            | Event::Resume(run, _)
            | Event::Stopped(run)
            | Event::Crash(run) => run != this,
            Event::Deliver(_) | Event::Close(_) | Event::Start => false,
        }
    }

    fn happen(world: &mut World<Self>, event: Event) {
        let now = world.now;
        match event {
            Event::Start => {
                if let Err(why) = world.service.server.start(now) {
                    return world.fail("answers", why);
                }
                world.service.run += 1;
                world.is_new_run = true;
                let instance = world.service.server.instance();
                world.note(&Note::Started { instance });
            }
            Event::Deliver(request) => {
                world.delivered.insert(request.id);
                world.service.server.receive(now, &request);
            }
            Event::Close(request) => {
                let has_waited = world.service.server.close(now, request.id);
                world.note(&if has_waited { Note::Closed(request) } else { Note::Muddled(request) });
            }
            Event::Deadline(_) => {
                world.service.deadline_at = Moment::MAX;
                world.service.server.tick(now);
            }
            Event::EndWrite(_) => world.end_write(),
            Event::Stopped(_) => world.stopped(),
            Event::Crash(_) => world.crash(),
            Event::Resume(_, ticket) => world.service.server.resume(now, ticket),
        }
    }

    fn collect(world: &mut World<Self>) {
        let run = world.service.run;
        for out in world.service.server.drain() {
            match out {
                Out::Reply(reply) => world.reply(reply),
                Out::WriteBegins => {
                    let at = world.now + world.random.u64(50..=world.faults.write_max);
                    world.later(at, Event::EndWrite(run));
                }
                Out::Woken(ticket) => {
                    let at = world.now + world.random.u64(0..100);
                    world.later(at, Event::Resume(run, ticket));
                }
            }
        }
        if let Some(due) = world.service.server.next_deadline()
            && due < world.service.deadline_at
        {
            let at = due.max(world.now);
            world.service.deadline_at = at;
            world.later(at, Event::Deadline(run));
        }
    }

    fn disturb(world: &mut World<Self>) {
        if !world.service.server.is_up() {
            return;
        }
        let chance = world.random.u32(0..1_000);
        let Faults { crashes, pauses, operators, stops, thefts, clock_is_set, lost_logs, .. } = world.faults;
        let is_paused = world.now < world.service.paused_until;
        if chance < crashes {
            let uptime = world.now - world.ledger.started_at;
            world.crash();
            if world.random.u32(0..100) < lost_logs {
                world.tell(|| "its data directory is lost".to_owned());
                world.service.server.lose_log();
                // It may die again while it holds back grants.
                let at = world.now + world.random.u64(SECOND..=20 * SECOND);
                let run = world.service.run + 1;
                world.later(at, Event::Crash(run));
            }
            if clock_is_set && world.random.bool() {
                world.set_clock(uptime);
            }
        } else if chance < crashes + pauses {
            if is_paused {
                return;
            }
            let length = world.random.u64(10 * MS..=30 * SECOND);
            world.tell(|| format!("the server stands still for {length} us"));
            world.service.paused_until = world.now + length;
            world.service.server.stand_still(length);
            world.note(&Note::StoodStill(length));
        } else if chance < crashes + pauses + stops {
            if is_paused || world.ledger.is_draining {
                return;
            }
            world.tell(|| "the server begins to stop".to_owned());
            world.note(&Note::Stopping);
            world.service.server.stop(world.now);
            Self::collect(world);
            let (at, run) = (world.now + STOP, world.service.run);
            world.later(at, Event::Stopped(run));
        } else if chance < crashes + pauses + stops + operators {
            world.operate();
        } else if chance < crashes + pauses + stops + operators + thefts && !world.setup.owners.is_empty() {
            world.steal();
        }
    }

    fn failed(_: &mut World<Self>, _: &Request) {}

    fn calm_down(world: &mut World<Self>) -> Moment {
        world.events.retain(|_, event| !matches!(event, WorldEvent::Service(Event::Crash(_))));
        world.now.max(world.service.paused_until)
    }

    fn die_once_more(world: &mut World<Self>) {
        world.crash();
        world.service.server.wall_ahead -= HOUR;
    }

    fn is_to_see(world: &mut World<Self>) -> bool {
        if world.now < world.service.paused_until {
            return false;
        }
        // What is due by now is to be in the events too.
        world.service.server.tick(world.now);
        Self::collect(world);
        world.service.server.is_settled()
    }

    fn inspect<R>(&mut self, at: Moment, look: impl FnOnce(&mut Node) -> R) -> Option<R> {
        self.server.inspect(at, look)
    }

    fn connected(&self) -> BTreeSet<u64> {
        self.server.connected()
    }

    fn waiting_by_owner(&self) -> BTreeMap<Owner, usize> {
        self.server.waiting_by_owner()
    }
}

impl World<Single> {
    /// The server dies, at whatever it is.
    fn crash(&mut self) {
        let fate = *pick(&mut self.random, &[Fate::Lost, Fate::Kept, Fate::Torn]);
        self.tell(|| format!("the server dies; a write under way is {fate:?}"));
        let unanswered = self.service.server.crash(fate);
        self.went_down(unanswered);
    }

    /// Sets the wall clock. Tokens go on by the log; without one, by the clock, which may not be set back by more
    /// than the last run took.
    fn set_clock(&mut self, uptime: Micros) {
        if self.setup.is_durable {
            self.service.server.wall_ahead = self.random.i64(-3_600..=3_600) * 1_000_000;
        } else {
            let most = i64::try_from(uptime.saturating_sub(2 * SECOND)).unwrap_or(0);
            self.service.server.wall_ahead -= self.random.i64(0..=most);
        }
        self.note(&Note::ClockSet);
    }

    /// The server has stopped. Whoever waited has been answered by now.
    fn stopped(&mut self) {
        let waiting = self.service.server.waiting();
        if waiting > 0 {
            return self.fail("liveness", format!("the server stops, and {waiting} requests still wait"));
        }
        let unanswered = self.service.server.crash(Fate::Kept);
        self.went_down(unanswered);
    }

    /// The server is down: connections break, and it starts again after a while.
    fn went_down(&mut self, unanswered: Vec<RequestId>) {
        self.service.run += 1;
        self.service.deadline_at = Moment::MAX;
        // What it had not looked at is lost with it.
        let paused_until = std::mem::take(&mut self.service.paused_until);
        let queued = (paused_until, 0)..=(paused_until, u64::MAX);
        let is_request = |event: &WorldEvent<Event>| {
            matches!(event, WorldEvent::Service(Event::Deliver(_) | Event::Close(_)))
        };
        let mut lost: Vec<_> =
            self.events.range(queued).filter(|(_, event)| is_request(event)).map(|(at, _)| *at).collect();
        lost.retain(|_| self.now < paused_until);
        for at in lost {
            if let Some(WorldEvent::Service(Event::Deliver(request))) = self.events.remove(&at)
                && !request.is_theft
            {
                let at = self.now + self.delay();
                self.at(at, WorldEvent::Broken(request));
            }
        }
        for id in unanswered {
            if let Some(request) = self.open.get(&id).cloned() {
                let at = self.now + self.delay();
                self.at(at, WorldEvent::Broken(request));
            }
        }
        let longest = *pick(&mut self.random, &[10 * MS, 300 * MS, 5 * SECOND]);
        let at = self.now + self.random.u64(MS..=longest);
        self.later(at, Event::Start);
    }

    fn end_write(&mut self) {
        let is_failing = self.random.u32(0..100) < self.faults.failing_writes;
        let faults = [Fault::Fails, Fault::UnknownKept, Fault::UnknownLost];
        let fault = is_failing.then(|| *pick(&mut self.random, &faults));
        if let Err(unanswered) = self.service.server.end_write(fault) {
            self.went_down(unanswered);
        }
    }
}
