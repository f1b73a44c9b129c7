//! The dialect for new clients: JSON both ways, errors as `application/problem+json` with a stable code, and
//! a description of itself at `/openapi.json`.
//!
//! - `shapes`: what answers look like; one representation of each thing, used wherever it appears.
//! - `problem`: what refusals look like, and `code`: which there are.
//! - `read`: what requests look like.
//! - `named`: semaphores by a name in the query, for names that do not survive a proxy in a path.
//! - `documented`: what the description says beside the shapes; `openapi` puts it together.
//! - the rest: a module for each kind of route.

#![expect(unused_qualifications, reason = "the macros of utoipa write every path in full")]

mod code;
mod documented;
pub(super) mod events;
pub(super) mod heartbeats;
pub(super) mod history;
pub(super) mod locks;
pub(super) mod named;
pub(super) mod openapi;
pub(super) mod peers;
pub(super) mod permissions;
pub(super) mod probes;
mod problem;
mod read;
pub(super) mod reload;
pub(super) mod resume;
pub(super) mod semaphores;
mod shapes;
pub(super) mod updates;

pub(super) use code::Code;
pub(super) use problem::{Problem, method_not_allowed, not_found};
pub(super) use read::Entries;
pub(super) use updates::Updates;
