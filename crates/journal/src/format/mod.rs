//! The format of the log.
//!
//! - [`record`]: what is written of each event, apart from the events themselves, so that those may change.
//! - [`batch`]: records in bytes, and the chain over them.
//! - [`state`]: what the records of a log say, as a whole.
//! - [`wall`]: the wall clock, and how far it is from the time of leases.

pub mod batch;
pub mod record;
pub mod state;
pub mod wall;

#[cfg(test)]
mod tests;

pub use batch::{Chain, decode, encode};
pub use record::{Record, SpecRecord};
pub use state::State;
pub use wall::{Wall, WallTime};
