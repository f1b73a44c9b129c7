//! A cluster as the world sees it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use throttle_core::Owner;
use throttle_node::{Node, Ticket};

use super::{
    faults::STANDSTILL_MAX,
    following::PREFIX,
    leading::Leading,
    member::{Clock, Done, Member, State},
    network::Party,
    requests::Route,
    setup,
};
use crate::{
    etcd::{
        kv::{Ask, Told},
        store::Store,
    },
    ledger::Note,
    message::{Reply, Request, RequestId},
    service::Service,
    setup::Setup,
    time::{MS, Micros, Moment, SECOND},
    world::{Outcome, World},
};

/// How long a server takes to stop.
pub(super) const STOP: Micros = 2 * SECOND;
/// In microseconds, with a sign.
const HOUR: i64 = 3_600 * 1_000_000;

/// Servers, and etcd.
pub(crate) struct Cluster {
    pub(super) setup: setup::Cluster,
    pub(super) members: Vec<Member>,
    pub(super) store: Store,
    pub(super) tail_every: Micros,
    /// Who cannot reach whom, until when.
    pub(super) cuts: BTreeMap<(Party, Party), Moment>,
    /// Until when etcd has no quorum; its quota is used up; it says that leases live, and does not look.
    pub(super) out_until: Moment,
    pub(super) full_until: Moment,
    pub(super) lying_until: Moment,
    /// The server that each client speaks to.
    pub(super) chosen: Vec<usize>,
    /// The one that all others speak to.
    pub(super) chosen_by_others: usize,
    pub(super) routes: BTreeMap<RequestId, Route>,
    /// What servers made of the log up to a batch, by the number of that.
    digests: BTreeMap<u64, String>,
    /// The key behind the last batch that was ever removed from the log.
    pub(super) trimmed: Vec<u8>,
    random: fastrand::Rng,
    /// The last step after which something could go wrong.
    disturbed: usize,
}

/// Something that is going to happen to it.
#[derive(Debug)]
pub(crate) enum Event {
    /// A server starts.
    Start(usize),
    /// A server that stood still goes on.
    Wake(usize),
    /// A request reaches a server, maybe by way of another one.
    Deliver { to: usize, via: Option<usize>, request: Arc<Request> },
    /// A server learns that the connection of a request is gone.
    Close(usize, Arc<Request>),
    /// An answer reaches the server that had passed the request on.
    Return { to: usize, boot: u64, reply: Reply },
    /// A request reaches etcd.
    Asked { from: usize, boot: u64, slot: u64, ask: Ask },
    /// An answer of etcd, or of the clock, reaches a server.
    Told { to: usize, boot: u64, slot: u64, told: Told },
    /// Something falls due at a server.
    Deadline(usize, u64),
    /// A request that was woken goes on.
    Resume(usize, u64, Ticket),
    /// A server has had time to stop.
    Stopped(usize, u64),
}

/// Runs a seed of a cluster to its end, or to its first failure.
pub(crate) fn run(setup: &Arc<Setup>, cluster: &setup::Cluster, is_traced: bool) -> Outcome {
    let mut random = fastrand::Rng::with_seed(setup.seed ^ 0x5eed);
    let drift = 10 * cluster.drift;
    let members = (0..cluster.servers).map(|index| {
        let rate = random.u64(1_000 - drift..=1_000 + drift);
        Member::new(index, Clock::new(0, rate), 0)
    });
    let members: Vec<_> = members.collect();
    let service = Cluster {
        setup: cluster.clone(),
        store: Store::default(),
        tail_every: cluster.tail_every,
        cuts: BTreeMap::new(),
        out_until: 0,
        full_until: 0,
        lying_until: 0,
        chosen: (0..setup.clients).map(|_| random.usize(..members.len())).collect(),
        chosen_by_others: 0,
        members,
        routes: BTreeMap::new(),
        digests: BTreeMap::new(),
        trimmed: Vec::new(),
        random: random.fork(),
        disturbed: 0,
    };
    let mut world = World::new(setup.clone(), random, service, is_traced);
    // Half of a way that those who judge reckon with, since there may be two.
    world.faults.delay_max /= 2;
    world.run()
}

impl Cluster {
    fn leader_key() -> Vec<u8> {
        format!("{PREFIX}/leader").into_bytes()
    }

    /// The server that leads now, by the word of etcd, if it knows that.
    pub(super) fn true_leader(&mut self, now: Moment) -> Option<usize> {
        self.store.expire(now);
        self.leads()
    }

