//! A server of a cluster: a process that starts, follows, leads, and dies; and what it does beside its turns.

use std::{sync::Arc, time::Duration};

use throttle_core::planted;
use throttle_etcd::{Confirmed, EtcdLog, Leadership};
use throttle_journal::{LogError, WallTime};

use super::{
    following::{Server, Status, Tail, follow, take_over},
    leading::{Beginning, Leading, Over, Work},
    world::{Cluster, Event},
};
use crate::{
    etcd::{kv::SimKv, tasks::Tasks},
    ledger::Note,
    message::Request,
    shell::{Declared, Shell},
    time::{MS, Micros, Moment, SECOND},
    world::World,
};

/// How often a leader asks for a confirmation, whether anybody waits for one or not.
const CONFIRM_EVERY: Duration = Duration::from_millis(300);
/// How long to wait before one without an answer is sent again.
const CONFIRM_AGAIN: Duration = Duration::from_millis(50);

/// A server of a cluster.
pub(super) struct Member {
    pub(super) name: String,
    /// Counts its processes: what was meant for an earlier one is void.
    pub(super) boot: u64,
    /// Counts those, and the times in which it led.
    pub(super) run: u64,
    pub(super) kv: SimKv,
    pub(super) tasks: Tasks<Done>,
    pub(super) state: State,
    pub(super) paused_until: Moment,
    pub(super) deadline_at: Moment,
    pub(super) clock: Clock,
    /// How far its wall clock is ahead of true time.
    pub(super) wall_ahead: i64,
    /// What the file declared when it was last read.
    pub(super) declared: Declared,
    /// Something may have come up for its tasks.
    pub(super) is_awake: bool,
    /// A confirmation had no answer, and the next one waits a little.
    waits_to_confirm: bool,
}

/// What a server is at.
pub(super) enum State {
    Down,
    Following(Status),
    Leading(Box<Leading>),
    /// It stops, and gives up its key.
    Resigning,
}

/// What a leader takes over: what the log says, and the log.
type Taken = (Box<Tail>, EtcdLog<SimKv>);

/// What a task of a server came to.
pub(super) enum Done {
    Elected(Result<(Leadership<SimKv>, Box<Tail>), LogError>),
    TookOver(Arc<Leadership<SimKv>>, Result<Option<Taken>, LogError>),
    KeptAlive,
    ConfirmationDue,
    MayConfirm,
    Confirmed(Confirmed),
    Worked(Work),
    Resigned,
}

/// A monotonic clock that may be too fast or too slow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    origin: Moment,
    shown: Micros,
    /// In a thousandth of the true rate.
    rate: u64,
}

impl Clock {
    pub(super) fn new(origin: Moment, rate: u64) -> Self {
        Self { origin, shown: 0, rate }
    }

    /// What it shows.
    pub(super) fn at(&self, at: Moment) -> Duration {
        Duration::from_micros(self.shown + at.saturating_sub(self.origin) * self.rate / 1_000)
    }

    /// How long it takes until it has gone on by so much.
    pub(super) fn real(&self, length: Duration) -> Micros {
        u64::try_from(length.as_micros()).unwrap_or(u64::MAX / 1_001).saturating_mul(1_000) / self.rate
    }

    /// From now on its rate is right.
    pub(super) fn mend(&mut self, at: Moment) {
        let shown = u64::try_from(self.at(at).as_micros()).unwrap_or(u64::MAX);
        *self = Self { origin: at, shown, rate: 1_000 };
    }
}

impl Member {
    pub(super) fn new(index: usize, clock: Clock, wall_ahead: i64) -> Self {
        Self {
            name: format!("s{index}"),
            boot: 0,
            run: 0,
            kv: SimKv::default(),
            tasks: Tasks::default(),
            state: State::Down,
            paused_until: 0,
            deadline_at: Moment::MAX,
            clock,
            wall_ahead,
            declared: Declared::new(),
            is_awake: false,
            waits_to_confirm: false,
        }
    }

    pub(super) fn wall(&self, at: Moment) -> WallTime {
        WallTime::from_micros(at.saturating_add_signed(self.wall_ahead))
    }

    pub(super) fn is_up(&self) -> bool {
        !matches!(self.state, State::Down)
    }

    pub(super) fn leading(&mut self) -> Option<&mut Leading> {
        match &mut self.state {
            State::Leading(leading) => Some(leading),
            State::Down | State::Following(_) | State::Resigning => None,
        }
    }
}

impl World<Cluster> {
    /// A server starts, or begins anew after it was deposed.
    pub(super) fn follow(&mut self, index: usize) {
        let (seed, random, now) = (self.random.u64(..), self.random.fork(), self.now);
        let (setup, cluster) = (self.setup.clone(), self.service.setup.clone());
        let member = &mut self.service.members[index];
        member.tasks.clear();
        member.run += 1;
        (member.deadline_at, member.is_awake, member.waits_to_confirm) = (Moment::MAX, true, false);
        let server = Server {
            kv: member.kv.clone(),
            setup,
            name: member.name.clone(),
            lease: cluster.lease,
            tail_every: self.service.tail_every,
            compacts: cluster.compacts,
            part_bytes: cluster.part_bytes,
            first_token: member.wall(now).as_micros(),
            seed,
        };
        let status = Status::default();
        member.state = State::Following(status.clone());
        member.tasks.spawn(async move {
            let elected = follow(server, random, status).await;
            Done::Elected(elected.map(|(leadership, tail)| (leadership, Box::new(tail))))
        });
    }

