//! What the fuzzer runs: each module takes any bytes, and panics if something does not hold that must.
//!
//! - [`http`]: bytes of a connection, through the parser, the routes and everything behind them.
//! - [`bodies`]: requests of `/v1` with any bodies, one after the other on one server.
//! - [`configuration`]: the text of a configuration file.
//! - [`journal`]: batches of a journal, and pieces of a snapshot.
//! - [`core`]: commands, compared with the model of the property tests.
//! - [`security`]: what a request shows, and the file of tokens.
//!
//! `libfuzzer` has a program for each; the files in `corpus` are run by the tests.
#![expect(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a panic is how it tells")]

pub mod bodies;
pub mod configuration;
pub mod core;
pub mod http;
pub mod journal;
#[allow(dead_code, reason = "it is shared with the property tests of the core")]
#[path = "../../crates/core/tests/it/model.rs"]
mod model;
#[allow(dead_code, reason = "it is shared with the property tests of the core")]
#[path = "../../crates/core/tests/it/run.rs"]
mod run;
pub mod security;
mod server;

/// A target: its name, and what runs it.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("http", http::run),
    ("bodies", bodies::run),
    ("configuration", configuration::run),
    ("journal", journal::run),
    ("core", core::run),
    ("security", security::run),
];
