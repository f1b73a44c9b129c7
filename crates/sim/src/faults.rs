//! Faults: what goes wrong in the world, now and then.

use std::sync::Arc;

use throttle_journal::memory::Fault;

use crate::{
    ledger::Note,
    message::{Answer, Call, Refused, Reply, Request, RequestId},
    operator,
    server::Fate,
    setup::{Faults, pick},
    time::{MS, Micros, Moment, SECOND},
    world::{Event, World},
};

/// How long a server takes to stop.
const STOP: Micros = 2 * SECOND;

impl World {
    /// Faults, now and then.
    pub(crate) fn disturb(&mut self) {
        if !self.server.is_up() {
            return;
        }
        let chance = self.random.u32(0..1_000);
        let Faults { crashes, pauses, operators, stops, thefts, clock_is_set, lost_logs, .. } = self.faults;
        if chance < crashes {
            let uptime = self.now - self.ledger.started_at;
            self.crash();
            if self.random.u32(0..100) < lost_logs {
                self.tell(|| "its data directory is lost".to_owned());
                self.server.lose_log();
                // It may die again while it holds back grants.
                let (at, run) = (self.now + self.random.u64(SECOND..=20 * SECOND), self.run + 1);
                self.at(at, Event::Crash(run));
            }
            if clock_is_set && self.random.bool() {
                self.set_clock(uptime);
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
        } else if chance < crashes + pauses + stops {
            if self.now < self.paused_until || self.ledger.is_draining {
                return;
            }
            self.tell(|| "the server begins to stop".to_owned());
            self.note(&Note::Stopping);
            self.server.stop(self.now);
            self.collect();
            let (at, run) = (self.now + STOP, self.run);
            self.at(at, Event::Stopped(run));
        } else if chance < crashes + pauses + stops + operators {
            let peers: Vec<u64> = self.ledger.peers.keys().copied().collect();
            let call = operator::act(&mut self.random, &self.setup, &self.faults, &peers);
            self.ids += 1;
            self.send(RequestId(self.ids), None, call);
        } else if chance < crashes + pauses + stops + operators + thefts && !self.setup.owners.is_empty() {
            self.steal();
        }
    }

    /// Somebody names a peer that is not his: for him it is as unknown as one that never was.
    fn steal(&mut self) {
        let peers: Vec<u64> = self.ledger.peers.keys().copied().collect();
        if peers.is_empty() {
            return;
        }
        let (peer, semaphore) =
            (*pick(&mut self.random, &peers), pick(&mut self.random, &self.setup.names).clone());
        let (expires_in, wait) = (self.random.u64(0..=SECOND), self.random.u64(0..=SECOND));
        let call = match self.random.u8(0..7) {
            0 => Call::Heartbeat { peer, expires_in },
            1 => Call::Heartbeats { peers: vec![peer], expires_in },
            2 => Call::EndPeer { peer, reason: self.random.bool().then(|| Arc::from("none")) },
            3 => Call::Release { peer, semaphores: vec![semaphore] },
            4 => Call::IsAcquired { peer },
            5 => Call::Look { peer },
            _ => {
                let locks = vec![(semaphore, 1)];
                Call::Acquire { peer, locks, priority: 0, expires_in: Some(expires_in), wait }
            }
        };
        self.ids += 1;
        let (id, sent_at, at) = (RequestId(self.ids), self.now, self.now + self.delay());
        self.at(at, Event::Deliver(Arc::new(Request { id, client: None, is_theft: true, sent_at, call })));
    }

    /// What a thief is told.
    pub(crate) fn stolen(&mut self, reply: &Reply) {
        let is_unknown = match (&reply.request.call, &reply.answer) {
            (_, Answer::Gone { ending, .. }) => ending.is_none(),
            (Call::Heartbeats { peers, .. }, Answer::Renewed { gone }) => gone == peers,
            (Call::EndPeer { .. }, Answer::Done)
            | (
                _,
                Answer::Unavailable
                | Answer::Refused(Refused::UnknownSemaphore | Refused::ExceedsMax | Refused::Limit),
            ) => true,
            _ => false,
        };
        if !is_unknown {
            let sentence =
                format!("a peer is not his, and yet he is told {:?}: {:?}", reply.answer, reply.request);
            self.fail("owners", sentence);
        }
    }

    /// The server dies, at whatever it is.
    pub(crate) fn crash(&mut self) {
        let fate = *pick(&mut self.random, &[Fate::Lost, Fate::Kept, Fate::Torn]);
        self.tell(|| format!("the server dies; a write under way is {fate:?}"));
        let unanswered = self.server.crash(fate);
        self.went_down(unanswered);
    }

    /// Sets the wall clock. Tokens go on by the log; without one, by the clock, which may not be set back by more
    /// than the last run took.
    fn set_clock(&mut self, uptime: Micros) {
        if self.setup.is_durable {
            self.server.wall_ahead = self.random.i64(-3_600..=3_600) * 1_000_000;
        } else {
            let most = i64::try_from(uptime.saturating_sub(2 * SECOND)).unwrap_or(0);
            self.server.wall_ahead -= self.random.i64(0..=most);
        }
        self.note(&Note::ClockSet);
    }

    /// The server has stopped. Whoever waited has been answered by now.
    pub(crate) fn stopped(&mut self) {
        let waiting = self.server.waiting();
        if waiting > 0 {
            return self.fail("liveness", format!("the server stops, and {waiting} requests still wait"));
        }
        let unanswered = self.server.crash(Fate::Kept);
        self.went_down(unanswered);
    }

    /// The server is down: connections break, and it starts again after a while.
    pub(crate) fn went_down(&mut self, unanswered: Vec<RequestId>) {
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
            if let Some(Event::Deliver(request)) = self.events.remove(&at)
                && !request.is_theft
            {
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

    pub(crate) fn end_write(&mut self) {
        let is_failing = self.random.u32(0..100) < self.faults.failing_writes;
        let faults = [Fault::Fails, Fault::UnknownKept, Fault::UnknownLost];
        let fault = is_failing.then(|| *pick(&mut self.random, &faults));
        if let Err(unanswered) = self.server.end_write(fault) {
            self.went_down(unanswered);
        }
    }
}
