//! Requests of clients: to the server that a client speaks to, maybe on to the one that leads, and back.

use std::sync::Arc;

use throttle_core::planted;

use super::{
    member::State,
    network::Party,
    world::{Cluster, Event},
};
use crate::{
    ledger::Note,
    message::{Answer, Call, Reply, Request, RequestId},
    time::Moment,
    world::World,
};

/// Where a request is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    /// The server that its client speaks to.
    pub(super) front: usize,
    /// The one that this one has passed it on to.
    pub(super) back: Option<usize>,
}

impl World<Cluster> {
    /// A request leaves for the server that its client speaks to.
    pub(super) fn depart(&mut self, at: Moment, request: Arc<Request>) {
        let front = match request.client {
            Some(client) => self.service.chosen[client],
            None => self.service.chosen_by_others,
        };
        if request.client.is_some_and(|client| self.is_cut(Party::Client(client), Party::Server(front))) {
            return self.break_off(&request);
        }
        self.service.routes.insert(request.id, Route { front, back: None });
        self.later(at, Event::Deliver { to: front, via: None, request });
    }

    /// A request reaches a server.
    pub(super) fn deliver(&mut self, to: usize, via: Option<usize>, request: &Arc<Request>) {
        let member = &mut self.service.members[to];
        let leader = match &member.state {
            State::Down | State::Resigning => return self.break_off(request),
            State::Leading(_) => return self.receive(to, via, request),
            State::Following(status) if planted!(FollowerAnswers) => {
                let seen = status.lock();
                let answer = match &request.call {
                    Call::LookAtSemaphore { semaphore } => {
                        seen.semaphores.iter().find(|one| one.name == *semaphore).cloned()
                    }
                    _ => None,
                };
                let (leader, instance) = (seen.leader.clone(), self.ledger.instance);
                drop(seen);
                if let (Some(seen), Some(leader)) = (answer, &leader) {
                    let (request, answer, epoch) = (request.clone(), Answer::Semaphore(seen), leader.epoch.0);
                    return self.leave(
                        to,
                        Reply { request, answer, instance, epoch, has_waited: false },
                        via,
                    );
                }
                leader
            }
            State::Following(status) => status.lock().leader.clone(),
        };
        let leader = leader.and_then(|leader| self.service.index_of(&leader.name));
        let passes_on = self.service.setup.forwards && via.is_none();
        match leader.filter(|leader| *leader != to && passes_on) {
            Some(leader) if self.is_cut(Party::Server(to), Party::Server(leader)) => self.break_off(request),
            Some(leader) => {
                self.service.routes.insert(request.id, Route { front: to, back: Some(leader) });
                let (at, request) = (self.now + self.delay(), request.clone());
                self.later(at, Event::Deliver { to: leader, via: Some(to), request });
            }
            None => self.answer_unavailable(to, request.clone(), via, (0, 0)),
        }
    }

    /// A request reaches a server that leads, as far as that knows.
    fn receive(&mut self, to: usize, via: Option<usize>, request: &Arc<Request>) {
        let bound = 2 * self.setup.faults.delay_max;
        // What such a server does comes to nothing; and what stood in a queue for long comes unexpectedly.
        let is_lost = self.service.true_leader(self.now) != Some(to);
        if !request.is_theft && (is_lost || self.now > request.sent_at + bound) {
            self.ledger.may_arrive(request);
            self.note(&Note::Muddled(request.clone()));
        }
        self.delivered.insert(request.id);
        let random = self.random.u64(..);
        self.turn(to, |leading, declared, when| {
            leading.via.extend(via.map(|via| (request.id, via)));
            if let Some(answer) = leading.shell.receive(when, random, declared, request) {
                leading.answer(request.clone(), answer, false);
            }
        });
        self.release(to);
    }

    /// A request that waited goes on.
    pub(super) fn resume(&mut self, index: usize, ticket: throttle_node::Ticket) {
        self.turn(index, |leading, _, when| {
            if leading.shell.has(ticket)
                && let Some((request, Some(answer))) = leading.shell.resume(when, ticket)
            {
                leading.answer(request, answer, true);
            }
        });
        self.release(index);
    }

