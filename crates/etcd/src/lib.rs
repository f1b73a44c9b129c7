//! The log of Throttle in etcd, for a set of semaphores that several servers serve: one leads, and each append proves
//! that it still does.
//!
//! - [`EtcdLog`]: the log behind the trait of `throttle-journal`, and its reader. An append is a transaction that fails
//!   unless the key of the leader is the one that this leader made.
//! - [`Candidate`]: who leads. The key of the leader has a lease; its creation revision is the epoch.
//! - [`Leadership::confirm`]: a linearizable read of that key. An answer of a leader may leave only after a
//!   confirmation that was sent after its command ran; an answered keep-alive proves nothing.
//!
//! The messages of etcd are written by hand (`proto`), and sent by tonic (`client`), each with a deadline, to one
//! endpoint after the other.

mod client;
mod election;
mod keys;
mod log;
mod proto;
#[cfg(test)]
mod tests;

pub use client::{Etcd, EtcdError, EtcdSettings, Tls};
pub use election::{Candidate, Confirmed, Leadership};
pub use log::{EtcdLog, EtcdReader};
