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
mod events;
mod heartbeats;
mod history;
mod locks;
mod named;
mod openapi;
mod peers;
mod permissions;
mod probes;
mod problem;
mod read;
mod reload;
mod resume;
mod routes;
mod semaphores;
mod shapes;
mod updates;

pub(super) use code::Code;
pub(super) use problem::{Problem, method_not_allowed, not_found};
pub(super) use read::Entries;
pub(super) use routes::routes;
pub(super) use updates::Updates;
