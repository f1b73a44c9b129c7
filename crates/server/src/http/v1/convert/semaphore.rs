//! A semaphore, who holds it, and who waits for it.

use throttle_api::{
    Deadlock, Digits, Holder, Labels, Name, Order, Origin, Semaphore, SemaphoreDetail, Span, Waiter,
};
use throttle_core::{self as core, HolderView, SemaphoreView, Spec, WaiterView};
use throttle_journal::Wall;

use super::{peer::id, stamp};
use crate::http::v1::page::cut;
use crate::security::Caller;

/// A semaphore and its figures as they are at this moment.
pub(in crate::http::v1) fn semaphore(semaphore: SemaphoreView<'_>) -> Semaphore {
    Semaphore {
        acquired: semaphore.acquired(),
        pending: semaphore.pending(),
        remainder: semaphore.remainder(),
        waiting: semaphore.waiting(),
        cooling: semaphore.cooling(),
        longest_wait: Span(semaphore.longest_wait()),
        max_before_pause: semaphore.max_before_pause(),
        ..unused(semaphore.name().shared(), semaphore.spec())
    }
}

/// What a semaphore is while nobody uses it.
fn unused(name: Name, spec: Spec) -> Semaphore {
    let origin = match spec.origin {
        core::Origin::File => Origin::File,
        core::Origin::Runtime => Origin::Runtime,
        core::Origin::Pattern => Origin::Pattern,
    };
    Semaphore {
        name,
        max: spec.max,
        level: spec.level,
        acquired: 0,
        pending: 0,
        remainder: spec.max,
        waiting: 0,
        cooling: 0,
        longest_wait: Span::default(),
        origin: origin.into(),
        per: spec.per.map(Span),
        deadlock: shown_deadlock(spec.deadlock).into(),
        order: shown_order(spec.order).into(),
        max_before_pause: None,
    }
}

/// What a semaphore would be that is made on its first use.
pub(in crate::http::v1) fn unused_detail(name: &str, spec: Spec) -> Seen {
    let detail = SemaphoreDetail {
        semaphore: unused(name.into(), spec),
        holders: Vec::new(),
        holders_total: 0,
        holders_next: None,
        queue: Vec::new(),
        queue_total: 0,
        queue_next: None,
    };
    Seen { detail, numbers: Vec::new(), are_more_holders: false, after_place: 0 }
}

/// Which part of the holders and of the queue is shown.
#[derive(Clone, Copy, Debug)]
pub(in crate::http::v1) struct Part {
    /// How many of each.
    pub(in crate::http::v1) limit: usize,
    /// The holders after the one whose lock has this number.
    pub(in crate::http::v1) after_lock: Option<u64>,
    /// The waiters after this place.
    pub(in crate::http::v1) after_place: usize,
}

impl Part {
    /// The first ones.
    pub(in crate::http::v1) const fn first(limit: usize) -> Self {
        Self { limit, after_lock: None, after_place: 0 }
    }
}

/// What was seen of a semaphore.
#[derive(Debug)]
pub(in crate::http::v1) struct Seen {
    detail: SemaphoreDetail,
    /// The numbers of the locks of the holders.
    numbers: Vec<u64>,
    are_more_holders: bool,
    after_place: usize,
}

impl Seen {
    /// As much of it as there is room for in an answer.
    pub(in crate::http::v1) fn fitted(self) -> SemaphoreDetail {
        let Self { mut detail, numbers, are_more_holders, after_place } = self;
        cut(&mut detail.holders);
        cut(&mut detail.queue);
        let shown = detail.holders.len();
        if are_more_holders || shown < numbers.len() {
            let last = numbers.get(shown.saturating_sub(1));
            detail.holders_next = last.map(|number| format!("{number:x}"));
        }
        let end = after_place.saturating_add(detail.queue.len());
        detail.queue_next = (end < detail.queue_total).then(|| format!("{end:x}"));
        detail
    }
}

/// A semaphore with a part of its holders and waiters.
pub(in crate::http::v1) fn detail(view: SemaphoreView<'_>, wall: Wall, part: Part, caller: &Caller) -> Seen {
    let Part { limit, after_lock, after_place } = part;
    let mut locks = view.holders_after(after_lock);
    let shown = locks.by_ref().take(limit);
    let (numbers, holders) = shown.map(|(number, view)| (number, holder(view, wall, caller))).unzip();
    let places = (1..=limit).map(|place| after_place.saturating_add(place));
    let waiters = places.zip(view.queue(after_place));
    let detail = SemaphoreDetail {
        semaphore: semaphore(view),
        holders,
        holders_total: view.holder_count(),
        holders_next: None,
        queue: waiters.map(|(place, view)| waiter(place, view, wall, caller)).collect(),
        queue_total: view.waiting(),
        queue_next: None,
    };
    Seen { detail, numbers, are_more_holders: locks.next().is_some(), after_place }
}

/// A peer that holds a semaphore.
pub(in crate::http::v1) fn holder(holder: HolderView<'_>, wall: Wall, caller: &Caller) -> Holder {
    Holder {
        peer: id(holder.peer, caller),
        count: holder.lock.count(),
        token: holder.lock.token().map(|token| Digits(token.0)),
        since: stamp(wall.at(holder.lock.since())),
        expires_at: stamp(wall.at(holder.peer.expires_at())),
        labels: Labels::new(holder.peer.labels().cloned()),
    }
}

fn waiter(position: usize, waiter: WaiterView<'_>, wall: Wall, caller: &Caller) -> Waiter {
    Waiter {
        peer: id(waiter.peer, caller),
        count: waiter.count(),
        priority: waiter.peer.pending().map_or(0, |pending| pending.priority()),
        position,
        since: stamp(wall.at(waiter.since())),
        estimated_wait: waiter.estimated_wait().map(Span),
        labels: Labels::new(waiter.peer.labels().cloned()),
        absent: waiter.is_absent(),
        passed_over: waiter.is_passed_over(),
    }
}

/// What protects against deadlocks, as the core calls it.
pub(in crate::http::v1) fn asked_deadlock(deadlock: Deadlock) -> core::Deadlock {
    match deadlock {
        Deadlock::Hierarchy => core::Deadlock::Hierarchy,
        Deadlock::Detect => core::Deadlock::Detect,
    }
}

/// What protects against deadlocks, as answers call it.
pub(in crate::http::v1) fn shown_deadlock(deadlock: core::Deadlock) -> Deadlock {
    match deadlock {
        core::Deadlock::Hierarchy => Deadlock::Hierarchy,
        core::Deadlock::Detect => Deadlock::Detect,
    }
}

/// In which order requests are granted, as the core calls it.
pub(in crate::http::v1) fn asked_order(order: Order) -> core::Order {
    match order {
        Order::Strict => core::Order::Strict,
        Order::Pass => core::Order::Pass,
    }
}

/// In which order requests are granted, as answers call it.
pub(in crate::http::v1) fn shown_order(order: core::Order) -> Order {
    match order {
        core::Order::Strict => Order::Strict,
        core::Order::Pass => Order::Pass,
    }
}
