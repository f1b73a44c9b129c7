//! The log of Throttle in etcd, for a set of semaphores that several servers serve: one leads, and each append proves
//! that it still does.
//!
//! - [`EtcdLog`]: the log of a leader. An append is a transaction that fails unless the key of the leader is the one
//!   that this leader made. [`EtcdReader`] reads it.
//! - [`Candidate`]: who leads. The key of the leader has a lease; its creation revision is the epoch.
//! - [`Leadership::confirm`]: a linearizable read of that key. An answer of a leader may leave only after a
//!   confirmation that was sent after its command ran; an answered keep-alive proves nothing.
//! - [`Kv`]: what is asked of etcd. All of the above runs on a real one ([`Etcd`]), and on that of the simulator.
//!
//! The messages of etcd are written by hand ([`proto`]), and sent by tonic (`client`), each with a deadline, to one
//! endpoint after the other.

#[cfg(feature = "client")]
mod blocking;
#[cfg(feature = "client")]
mod client;
mod election;
mod keys;
mod kv;
mod log;
#[cfg(feature = "client")]
mod members;
pub mod proto;
mod reader;
mod registry;
mod retry;
mod term;
#[cfg(feature = "client")]
#[cfg(test)]
mod tests;

#[cfg(feature = "client")]
pub use client::{Etcd, EtcdSettings, Health, MemberStatus, Tls, User};
pub use election::{Candidate, Confirmed, Leader, Leadership};
pub use keys::Deployment;
pub use kv::{EtcdError, Kv};
pub use log::EtcdLog;
pub use reader::EtcdReader;
pub use registry::Registry;
pub use term::Term;
