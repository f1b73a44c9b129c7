//! Log lines of events: written after the engine is let go, since a log may be slow.

use std::{fmt::Display, sync::Arc, time::Duration};

use throttle_core::{EndCause, Event};
use tracing::{
    Level, debug,
    field::{DisplayValue, display},
    info,
    level_filters::LevelFilter,
    trace,
};

use throttle_node::cause_name;

use crate::telemetry::{ShownPeer, trace::TraceIds};

/// Logs what happened.
#[cold]
pub(super) fn write(lines: Vec<Line>) {
    lines.into_iter().for_each(Line::write);
}

/// Something to be logged.
pub(super) struct Line {
    event: Event,
    reason: Option<Arc<str>>,
    /// Of the request that it happened to; not of the one that made it happen.
    trace: Option<TraceIds>,
}

impl Line {
    /// If what happened is worth a line at this level.
    pub(super) fn of(
        event: &Event,
        level: LevelFilter,
        reason: Option<&Arc<str>>,
        trace: Option<TraceIds>,
    ) -> Option<Self> {
        if level_of(event)? > level {
            return None;
        }
        Some(Self { event: event.clone(), reason: reason.cloned(), trace })
    }

    fn write(self) {
        let Self { event, reason, trace } = self;
        let trace_id = trace.map(|ids| display(ids.trace));
        let span_id = trace.map(|ids| display(ids.span));
        match event {
            Event::Queued { peer, semaphore, count, priority, .. } => {
                debug!(peer = %ShownPeer(peer), %semaphore, count, priority, trace_id, span_id, "Request waits.");
            }
            Event::Granted { peer, semaphore, count, token, waited: Some(waited), .. } => {
                let waited = span(waited);
                debug!(
                    peer = %ShownPeer(peer), %semaphore, count, %token, %waited, trace_id, span_id,
                    "Lock granted after a wait."
                );
            }
            Event::Granted { peer, semaphore, count, token, waited: None, .. } => {
                trace!(peer = %ShownPeer(peer), %semaphore, count, %token, trace_id, span_id, "Lock granted.");
            }
            Event::Withdrawn { peer, semaphore, count, cause } => {
                let cause = cause_name(cause);
                debug!(
                    peer = %ShownPeer(peer), %semaphore, count, cause, trace_id, span_id,
                    "Request left the queue without a grant."
                );
            }
            Event::Released { peer, semaphore, count, token, held, cause, .. } => {
                let (held, token) = (span(held), token.map(display));
                match cause {
                    EndCause::Expired => {
                        info!(
                            peer = %ShownPeer(peer), %semaphore, count, token, %held, trace_id, span_id,
                            "Lock expired with the lease of its peer."
                        );
                    }
                    EndCause::Operator | EndCause::Removed => {
                        let (cause, reason) = (cause_name(cause), reason.as_deref());
                        info!(
                            peer = %ShownPeer(peer), %semaphore, count, token, %held, cause, reason, trace_id, span_id,
                            "Lock taken away."
                        );
                    }
                    EndCause::Released | EndCause::ExceedsMax => {
                        trace!(peer = %ShownPeer(peer), %semaphore, count, token, %held, trace_id, span_id, "Lock released.");
                    }
                }
            }
            Event::Shrunk { peer, semaphore, count, .. } => {
                trace!(peer = %ShownPeer(peer), %semaphore, count, trace_id, span_id, "Lock shrunk.");
            }
            Event::Restored { peer, semaphore, count, token, .. } => {
                let token = token.map(display);
                debug!(peer = %ShownPeer(peer), %semaphore, count, token, trace_id, span_id, "Lock restored by its client.");
            }
            Event::Overcommitted { semaphore, acquired, max } => {
                info!(%semaphore, acquired, max, trace_id, span_id, "More is acquired than max.");
            }
            Event::PeerEnded { peer, cause: EndCause::Operator, .. } => {
                let reason = reason.as_deref();
                info!(peer = %ShownPeer(peer), reason, trace_id, span_id, "Peer released by an operator.");
            }
            Event::PeerEnded { peer, cause, .. } => {
                let cause = cause_name(cause);
                debug!(peer = %ShownPeer(peer), cause, trace_id, span_id, "Peer ended.");
            }
            Event::SemaphoreSet { .. }
            | Event::SemaphoreRemoved { .. }
            | Event::SemaphoreRetired { .. }
            | Event::PeerCreated { .. }
            | Event::PeerOwned { .. }
            | Event::SemaphoreOwned { .. }
            | Event::LeaseChanged { .. }
            | Event::Connected { .. }
            | Event::Counters { .. }
            | Event::Cooling { .. }
            | Event::Paused { .. } => {}
        }
    }
}

/// What is told at which level; `None`: nowhere. What every request does stays below DEBUG; whoever changes
/// semaphores has lines of its own.
fn level_of(event: &Event) -> Option<Level> {
    Some(match event {
        Event::Queued { .. }
        | Event::Granted { waited: Some(_), .. }
        | Event::Withdrawn { .. }
        | Event::Restored { .. }
        | Event::PeerEnded { cause: EndCause::Expired | EndCause::Removed, .. } => Level::DEBUG,
        Event::Released { cause: EndCause::Expired | EndCause::Operator | EndCause::Removed, .. }
        | Event::Overcommitted { .. }
        | Event::PeerEnded { cause: EndCause::Operator, .. } => Level::INFO,
        Event::Granted { waited: None, .. }
        | Event::Released { cause: EndCause::Released | EndCause::ExceedsMax, .. }
        | Event::Shrunk { .. } => Level::TRACE,
        Event::SemaphoreSet { .. }
        | Event::SemaphoreRemoved { .. }
        | Event::SemaphoreRetired { .. }
        | Event::PeerCreated { .. }
        | Event::PeerOwned { .. }
        | Event::SemaphoreOwned { .. }
        | Event::PeerEnded { cause: EndCause::Released | EndCause::ExceedsMax, .. }
        | Event::LeaseChanged { .. }
        | Event::Connected { .. }
        | Event::Counters { .. }
        | Event::Cooling { .. }
        | Event::Paused { .. } => return None,
    })
}

/// To the millisecond, as people read it.
fn span(length: Duration) -> DisplayValue<impl Display> {
    let ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    display(humantime::format_duration(Duration::from_millis(ms)))
}
