//! A server: a real node, and a shell around it that is made of this world's time, log and network.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use throttle_core::{Core, Owner, Time, planted};
use throttle_journal::{
    Election as _, LogReader as _, Wall, WallTime, Writer,
    memory::{Fault, MemoryLog},
};
use throttle_node::{Condition, Follower, Node, Offset, Ticket};

use crate::{
    message::{Answer, Reply, Request, RequestId},
    setup::Setup,
    shell::{Declared, Shell, When},
    time::{Micros, Moment, SECOND, duration},
};

/// What the world is to do for the server.
#[derive(Debug)]
pub enum Out {
    /// An answer leaves.
    Reply(Reply),
    /// A write begins; it is to be [ended](Server::end_write).
    WriteBegins,
    /// A waiting request was woken; it is to be [resumed](Server::resume).
    Woken(Ticket),
}

/// What becomes of a write that a crash cuts off.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// Nothing of it is there.
    Lost,
    /// It is there, though nobody was told.
    Kept,
    /// A part of it is there.
    Torn,
}

/// A server, and the log that outlives it.
pub struct Server {
    setup: Arc<Setup>,
    log: MemoryLog,
    up: Option<Up>,
    /// Identifies its state.
    instance: u64,
    /// How far the wall clock is ahead of true time.
    pub wall_ahead: i64,
    random: fastrand::Rng,
    /// What the file declared when it was last read.
    declared: Declared,
    out: Vec<Out>,
}

/// What there is only while the server runs.
struct Up {
    shell: Shell,
    writer: Option<Writer>,
    clock: Clock,
    /// What is being written.
    writing: Option<(Vec<u8>, Offset)>,
    /// Answers that wait for the log.
    held: VecDeque<(Offset, Reply)>,
}

/// The time of leases: it does not count the time in which the server stood still.
struct Clock {
    origin: Moment,
    base: Time,
    stood_still: Micros,
}

impl Clock {
    fn now(&self, at: Moment) -> Time {
        self.base + duration((at - self.origin).saturating_sub(self.stood_still))
    }

    /// The true time at which it will be `time` for leases.
    fn moment_of(&self, time: Time) -> Moment {
        let since = u64::try_from(time.since(self.base).as_micros()).unwrap_or(u64::MAX);
        self.origin.saturating_add(since).saturating_add(self.stood_still)
    }
}

impl Server {
    /// A server that is down, and never ran.
    pub fn new(setup: Arc<Setup>, mut random: fastrand::Rng) -> Self {
        let log = MemoryLog::new(random.u64(..));
        let declared = setup.declared.clone();
        Self { setup, log, up: None, instance: 0, wall_ahead: 0, random, declared, out: Vec::new() }
    }

    /// Identifies its state.
    pub fn instance(&self) -> u64 {
        self.instance
    }

    /// Whether it runs.
    pub fn is_up(&self) -> bool {
        self.up.is_some()
    }

    /// Whether it runs, and everything that happened is safe.
    pub fn is_settled(&self) -> bool {
        self.up
            .as_ref()
            .is_some_and(|up| up.writer.is_none() || (up.writing.is_none() && up.shell.open.is_empty()))
    }

    /// The peers whose clients wait with an open connection.
    pub fn connected(&self) -> BTreeSet<u64> {
        self.up.as_ref().map(|up| up.shell.connected()).unwrap_or_default()
    }

    /// How many requests of each owner wait with an open connection.
    pub fn waiting_by_owner(&self) -> BTreeMap<Owner, usize> {
        self.up.as_ref().map(|up| up.shell.waiting_by_owner()).unwrap_or_default()
    }

    /// Begins to stop: whoever waits is answered.
    pub fn stop(&mut self, at: Moment) {
        self.turn(at, |shell, when, _| shell.turn(when, Node::drain));
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.up.as_ref().map_or(0, |up| up.shell.waiting().len())
    }

    /// Its data directory is lost. It is down.
    pub fn lose_log(&mut self) {
        self.log = MemoryLog::new(self.random.u64(..));
    }

    /// What the world is to do.
    pub fn drain(&mut self) -> Vec<Out> {
        std::mem::take(&mut self.out)
    }

