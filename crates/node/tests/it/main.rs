//! A node by example: each test is a short story of commands, and what comes out.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::tests_outside_test_module,
    reason = "all of this is a test: what goes wrong is to stop it"
)]

mod answers;
mod managing;
mod remembering;
mod roles;
mod sessions;
mod waits;
mod world;
