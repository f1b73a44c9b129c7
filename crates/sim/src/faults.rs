//! Who interferes from outside: operators, and thieves.

use std::sync::Arc;

use crate::{
    message::{Answer, Call, Refused, Reply, Request, RequestId},
    operator,
    service::Service,
    setup::pick,
    time::SECOND,
    world::World,
};

impl<S: Service> World<S> {
    /// An operator does something.
    pub(crate) fn operate(&mut self) {
        let peers: Vec<u64> = self.ledger.peers.keys().copied().collect();
        let call = operator::act(&mut self.random, &self.setup, &self.faults, &peers);
        self.ids += 1;
        self.send(RequestId(self.ids), None, call);
    }

    /// Somebody names a peer that is not his: for him it is as unknown as one that never was.
    pub(crate) fn steal(&mut self) {
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
                Call::Acquire {
                    peer,
                    locks,
                    priority: 0,
                    expires_in: Some(expires_in),
                    wait,
                    if_pending: None,
                }
            }
        };
        self.ids += 1;
        let (id, sent_at, at) = (RequestId(self.ids), self.now, self.now + self.delay());
        S::deliver(self, at, Arc::new(Request { id, client: None, is_theft: true, sent_at, call }));
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
}