    /// When something falls due.
    pub fn next_deadline(&self) -> Option<Moment> {
        let up = self.up.as_ref()?;
        Some(up.clock.moment_of(up.shell.node.next_deadline()?))
    }

    fn wall_at(&self, at: Moment) -> WallTime {
        WallTime::from_micros(at.saturating_add_signed(self.wall_ahead))
    }

    /// Starts it, with what the log says, or with nothing. Returns the failure to read the log as a sentence.
    pub fn start(&mut self, at: Moment) -> Result<(), String> {
        let wall = self.wall_at(at);
        let core = Core::new(self.setup.settings.clone(), wall.as_micros(), self.random.u64(..));
        let mut follower = Follower::new(core, self.setup.bounds.idempotency_keys);
        let (mut writer, mut epoch, mut is_known) = (None, None, false);
        if self.setup.is_durable {
            let end = self.log.read_from(None, None, &mut |entry| follower.apply(entry.body()));
            let end = end.map_err(|error| format!("the log cannot be read: {error}"))?;
            let of_leader = self.log.lead().map_err(|error| error.to_string())?;
            let (rules, bytes) = (self.setup.rules(), self.setup.snapshot_bytes_min);
            let log = Box::new(self.log.clone());
            writer = Some(Writer::new(self.log.journal(), of_leader, end, log, rules, bytes));
            (epoch, is_known, self.instance) = (Some(of_leader), end.number > 0, self.log.journal());
        } else {
            self.instance = self.random.u64(..);
        }
        let base = follower.wall().time_of(wall).max(follower.now());
        let before = follower.state().declared.iter().map(|(name, spec)| (name.to_string(), *spec)).collect();
        let clock = Clock { origin: at, base, stood_still: 0 };
        let node = follower.promote(base, epoch, self.setup.bounds);
        let shell = Shell::new(self.setup.clone(), node, self.instance);
        self.up = Some(Up { shell, writer, clock, writing: None, held: VecDeque::new() });
        let (declared, hold) = (self.declared.clone(), self.setup.hold_grants);
        self.turn(at, |shell, when, _| shell.begin(when, &before, &declared, (!is_known).then_some(hold)));
        Ok(())
    }

    /// Ends it, at any moment. Returns the requests that get no answer.
    pub fn crash(&mut self, fate: Fate) -> Vec<RequestId> {
        let Some(up) = self.up.take() else { return Vec::new() };
        if let (Some(mut writer), Some((body, _))) = (up.writer, up.writing) {
            match fate {
                Fate::Lost => {}
                // Whether it fails is of no interest to the dead.
                Fate::Kept => drop(writer.append(&body)),
                Fate::Torn => {
                    let (position, chain) = writer.next(&body);
                    self.log.tear(position, chain, &body);
                }
            }
        }
        self.out.clear();
        let blocked = up.shell.waiting().map(|request| request.id);
        blocked.chain(up.held.iter().map(|(_, reply)| reply.request.id)).collect()
    }