    /// Sends the answers whose conditions hold.
    pub(super) fn release(&mut self, index: usize) {
        let Some(leading) = self.service.members[index].leading() else { return };
        let leaving = leading.leaving();
        let via: Vec<_> = leaving.iter().map(|reply| leading.via.remove(&reply.request.id)).collect();
        for (reply, via) in leaving.into_iter().zip(via) {
            self.leave(index, reply, via);
        }
    }

    /// An answer leaves a server.
    pub(super) fn leave(&mut self, from: usize, reply: Reply, via: Option<usize>) {
        match via {
            None => self.arrive_from(from, reply),
            Some(front) if self.is_cut(Party::Server(from), Party::Server(front)) => {
                self.break_off(&reply.request);
            }
            Some(front) => {
                let (at, boot) = (self.now + self.delay(), self.service.members[front].boot);
                self.later(at, Event::Return { to: front, boot, reply });
            }
        }
    }

    /// An answer leaves the server that its client speaks to.
    pub(super) fn arrive_from(&mut self, from: usize, reply: Reply) {
        let client = reply.request.client;
        if client.is_some_and(|client| self.is_cut(Party::Client(client), Party::Server(from))) {
            return self.break_off(&reply.request);
        }
        self.reply(reply);
    }

    /// A server tells that none leads, or that nobody knows what came of a request.
    pub(super) fn answer_unavailable(
        &mut self,
        from: usize,
        request: Arc<Request>,
        via: Option<usize>,
        (instance, epoch): (u64, u64),
    ) {
        let answer = Answer::Unavailable;
        self.leave(from, Reply { request, answer, instance, epoch, has_waited: false }, via);
    }

    /// A server learns that the connection of a request is gone.
    pub(super) fn closed(&mut self, index: usize, request: &Arc<Request>) {
        if let Some(Route { front, back: Some(back) }) = self.service.routes.get(&request.id).copied()
            && front == index
            && self.service.members[index].is_up()
            && !self.is_cut(Party::Server(front), Party::Server(back))
        {
            let (at, request) = (self.now + self.delay(), request.clone());
            return self.later(at, Event::Close(back, request));
        }
        let is_true = self.service.true_leader(self.now) == Some(index);
        let id = request.id;
        let has_waited = self.turn(index, |leading, _, when| {
            leading.forget(id);
            leading.shell.is_blocked(id) && leading.shell.close(when, id)
        });
        let has_waited = is_true && has_waited == Some(true);
        let request = request.clone();
        self.note(&if has_waited { Note::Closed(request) } else { Note::Muddled(request) });
    }

    /// A server is gone that had passed requests on: their clients hear no more, and neither does the other server.
    pub(super) fn break_off_passed_on(&mut self, index: usize) {
        let open = self.open.iter().filter_map(|(id, request)| {
            let route = self.service.routes.get(id)?;
            Some((request.clone(), route.back?)).filter(|_| route.front == index)
        });
        let open: Vec<_> = open.collect();
        for (request, back) in open {
            self.break_off(&request);
            let at = self.now + self.delay();
            self.later(at, Event::Close(back, request));
        }
    }

    /// A client goes on with another server: the one that it spoke to did not answer, or could not.
    pub(super) fn move_on(&mut self, request: &Request) {
        let front = self.service.routes.get(&request.id).map(|route| route.front);
        let Cluster { chosen, chosen_by_others, members, .. } = &mut self.service;
        let chosen = request.client.map_or(chosen_by_others, |client| &mut chosen[client]);
        if front.is_none_or(|front| front == *chosen) {
            *chosen = (*chosen + 1) % members.len();
        }
    }

    /// An answer that another server passes on.
    pub(super) fn pass_back(&mut self, to: usize, boot: u64, reply: Reply) {
        if self.service.members[to].boot == boot {
            self.arrive_from(to, reply);
        } else {
            self.break_off(&reply.request);
        }
    }

    /// Forgets where requests went that nobody can ask about any more.
    pub(super) fn forget_routes(&mut self) {
        let oldest = self.ids.saturating_sub(1_000);
        self.service.routes.retain(|RequestId(id), _| *id > oldest);
    }
}
