//! Tests of the core through its public interface.
//!
//! `rules` shows each rule by an example; `properties` compares the core with `model`, a slow and obvious
//! one, over random runs in virtual time, each of which is a `run`.
#![expect(clippy::indexing_slicing, clippy::expect_used, reason = "a test may panic")]

mod model;
mod properties;
mod rules;
mod run;
