//! A semaphore, who holds it, and who waits for it.

use throttle_api::{
    Deadlock, Digits, Holder, Labels, Name, Order, Origin, Semaphore, SemaphoreDetail, Span, Waiter,
};
use throttle_core::{self as core, HolderView, SemaphoreView, Spec, WaiterView};
use throttle_journal::Wall;

use super::{peer::id, stamp};
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
    }
}

/// What a semaphore would be that is made on its first use.
pub(in crate::http::v1) fn unused_detail(name: &str, spec: Spec) -> SemaphoreDetail {
    SemaphoreDetail {
        semaphore: unused(name.into(), spec),
        holders: Vec::new(),
        holders_total: 0,
        queue: Vec::new(),
        queue_total: 0,
    }
}

/// A semaphore with its first `limit` holders and waiters.
pub(in crate::http::v1) fn detail(
    view: SemaphoreView<'_>,
    wall: Wall,
    limit: usize,
    caller: &Caller,
) -> SemaphoreDetail {
    let places = 1..=limit;
    SemaphoreDetail {
        semaphore: semaphore(view),
        holders: view.holders().take(limit).map(|view| holder(view, wall, caller)).collect(),
        holders_total: view.holder_count(),
        queue: places.zip(view.queue(0)).map(|(place, view)| waiter(place, view, wall, caller)).collect(),
        queue_total: view.waiting(),
    }
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
