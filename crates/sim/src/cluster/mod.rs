//! A world with a cluster: several servers, an etcd with the log, and networks between all of them.
//!
//! - [`setup`]: what a seed decides of it. [`world`]: what happens when, and what goes wrong.
//! - `member`: a server, as a process that starts and dies; `following` and `leading`: what it does meanwhile, with
//!   `mirror` for the writer of the journal.
//! - `network`: who can reach whom, and what becomes of requests to etcd; `requests`: those of clients.

mod faults;
mod following;
mod leading;
mod member;
mod mirror;
mod network;
mod requests;
pub mod setup;
pub mod world;
