//! The dialect for new clients: JSON both ways, errors as `application/problem+json` with a stable code, and
//! a description of itself at `/openapi.json`.
//!
//! - `throttle_api`: what requests and answers look like; `convert` makes answers of what the core shows.
//! - `problem`: refusals, in the words of this dialect.
//! - `read`: what of a request is checked beside its shape; `page` the same for lists.
//! - `named`: semaphores by a name in the query, for names that do not survive a proxy in a path.
//! - `documented`: what the description says beside the types; `openapi` puts it together.
//! - the rest: a module for each kind of route.

#![expect(unused_qualifications, reason = "the macros of utoipa write every path in full")]

pub(super) mod cluster;
mod convert;
mod documented;
pub(super) mod events;
mod frames;
pub(super) mod heartbeats;
pub(super) mod history;
pub(super) mod locks;
pub(super) mod named;
pub(super) mod openapi;
mod page;
pub(super) mod peers;
pub(super) mod permissions;
pub(super) mod probes;
mod problem;
mod read;
pub(super) mod reload;
pub(super) mod resume;
pub(super) mod semaphores;
pub(super) mod session;
pub(super) mod updates;

pub(super) use frames::Frames;
pub(super) use page::PAGE_BYTES;
pub(super) use problem::{Problem, method_not_allowed, not_found};
pub(super) use read::labels;
pub(super) use updates::Updates;
