//! The subcommands: what the binary does besides serving.

mod check;
mod completions;
mod connection;
pub mod operator;
pub mod run;

pub use check::{Check, check};
pub use completions::{Completions, completions};
pub use connection::Connection;
