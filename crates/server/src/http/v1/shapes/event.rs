//! Something that happened.

use serde::Serialize;
use throttle_core::{Event as Core, PeerId};
use utoipa::ToSchema;

use super::scalar::{Digits, Span, Stamp};
use throttle_node::{LoggedEvent, cause_name};

/// Something that happened. A kind has those of the fields that say something about it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub(in crate::http::v1) struct Event<'a> {
    /// granted, queued, released, expired, shrunk, withdrawn, restored, overcommitted, resized, removed or
    /// `peer_ended`. Others may be added.
    #[schema(example = "granted")]
    kind: &'static str,
    /// When, by the wall clock of that moment.
    at: Stamp,
    /// Whom it happened to.
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<Digits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "A")]
    semaphore: Option<&'a str>,
    /// The count of the lock or the request; of `shrunk` what is left, of `overcommitted` what is acquired.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 1)]
    count: Option<i64>,
    /// The fencing token of the grant.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<Digits>,
    /// How long a granted request had waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    waited: Option<Span>,
    /// How long a lock was held when it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<Span>,
    /// The priority of a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i32>,
    /// The full count.
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<i64>,
    /// Why something ended: released, expired or operator. Others may be added.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "operator")]
    cause: Option<&'static str>,
    /// What the operator who ended it gave as the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl<'a> Event<'a> {
    pub(in crate::http::v1) fn of(logged: &'a LoggedEvent) -> Self {
        let bare = Self {
            kind: logged.kind.name(),
            at: Stamp(logged.at),
            peer: None,
            semaphore: None,
            count: None,
            token: None,
            waited: None,
            held: None,
            priority: None,
            max: None,
            cause: None,
            reason: logged.reason.as_deref(),
        };
        match &logged.event {
            Core::Granted { peer, semaphore, count, token, waited, .. } => Self {
                token: Some(Digits(token.0)),
                waited: Some(Span(waited.unwrap_or_default())),
                ..bare.about(*peer, semaphore, *count)
            },
            Core::Queued { peer, semaphore, count, priority, .. } => {
                Self { priority: Some(*priority), ..bare.about(*peer, semaphore, *count) }
            }
            Core::Released { peer, semaphore, count, token, held, cause, .. } => Self {
                token: token.map(|token| Digits(token.0)),
                held: Some(Span(*held)),
                cause: Some(cause_name(*cause)),
                ..bare.about(*peer, semaphore, *count)
            },
            Core::Shrunk { peer, semaphore, count, .. } => bare.about(*peer, semaphore, *count),
            Core::Withdrawn { peer, semaphore, count, cause } => {
                Self { cause: Some(cause_name(*cause)), ..bare.about(*peer, semaphore, *count) }
            }
            Core::Restored { peer, semaphore, count, token, .. } => {
                Self { token: token.map(|token| Digits(token.0)), ..bare.about(*peer, semaphore, *count) }
            }
            Core::Overcommitted { semaphore, acquired, max } => {
                Self { semaphore: Some(semaphore), count: Some(*acquired), max: Some(*max), ..bare }
            }
            Core::SemaphoreSet { semaphore, spec, .. } => {
                Self { semaphore: Some(semaphore), max: Some(spec.max), ..bare }
            }
            Core::SemaphoreRemoved { semaphore } => Self { semaphore: Some(semaphore), ..bare },
            Core::PeerEnded { peer, cause } => {
                Self { peer: Some(Digits(peer.0)), cause: Some(cause_name(*cause)), ..bare }
            }
            // Readers are not shown these.
            Core::SemaphoreRetired { .. }
            | Core::PeerCreated { .. }
            | Core::LeaseChanged { .. }
            | Core::Connected { .. }
            | Core::Counters { .. }
            | Core::Cooling { .. } => bare,
        }
    }

    fn about(self, peer: PeerId, semaphore: &'a str, count: i64) -> Self {
        Self { peer: Some(Digits(peer.0)), semaphore: Some(semaphore), count: Some(count), ..self }
    }

    /// The semaphore that it is about.
    pub(in crate::http::v1) fn semaphore(&self) -> Option<&str> {
        self.semaphore
    }
}
