//! The simulator of Throttle: real nodes in a world of one seed.
//!
//! A node, the memory log, clients of every dialect, a network and operators, all driven by one random number: the same
//! seed gives the same run, byte for byte. What must hold is judged from outside, from what clients were told. See
//! `docs/simulation.md`.
//!
//! - [`setup`]: what a seed decides before anything happens. [`world`]: what happens when, in one order; `faults` and
//!   `calm` are parts of it.
//! - [`server`]: a real node, in a shell of this world's time, log and network; [`adapters`] and [`shown`] stand
//!   between it and what clients say and are told.
//! - [`client`] and [`operator`]: those who ask; [`message`]: what they say.
//! - [`ledger`]: what clients know, [`known`]: of a single peer. [`invariants`]: what must hold, a file each.
//! - [`seeds`]: many runs at once. [`shrink`]: the shortest run that fails. [`planted`]: faults that it has to find.

#![expect(
    clippy::indexing_slicing,
    missing_docs,
    reason = "a library for tests: a wrong index or a missing value is a fault of its own, and is to stop it"
)]

pub mod adapters;
mod calm;
pub mod client;
pub mod cluster;
pub mod etcd;
pub mod exchange;
mod faults;
mod guarantees;
pub mod invariants;
pub mod known;
pub mod ledger;
pub mod message;
pub mod operator;
pub mod planted;
pub mod seeds;
pub mod server;
mod service;
pub mod setup;
mod shell;
pub mod shown;
pub mod shrink;
mod single;
pub mod time;
pub mod world;
