//! The subcommands: what the binary does besides serving.

pub(crate) mod acquire;
pub mod advice;
mod backup;
mod check;
mod completions;
mod connection;
mod duration;
mod journal;
pub mod operator;
pub mod run;
mod token;
pub mod usage;

pub use acquire::{Acquire, acquire};
pub use backup::{Backup, backup};
pub use check::{Check, check};
pub use completions::{Completions, completions};
pub use connection::Connection;
pub use journal::JournalCommand;
pub use token::TokenCommand;
