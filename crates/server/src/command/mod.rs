//! The subcommands: what the binary does besides serving.

mod check;
mod completions;

pub use check::{Check, check};
pub use completions::{Completions, completions};