    fn leads(&self) -> Option<usize> {
        let epoch = self.store.created(&Self::leader_key())?;
        self.members.iter().position(|member| match &member.state {
            State::Leading(leading) => leading.epoch.0 == epoch.cast_unsigned(),
            State::Down | State::Following(_) | State::Resigning => false,
        })
    }

    fn true_leading(&self) -> Option<&Leading> {
        match &self.members[self.leads()?].state {
            State::Leading(leading) => Some(leading),
            State::Down | State::Following(_) | State::Resigning => None,
        }
    }

    /// The lease of the leader's key.
    pub(super) fn leader_lease(&self) -> Option<i64> {
        self.store.lease_of(&Self::leader_key())
    }

    /// The server of a name.
    pub(super) fn index_of(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|member| member.name == name)
    }

    /// The server that an event happens to.
    fn whose(event: &Event) -> Option<usize> {
        match event {
            Event::Deliver { to, .. }
            | Event::Close(to, _)
            | Event::Return { to, .. }
            | Event::Told { to, .. }
            | Event::Deadline(to, _)
            | Event::Resume(to, ..)
            | Event::Stopped(to, _) => Some(*to),
            Event::Start(_) | Event::Wake(_) | Event::Asked { .. } => None,
        }
    }
}

impl Service for Cluster {
    type Event = Event;

    fn begin(world: &mut World<Self>) {
        for index in 0..world.service.members.len() {
            let at = world.now + world.random.u64(0..=SECOND);
            world.later(at, Event::Start(index));
        }
    }

    fn deliver(world: &mut World<Self>, at: Moment, request: Arc<Request>) {
        world.depart(at, request);
    }

    fn close(world: &mut World<Self>, at: Moment, request: Arc<Request>) {
        if let Some(Route { front, .. }) = world.service.routes.get(&request.id).copied() {
            world.later(at, Event::Close(front, request));
        }
    }

    fn put_off(&mut self, at: Moment, event: &Event) -> Option<Moment> {
        let member = &mut self.members[Self::whose(event)?];
        if at >= member.paused_until {
            return None;
        }
        // What came first need not be the first to be looked at then.
        let until = member.paused_until + self.random.u64(0..MS);
        if matches!(event, Event::Deadline(..)) && at == member.deadline_at {
            member.deadline_at = until;
        }
        Some(until)
    }

    fn is_void(world: &World<Self>, event: &Event) -> bool {
        let members = &world.service.members;
        match event {
            Event::Deadline(index, _) if members[*index].deadline_at != world.now => true,
            Event::Deadline(index, run) | Event::Resume(index, run, _) | Event::Stopped(index, run) => {
                members[*index].run != *run
            }
            Event::Told { to, boot, slot, .. } => {
                members[*to].boot != *boot || !members[*to].kv.is_open(*slot)
            }
            _ => false,
        }
    }

    fn is_quiet(event: &Event) -> bool {
        matches!(event, Event::Asked { .. } | Event::Told { .. })
    }

    fn happen(world: &mut World<Self>, event: Event) {
        match event {
            Event::Start(index) => {
                if !world.service.members[index].is_up() {
                    world.follow(index);
                }
            }
            Event::Wake(index) => world.service.members[index].is_awake = true,
            Event::Deliver { to, via, request } => world.deliver(to, via, &request),
            Event::Close(index, request) => world.closed(index, &request),
            Event::Return { to, boot, reply } => world.pass_back(to, boot, reply),
            Event::Asked { from, boot, slot, ask } => world.asked(from, boot, slot, ask),
            Event::Told { to, boot, slot, told } => world.told_server(to, boot, slot, told),
            Event::Deadline(index, _) => {
                world.service.members[index].deadline_at = Moment::MAX;
                world.tick(index);
            }
            Event::Resume(index, _, ticket) => world.resume(index, ticket),
            Event::Stopped(index, _) => world.stopped(index),
        }
    }

    fn collect(world: &mut World<Self>) {
        for index in 0..world.service.members.len() {
            let member = &world.service.members[index];
            if world.failure.is_none() && member.is_up() && world.now >= member.paused_until {
                world.pump(index);
            }
        }
    }

    fn disturb(world: &mut World<Self>) {
        // Once for a step, however many quiet events there are.
        if world.service.disturbed < world.steps {
            world.service.disturbed = world.steps;
            world.go_wrong();
            Self::collect(world);
        }
    }

