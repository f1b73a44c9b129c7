//! Something that happened.

use throttle_api::{Digits, Event, Span};
use throttle_core::{Event as Core, Name, PeerId};
use throttle_node::{LoggedEvent, cause_name};

use super::stamp;

/// An event as readers are shown it.
pub(in crate::http::v1) fn event(logged: &LoggedEvent) -> Event {
    let bare = Event {
        kind: logged.kind.name().into(),
        at: stamp(logged.at),
        peer: None,
        semaphore: None,
        count: None,
        token: None,
        waited: None,
        held: None,
        priority: None,
        max: None,
        cause: None,
        reason: logged.reason.clone(),
        by: logged.by.clone(),
    };
    match &logged.event {
        Core::Granted { peer, semaphore, count, token, waited, .. } => Event {
            token: Some(Digits(token.0)),
            waited: Some(Span(waited.unwrap_or_default())),
            ..about(bare, *peer, semaphore, *count)
        },
        Core::Queued { peer, semaphore, count, priority, .. } => {
            Event { priority: Some(*priority), ..about(bare, *peer, semaphore, *count) }
        }
        Core::Released { peer, semaphore, count, token, held, cause, .. } => Event {
            token: token.map(|token| Digits(token.0)),
            held: Some(Span(*held)),
            cause: Some(cause_name(*cause).into()),
            ..about(bare, *peer, semaphore, *count)
        },
        Core::Shrunk { peer, semaphore, count, .. } => about(bare, *peer, semaphore, *count),
        Core::Withdrawn { peer, semaphore, count, cause } => {
            Event { cause: Some(cause_name(*cause).into()), ..about(bare, *peer, semaphore, *count) }
        }
        Core::Restored { peer, semaphore, count, token, .. } => {
            Event { token: token.map(|token| Digits(token.0)), ..about(bare, *peer, semaphore, *count) }
        }
        Core::Overcommitted { semaphore, acquired, max } => {
            Event { semaphore: Some(semaphore.shared()), count: Some(*acquired), max: Some(*max), ..bare }
        }
        Core::SemaphoreSet { semaphore, spec, .. } => {
            Event { semaphore: Some(semaphore.shared()), max: Some(spec.max), ..bare }
        }
        Core::SemaphoreRemoved { semaphore } => Event { semaphore: Some(semaphore.shared()), ..bare },
        Core::PeerEnded { peer, cause, .. } => {
            Event { peer: Some(Digits(peer.0)), cause: Some(cause_name(*cause).into()), ..bare }
        }
        // Readers are not shown these.
        Core::SemaphoreRetired { .. }
        | Core::PeerCreated { .. }
        | Core::PeerOwned { .. }
        | Core::SemaphoreOwned { .. }
        | Core::LeaseChanged { .. }
        | Core::Connected { .. }
        | Core::Counters { .. }
        | Core::Cooling { .. }
        | Core::Paused { .. } => bare,
    }
}

fn about(event: Event, peer: PeerId, semaphore: &Name, count: i64) -> Event {
    Event { peer: Some(Digits(peer.0)), semaphore: Some(semaphore.shared()), count: Some(count), ..event }
}

/// The semaphore and the peer that something happened to.
pub(in crate::http::v1) fn subjects(event: &Core) -> (Option<&Name>, Option<&PeerId>) {
    match event {
        Core::Granted { peer, semaphore, .. }
        | Core::Queued { peer, semaphore, .. }
        | Core::Released { peer, semaphore, .. }
        | Core::Shrunk { peer, semaphore, .. }
        | Core::Withdrawn { peer, semaphore, .. }
        | Core::Restored { peer, semaphore, .. } => (Some(semaphore), Some(peer)),
        Core::Overcommitted { semaphore, .. }
        | Core::SemaphoreSet { semaphore, .. }
        | Core::SemaphoreRemoved { semaphore } => (Some(semaphore), None),
        Core::PeerEnded { peer, .. } => (None, Some(peer)),
        Core::SemaphoreRetired { .. }
        | Core::PeerCreated { .. }
        | Core::PeerOwned { .. }
        | Core::SemaphoreOwned { .. }
        | Core::LeaseChanged { .. }
        | Core::Connected { .. }
        | Core::Counters { .. }
        | Core::Cooling { .. }
        | Core::Paused { .. } => (None, None),
    }
}