    /// Lets the tasks of a server go on.
    pub(super) fn pump(&mut self, index: usize) {
        if !std::mem::take(&mut self.service.members[index].is_awake) {
            return;
        }
        loop {
            self.begin_work(index);
            let member = &mut self.service.members[index];
            let (run, done) = (member.run, member.tasks.poll());
            for (slot, ask) in member.kv.drain() {
                self.ask_etcd(index, slot, ask);
            }
            if done.is_empty() {
                break;
            }
            for done in done {
                if self.service.members[index].run == run {
                    self.done(index, done);
                }
            }
        }
        self.after_turn(index);
    }

    /// Has a leader begin what is to be done beside its turns.
    fn begin_work(&mut self, index: usize) {
        let member = &mut self.service.members[index];
        let State::Leading(leading) = &mut member.state else { return };
        loop {
            match leading.next_work() {
                Ok(None) => break,
                Ok(Some(job)) => member.tasks.spawn(async move { Done::Worked(job.await) }),
                Err(over) => return self.end_term(index, &over),
            }
        }
        if !member.waits_to_confirm && leading.tenure.begin() {
            let leadership = leading.leadership.clone();
            member.tasks.spawn(async move { Done::Confirmed(leadership.confirm().await) });
        }
    }

    fn done(&mut self, index: usize, done: Done) {
        let member = &mut self.service.members[index];
        match done {
            Done::Elected(Ok((leadership, tail))) => {
                let leadership = Arc::new(leadership);
                let kept = leadership.clone();
                member.tasks.spawn(async move {
                    kept.keep_alive(|| true).await;
                    Done::KeptAlive
                });
                member.tasks.spawn(async move {
                    let took = take_over(*tail, leadership.clone()).await;
                    Done::TookOver(leadership, took.map(|took| took.map(|(tail, log)| (Box::new(tail), log))))
                });
            }
            Done::TookOver(leadership, Ok(Some((tail, log)))) => self.lead(index, leadership, *tail, log),
            Done::TookOver(_, Ok(None)) => self.follow(index),
            Done::Elected(Err(error)) | Done::TookOver(_, Err(error)) => {
                self.fail("log", format!("server {index} cannot read it: {error}"));
            }
            // Nothing follows from it.
            Done::KeptAlive => {}
            Done::ConfirmationDue => {
                if let State::Leading(leading) = &mut member.state {
                    leading.tenure.ask();
                    self.confirm_later(index);
                }
            }
            Done::MayConfirm => member.waits_to_confirm = false,
            Done::Confirmed(confirmed) => self.confirmed(index, &confirmed),
            Done::Worked(work) => {
                let seed = self.random.u64(..);
                let State::Leading(leading) = &mut member.state else { return };
                if let Err(over) = leading.done(work, seed) {
                    return self.end_term(index, &over);
                }
                self.release(index);
            }
            Done::Resigned => {
                self.crash(index);
                self.start_later(index);
            }
        }
    }

    fn confirm_later(&mut self, index: usize) {
        let member = &mut self.service.members[index];
        let kv = member.kv.clone();
        member.tasks.spawn(async move {
            throttle_etcd::Kv::pause(&kv, CONFIRM_EVERY).await;
            Done::ConfirmationDue
        });
    }

    fn confirmed(&mut self, index: usize, confirmed: &Confirmed) {
        let now = self.now;
        let is_true = self.service.true_leader(now) == Some(index);
        let member = &mut self.service.members[index];
        let clock = member.clock.at(now);
        let State::Leading(leading) = &mut member.state else { return };
        match confirmed {
            Confirmed::Yes => {
                leading.tenure.end(clock, true);
                let since = std::mem::replace(&mut leading.confirmed_at, now) + SECOND;
                // The time of one that was deposed meanwhile is nobody's.
                if now > since && is_true {
                    self.note_at(since, &Note::Unconfirmed(now - since));
                }
                self.release(index);
            }
            Confirmed::Deposed => self.end_term(index, &Over::Deposed),
            Confirmed::Unknown(_) => {
                leading.tenure.end(clock, false);
                member.waits_to_confirm = true;
                let kv = member.kv.clone();
                member.tasks.spawn(async move {
                    throttle_etcd::Kv::pause(&kv, CONFIRM_AGAIN).await;
                    Done::MayConfirm
                });
            }
        }
    }

