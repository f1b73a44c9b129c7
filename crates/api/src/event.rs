//! Something that happened.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};
#[cfg(feature = "openapi")]
use utoipa::ToSchema;

use crate::{Digits, Name, Span, Stamp};

/// Something that happened. A kind has those of the fields that say something about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Event {
    /// granted, queued, released, expired, shrunk, withdrawn, restored, overcommitted, resized, removed or
    /// `peer_ended`. Others may be added.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "granted"))]
    pub kind: Cow<'static, str>,
    /// When, by the wall clock of that moment.
    pub at: Stamp,
    /// Whom it happened to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<Digits>,
    /// The semaphore that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "A"))]
    pub semaphore: Option<Name>,
    /// The count of the lock or the request; of `shrunk` what is left, of `overcommitted` what is acquired.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = 1))]
    pub count: Option<i64>,
    /// The fencing token of the grant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Digits>,
    /// How long a granted request had waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waited: Option<Span>,
    /// How long a lock was held when it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<Span>,
    /// The priority of a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// The full count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
    /// Why something ended: released, expired or operator. Others may be added.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "operator"))]
    pub cause: Option<Cow<'static, str>>,
    /// What the operator who ended it gave as the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub reason: Option<Arc<str>>,
    /// Who made it happen, where an operator did and the server knows him by name; `configuration` where a change of
    /// the file did that nobody known by name asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "ana"))]
    pub by: Option<Arc<str>>,
}

/// Tells a reader of events that there are some it will not get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Notice {
    /// `too_old`: the events after `Last-Event-ID` are not all kept any more. `unknown_id`: it is of another run of
    /// the server. `too_slow`: the reader did not keep up, and the stream ends.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "too_old"))]
    pub reason: Cow<'static, str>,
    /// How many events, if that is known.
    pub missed: Option<u64>,
    /// The same for people.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub detail: Cow<'static, str>,
}