    fn failed(world: &mut World<Self>, request: &Request) {
        world.move_on(request);
    }

    fn calm_down(world: &mut World<Self>) -> Moment {
        let (now, members) = (world.now, world.service.members.len());
        world.service.setup = world.service.setup.clone().without_faults();
        world.service.setup.etcd_delay_max = 1_000;
        world.service.cuts.clear();
        for index in 0..members {
            world.service.members[index].clock.mend(now);
        }
        let etcd = &mut world.service;
        (etcd.out_until, etcd.full_until, etcd.lying_until) = (now, now, now);
        // What a server had before it that stood still and died comes to its successor as late as to itself.
        now + STANDSTILL_MAX + 20 * SECOND
    }

    fn die_once_more(world: &mut World<Self>) {
        for member in &mut world.service.members {
            member.wall_ahead -= HOUR;
        }
        if let Some(index) = world.service.true_leader(world.now) {
            world.crash(index);
            world.start_later(index);
        }
    }

    fn is_to_see(world: &mut World<Self>) -> bool {
        world.forget_routes();
        world.compare();
        let now = world.now;
        let Some(index) = world.service.true_leader(now) else { return false };
        let member = &mut world.service.members[index];
        let is_paused = now < member.paused_until;
        // While nothing is confirmed, time stands still there.
        if is_paused || member.leading().is_none_or(|leading| now > leading.confirmed_at + SECOND * 9 / 10) {
            return false;
        }
        // What is due by now is to be in the events too.
        world.tick(index);
        Self::collect(world);
        world.service.true_leading().is_some_and(Leading::is_settled)
    }

    fn inspect<R>(&mut self, at: Moment, look: impl FnOnce(&mut Node) -> R) -> Option<R> {
        let index = self.true_leader(at)?;
        let member = &mut self.members[index];
        let (clock, wall) = (member.clock.at(at), member.wall(at));
        let leading = member.leading()?;
        let when = leading.when(clock, wall);
        leading.shell.turn(when, |_| ());
        let seen = look(&mut leading.shell.node);
        member.is_awake = true;
        Some(seen)
    }

    fn connected(&self) -> BTreeSet<u64> {
        self.true_leading().map(|leading| leading.shell.connected()).unwrap_or_default()
    }

    fn waiting_by_owner(&self) -> BTreeMap<Owner, usize> {
        self.true_leading().map(|leading| leading.shell.waiting_by_owner()).unwrap_or_default()
    }
}

impl World<Cluster> {
    /// Does what is due at a server.
    fn tick(&mut self, index: usize) {
        self.turn(index, |leading, _, when| leading.shell.turn(when, |node| node.note_wall(when.wall)));
    }

    /// A server has stopped: whoever waited has been woken by now, and answered unless it stood still meanwhile. It
    /// gives up its key, so another one can lead.
    fn stopped(&mut self, index: usize) {
        let member = &mut self.service.members[index];
        let State::Leading(leading) = std::mem::replace(&mut member.state, State::Resigning) else { return };
        let waiting = leading.shell.connected().len();
        if waiting > 0 {
            return self.fail("liveness", format!("the server stops, and {waiting} requests still wait"));
        }
        member.tasks.clear();
        member.run += 1;
        let leadership = leading.leadership.clone();
        let unanswered = leading.demote();
        member.tasks.spawn(async move {
            if let Ok(leadership) = Arc::try_unwrap(leadership) {
                leadership.resign().await;
            }
            Done::Resigned
        });
        member.is_awake = true;
        for (request, _) in unanswered {
            self.break_off(&request);
        }
    }

    /// Whoever has read the log up to a batch knows the same, from a snapshot or not.
    fn compare(&mut self) {
        for index in 0..self.service.members.len() {
            let State::Following(status) = &self.service.members[index].state else { continue };
            let mut seen = status.lock();
            seen.is_asked = true;
            let Some((number, digest)) = seen.digest.take() else { continue };
            drop(seen);
            let before = self.service.digests.entry(number).or_insert_with(|| digest.clone());
            if *before != digest {
                let sentence =
                    format!("batch {number} is reached with {before}, and by server {index} with {digest}");
                return self.fail("log", sentence);
            }
        }
    }

    /// Something happened at an earlier moment than this one, which is known only now.
    pub(super) fn note_at(&mut self, at: Moment, note: &Note) {
        self.ledger.noted(at, note);
        for invariant in &mut self.invariants {
            invariant.noted(&self.ledger, at, note);
        }
    }
}
