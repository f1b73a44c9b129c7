//! What is in the way of a request: why one waits.

use crate::{
    names::Name,
    peer::Part,
    queue::Waiter,
    semaphore::Semaphore,
    time::Time,
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

/// A semaphore that is closed for now: a release alone does not give the first in line what it asks for.
#[derive(Clone, Copy)]
pub struct ClosedView<'a> {
    /// The semaphore.
    pub semaphore: SemaphoreView<'a>,
    /// The count that the request asks for there.
    pub count: i64,
    /// Why.
    pub why: Closed,
}

/// Why a semaphore gives nothing for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// It is paused.
    Paused,
    /// Its rate holds back count that was released.
    Rate {
        /// When enough of that is due for the first in line, if it needs nothing else here.
        until: Option<Time>,
    },
}

/// The number of due times that are looked at for [`Closed::Rate`].
const DUE_MAX: usize = 64;

impl<'a> PendingView<'a> {
    /// The semaphores that are paused, or hold back by their rate what the first in line lacks.
    pub fn closed(&self) -> impl Iterator<Item = ClosedView<'a>> + use<'a> {
        let view @ Self { core, request } = *self;
        request.parts.iter().filter_map(move |part| {
            let semaphore = &core.semaphores[part.semaphore];
            let why = if semaphore.spec.max == 0 {
                Closed::Paused
            } else {
                let count = view.lacking(semaphore, part.count).filter(|_| semaphore.cooling_sum > 0)?;
                Closed::Rate { until: semaphore.due_for(i128::from(count)) }
            };
            Some(ClosedView { semaphore: SemaphoreView { core, semaphore }, count: part.count, why })
        })
    }

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
                waiter: WaiterView { peer, semaphore, waiter },
            })
        })
    }

    /// The acquired locks whose release would help: all of a semaphore where the first in line does not fit, in order
    /// of grant. Of each semaphore the first one comes before all others, so whoever takes some sees every semaphore.
    pub fn holders(&self) -> impl Iterator<Item = HolderView<'a>> + use<'a> {
        let view @ Self { core, request } = *self;
        let of = move |part: &Part| {
            let semaphore = &core.semaphores[part.semaphore];
            let would_help = view.lacking(semaphore, part.count).is_some();
            would_help.then(|| SemaphoreView { core, semaphore }.holders()).into_iter().flatten()
        };
        let firsts = request.parts.iter().flat_map(move |part| of(part).take(1));
        firsts.chain(request.parts.iter().flat_map(move |part| of(part).skip(1)))
    }

    /// The semaphores that keep it waiting: where it does not fit, or another request holds it up.
    pub fn waits_for(&self) -> impl Iterator<Item = &'a Name> + use<'a> {
        let view @ Self { core, request } = *self;
        let on = move |part: &Part| (&core.semaphores[part.semaphore], part.count);
        let lacking = request.parts.iter().map(on);
        let lacking = lacking.filter(move |(on, count)| !on.fits(*count) || view.before(on).is_some());
        lacking.map(|(on, _)| &on.name)
    }

    /// What the first in line asks for, if that is too much for now, though not for good: whoever is before this
    /// request, or this one.
    fn lacking(&self, semaphore: &'a Semaphore, own: i64) -> Option<i64> {
        let count = self.before(semaphore).map_or(own, |first| first.count);
        (count <= semaphore.spec.max && !semaphore.fits(count)).then_some(count)
    }

    /// The first in the queue of a semaphore, if that is another one before this.
    fn before(&self, semaphore: &'a Semaphore) -> Option<&'a Waiter> {
        semaphore.queue.first(semaphore.spec.max).filter(|first| first.rank < self.request.rank)
    }
}

impl Semaphore {
    /// When `count` fits by what comes back by the rate alone; `None` if that is not enough, or not known after a look
    /// at the next due times.
    pub(crate) fn due_for(&self, count: i128) -> Option<Time> {
        let mut lacking = self.acquired + self.cooling_sum + count - i128::from(self.spec.max);
        let due = self.cooling.iter().take(DUE_MAX).find(|&(_, back)| {
            lacking -= back;
            lacking <= 0
        });
        due.map(|(&at, _)| at)
    }
}
