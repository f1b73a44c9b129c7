//! What is in the way of a request: why one waits.

use crate::{
    names::Name,
    peer::Part,
    queue::Waiter,
    semaphore::Semaphore,
    view::{HolderView, PeerView, PendingView, SemaphoreView, WaiterView},
};

/// A request that holds up others behind it.
#[derive(Clone, Copy)]
pub struct AheadView<'a> {
    /// The semaphore on which it is ahead.
    pub semaphore: SemaphoreView<'a>,
    /// The request, as it stands in the queue there.
    pub waiter: WaiterView<'a>,
}

impl<'a> PendingView<'a> {
    /// The requests that stand before this one and hold it up: of each queue the first, if this one would fit without
    /// it, or if it waits for another semaphore too.
    pub fn ahead(&self) -> impl Iterator<Item = AheadView<'a>> + use<'a> {
        let view @ Self { core, request } = *self;
        request.parts.iter().filter_map(move |part| {
            let semaphore = &core.semaphores[part.semaphore];
            let waiter = view.before(semaphore)?;
            let peer = PeerView { core, peer: &core.peers[waiter.peer] };
            let waits_elsewhere =
                || peer.pending().is_some_and(|first| first.waits_for().any(|name| *name != semaphore.name));
            (semaphore.fits(part.count) || waits_elsewhere()).then_some(AheadView {
                semaphore: SemaphoreView { core, semaphore },
                waiter: WaiterView { peer, waiter },
            })
        })
    }

    /// The acquired locks whose release would help, semaphore by semaphore, in order of grant: all of a semaphore where
    /// the first in line does not fit.
    pub fn holders(&self) -> impl Iterator<Item = HolderView<'a>> + use<'a> {
        let view @ Self { core, request } = *self;
        request.parts.iter().flat_map(move |part| {
            let semaphore = &core.semaphores[part.semaphore];
            let count = view.before(semaphore).map_or(part.count, |first| first.count);
            let would_help = count <= semaphore.spec.max && !semaphore.fits(count);
            would_help.then(|| SemaphoreView { core, semaphore }.holders()).into_iter().flatten()
        })
    }

    /// The semaphores that keep it waiting: where it does not fit, or another request holds it up.
    pub fn waits_for(&self) -> impl Iterator<Item = &'a Name> + use<'a> {
        let view @ Self { core, request } = *self;
        let on = move |part: &Part| (&core.semaphores[part.semaphore], part.count);
        let lacking = request.parts.iter().map(on);
        let lacking = lacking.filter(move |(on, count)| !on.fits(*count) || view.before(on).is_some());
        lacking.map(|(on, _)| &on.name)
    }

    /// The first in the queue of a semaphore, if that is another one before this.
    fn before(&self, semaphore: &'a Semaphore) -> Option<&'a Waiter> {
        semaphore.queue.first(semaphore.spec.max).filter(|first| first.rank < self.request.rank)
    }
}
