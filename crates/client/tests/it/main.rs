//! The client against a real server process.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and measures time as its user does"
)]

mod cancellation;
mod cuts;
mod handing_over;
mod locking;
mod loss;
mod low_level;
mod old_server;
mod processes;
mod proxy;
mod renewals;
mod servers;
mod support;
mod v1;
