//! The types of `/v1`: what requests carry and what answers say, written once for the server and for its clients.
//!
//! - Requests are bodies ([`NewPeerBody`] and others) and queries ([`query`]). The server refuses fields of a request
//!   that it does not know.
//! - Answers are [`Peer`], [`Semaphore`] and so on. A client skips fields that it does not know, and keeps values that
//!   it does not know as [`Open::Other`], so that it can read the answers of a newer server.
//! - Numbers of 64 bits are strings of digits ([`Digits`]), times are RFC 3339 ([`Stamp`]), lengths of time are written
//!   for people ([`Span`]).
//!
//! Nothing here does I/O. With the feature `openapi` the types describe themselves for `/openapi.json`.

mod cluster;
mod code;
mod event;
mod heartbeats;
mod history;
mod labels;
mod open;
#[cfg(feature = "openapi")]
mod openapi;
mod page;
mod peer;
mod permissions;
mod problem;
pub mod query;
mod reload;
mod request;
mod resume;
mod scalar;
mod semaphore;
mod update;

pub use cluster::{ClusterLeader, ClusterRole, ClusterServer, ClusterStatus, EtcdMember};
pub use code::{Code, UnknownCode};
pub use event::{Event, Notice};
pub use heartbeats::{AnyDigits, HeartbeatsBody, Renewed};
pub use history::{Histories, History};
pub use labels::Labels;
pub use open::Open;
pub use page::Page;
pub use peer::{Blocker, BlockerKind, Lock, Peer, Pending};
pub use permissions::{Action, Keeping, Permissions, Server, SignInBody};
pub use problem::{Cause, Problem, Reason};
pub use reload::{Change, Declaration, Difference, Usage};
pub use request::{
    ChangeBody, DurationText, Entries, HeartbeatBody, LocksBody, NewPeerBody, NewRate, OnTimeout, RateText,
    ReleaseBody, SemaphoreBody, SessionBody, Whole,
};
pub use resume::Resumed;
pub use scalar::{Digits, Span, Stamp};
pub use semaphore::{Deadlock, Holder, Order, Origin, Semaphore, SemaphoreDetail, Waiter};
pub use update::{MissedUpdates, Numbered, Update};

/// The name of a semaphore.
pub type Name = std::sync::Arc<str>;
