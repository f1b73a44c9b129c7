//! Requests whose answer was lost. They had no effect, or have it until the next check at the latest: until then nobody
//! touches what they are about, so that nothing has to be known of the order in which they come.

use std::time::Instant;

use crate::{
    clock::lifetime,
    model::Peer,
    plan::{Planned, What},
    world::World,
};

impl World {
    /// The answer of this request will never come.
    pub(crate) fn lost(&mut self, client: usize, planned: &Planned) {
        self.figures.unknown += 1;
        let Some(own) = self.clients.get_mut(client) else { return };
        let is_about = |peer: &Peer| match &planned.what {
            What::BeatMany(ids, _) => ids.contains(&peer.id),
            What::Remove { name, .. } => peer.may_use(name),
            What::Look | What::IsAcquired | What::Create(_) | What::Set(..) | What::Change(..) => false,
            _ => peer.id == planned.peer,
        };
        for peer in own.peers.iter_mut().filter(|peer| is_about(peer)) {
            peer.is_unsettled = true;
        }
        match &planned.what {
            What::Create(creation) => own.creations.push(creation.clone()),
            What::Set(name, _) | What::Change(name, _) | What::Remove { name, .. } => {
                self.unsettled.insert(name.clone());
            }
            _ => {}
        }
    }

    /// A request with a key was answered, but not at its first attempt: the one before may still come.
    pub(crate) fn may_come_again(&mut self, client: usize, planned: &Planned) {
        self.lost(client, planned);
        let key = planned.call.key.as_ref();
        let peers = self.clients.get_mut(client).into_iter().flat_map(|own| &mut own.peers);
        for peer in peers.filter(|peer| peer.key.as_ref().map(|known| &known.text) == key) {
            peer.is_unsettled = true;
        }
    }

    /// All requests have had their effect by now, or never will.
    pub(crate) fn settle(&mut self) {
        for peer in self.peers_mut() {
            peer.is_unsettled = false;
        }
        self.unsettled.clear();
    }

    /// The leader was dead at this moment, so whoever lives then has a new lease in full from its successor.
    pub(crate) fn leader_died(&mut self, at: Instant) {
        for peer in self.peers_mut().filter(|peer| peer.lives_until > at) {
            peer.lives_until = peer.lives_until.max(at + lifetime(peer.shortest()));
        }
    }
}