    /// It stood still for a time.
    pub fn stand_still(&mut self, length: Micros) {
        if let Some(up) = &mut self.up
            && length > SECOND
            && !planted!(StandstillNotForgiven)
        {
            up.clock.stood_still += length;
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, at: Moment) {
        self.turn(at, |shell, when, _| shell.turn(when, |node| node.note_wall(when.wall)));
    }

    /// Runs a turn, and does what comes of it.
    fn turn<R>(&mut self, at: Moment, act: impl FnOnce(&mut Shell, When, u64) -> R) -> Option<R> {
        let wall_now = self.wall_at(at);
        let Self { up, random, out, .. } = self;
        let up = up.as_mut()?;
        let now = up.clock.now(at);
        let when = When { now, wall: Wall::between(now, wall_now) };
        let done = act(&mut up.shell, when, random.u64(..));
        out.extend(up.shell.drain_woken().into_iter().map(Out::Woken));
        self.begin_write();
        Some(done)
    }

    fn begin_write(&mut self) {
        let Some(up) = &mut self.up else { return };
        if up.writing.is_none() && !up.shell.open.is_empty() {
            up.writing = Some((std::mem::take(&mut up.shell.open), up.shell.open_upto));
            self.out.push(Out::WriteBegins);
        }
    }

    /// Ends the write that is under way. A failure ends the server: returns the requests that get no answer.
    pub fn end_write(&mut self, fault: Option<Fault>) -> Result<(), Vec<RequestId>> {
        let Some(up) = &mut self.up else { return Ok(()) };
        let (Some((body, upto)), Some(writer)) = (up.writing.take(), &mut up.writer) else { return Ok(()) };
        if let Some(fault) = fault {
            self.log.fail_next(fault);
        }
        if writer.append(&body).is_err() || keep_short(writer).is_err() {
            return Err(self.crash(Fate::Lost));
        }
        up.shell.flushed = upto;
        while let Some((_, reply)) = up.held.pop_front_if_flushed(upto) {
            self.out.push(Out::Reply(reply));
        }
        self.begin_write();
        Ok(())
    }

    /// Sends an answer once its condition holds.
    fn answer(&mut self, request: Arc<Request>, (answer, condition): (Answer, Condition), has_waited: bool) {
        let Some(up) = &mut self.up else { return };
        let reply = Reply { request, answer, instance: self.instance, epoch: 0, has_waited };
        match condition {
            Condition::Committed(offset) if up.writer.is_some() && offset > up.shell.flushed => {
                up.held.push_back((offset, reply));
            }
            _ => self.out.push(Out::Reply(reply)),
        }
    }

    /// A request arrives.
    pub fn receive(&mut self, at: Moment, request: &Arc<Request>) {
        if !self.is_up() {
            let (request, answer) = (request.clone(), Answer::Unavailable);
            self.out.push(Out::Reply(Reply { request, answer, instance: 0, epoch: 0, has_waited: false }));
            return;
        }
        let mut declared = std::mem::take(&mut self.declared);
        let answer = self.turn(at, |shell, when, random| shell.receive(when, random, &mut declared, request));
        self.declared = declared;
        if let Some(answer) = answer.flatten() {
            self.answer(request.clone(), answer, false);
        }
    }

    /// A waiting request goes on.
    pub fn resume(&mut self, at: Moment, ticket: Ticket) {
        if self.up.as_ref().is_none_or(|up| !up.shell.has(ticket)) {
            return;
        }
        let resumed = self.turn(at, |shell, when, _| shell.resume(when, ticket)).flatten();
        if let Some((request, Some(answer))) = resumed {
            self.answer(request, answer, true);
        }
    }

    /// The client of a waiting request is gone. Tells whether it did wait.
    pub fn close(&mut self, at: Moment, id: RequestId) -> bool {
        let Some(up) = &mut self.up else { return false };
        up.held.retain(|(_, reply)| reply.request.id != id);
        if !up.shell.is_blocked(id) {
            return false;
        }
        self.turn(at, |shell, when, _| shell.close(when, id)).unwrap_or(false)
    }

    /// Looks at the node, without a request: for those who compare what it shows in several ways.
    pub fn inspect<R>(&mut self, at: Moment, look: impl FnOnce(&mut Node) -> R) -> Option<R> {
        self.turn(at, |shell, when, _| shell.turn(when, |_| ()))?;
        self.up.as_mut().map(|up| look(&mut up.shell.node))
    }
}

trait PopFlushed {
    fn pop_front_if_flushed(&mut self, upto: Offset) -> Option<(Offset, Reply)>;
}

impl PopFlushed for VecDeque<(Offset, Reply)> {
    fn pop_front_if_flushed(&mut self, upto: Offset) -> Option<(Offset, Reply)> {
        let at = self.iter().position(|(offset, _)| *offset <= upto)?;
        self.remove(at)
    }
}

/// Makes snapshots and trims, as far as they are due.
fn keep_short(writer: &mut Writer) -> Result<(), throttle_journal::LogError> {
    while writer.is_to_trim() {
        writer.trim()?;
    }
    if let Some(job) = writer.begin_snapshot()? {
        let mut steps = Vec::new();
        job.run(
            0,
            || false,
            |step| {
                steps.push(step);
                true
            },
        );
        for step in steps {
            writer.take(step)?;
        }
    }
    Ok(())
}