    /// A server begins to lead, as far as it knows.
    fn lead(&mut self, index: usize, leadership: Arc<Leadership<SimKv>>, tail: Tail, log: EtcdLog<SimKv>) {
        let (now, setup) = (self.now, self.setup.clone());
        let Some(end) = tail.end else { return };
        let member = &mut self.service.members[index];
        let (journal, follower, wall_now) = (tail.journal(), tail.follower, member.wall(now));
        let (wall, is_known) = (follower.wall(), end.number > 0);
        let base = wall.time_of(wall_now).max(follower.now());
        let logged = follower.state().declared.iter();
        let before: Declared = logged.map(|(name, spec)| (name.to_string(), *spec)).collect();
        let node = follower.promote(base, Some(leadership.term().epoch), setup.bounds);
        let mut leading = Leading::new(
            Beginning {
                shell: Shell::new(setup.clone(), node, journal),
                journal,
                kv: member.kv.clone(),
                leadership,
                log,
                end,
                snapshot_bytes_min: setup.snapshot_bytes_min,
                base,
                wall,
                clock: member.clock.at(now),
                at: now,
            },
            setup.rules(),
        );
        // Whoever takes over takes what is declared from the log; only who finds none begins with his file.
        member.declared = if is_known { before.clone() } else { setup.declared.clone() };
        let when = leading.when(member.clock.at(now), wall_now);
        let hold = (!is_known).then_some(setup.hold_grants);
        leading.shell.begin(when, &before, &member.declared, hold);
        let epoch = leading.epoch;
        member.state = State::Leading(Box::new(leading));
        self.tell(|| format!("server {index} leads in epoch {}", epoch.0));
        self.confirm_later(index);
        if self.service.true_leader(now) == Some(index) {
            self.is_new_run = true;
            self.note(&Note::Started { instance: journal });
        }
    }

    /// A server leads no more, and begins anew as one that follows.
    fn end_term(&mut self, index: usize, over: &Over) {
        match over {
            Over::Deposed => self.tell(|| format!("server {index} is deposed")),
            Over::Broken(why) => return self.fail("log", format!("server {index} cannot go on: {why}")),
        }
        let member = &mut self.service.members[index];
        let State::Leading(leading) = std::mem::replace(&mut member.state, State::Down) else { return };
        let (journal, epoch) = (leading.journal, leading.epoch);
        if planted!(DeposedAnswers) {
            for (reply, via) in leading.held() {
                self.leave(index, reply, via);
            }
        }
        for (request, via) in leading.demote() {
            self.answer_unavailable(index, request, via, (journal, epoch.0));
        }
        self.follow(index);
    }

    /// Runs a turn of a node that leads, and does what comes of it.
    pub(super) fn turn<R>(
        &mut self,
        index: usize,
        act: impl FnOnce(&mut Leading, &mut Declared, crate::shell::When) -> R,
    ) -> Option<R> {
        let now = self.now;
        let member = &mut self.service.members[index];
        let (clock, wall_now) = (member.clock.at(now), member.wall(now));
        let State::Leading(leading) = &mut member.state else { return None };
        let when = leading.when(clock, wall_now);
        let done = act(leading, &mut member.declared, when);
        member.is_awake = true;
        self.after_turn(index);
        Some(done)
    }

    /// Has requests that were woken go on, and the node be asked when something falls due.
    fn after_turn(&mut self, index: usize) {
        let now = self.now;
        let member = &mut self.service.members[index];
        let (run, clock) = (member.run, member.clock);
        let (at, wall_now) = (clock.at(now), member.wall(now));
        let State::Leading(leading) = &mut member.state else { return };
        let woken = leading.shell.drain_woken();
        let due = leading.shell.node.next_deadline();
        let when = leading.when(at, wall_now);
        for ticket in woken {
            let at = now + self.random.u64(0..100);
            self.later(at, Event::Resume(index, run, ticket));
        }
        let Some(due) = due else { return };
        // While time stands still it is looked for now and then.
        let at = now + clock.real(due.since(when.now)).max(MS);
        let member = &mut self.service.members[index];
        if at < member.deadline_at {
            member.deadline_at = at;
            self.later(at, Event::Deadline(index, run));
        }
    }

    /// A server dies, at whatever it is.
    pub(super) fn crash(&mut self, index: usize) {
        let member = &mut self.service.members[index];
        let state = std::mem::replace(&mut member.state, State::Down);
        member.tasks.clear();
        (member.kv, member.paused_until, member.deadline_at) = (SimKv::default(), 0, Moment::MAX);
        member.boot += 1;
        member.run += 1;
        let unanswered = if let State::Leading(leading) = state { leading.demote() } else { Vec::new() };
        self.tell(|| format!("server {index} dies"));
        for (request, _) in unanswered {
            self.break_off(&request);
        }
        self.break_off_passed_on(index);
    }

    /// Nobody answers this request any more.
    pub(super) fn break_off(&mut self, request: &Arc<Request>) {
        if self.open.contains_key(&request.id) {
            let at = self.now + self.delay();
            self.at(at, crate::world::Event::Broken(request.clone()));
        }
    }
}
