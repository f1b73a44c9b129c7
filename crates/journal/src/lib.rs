//! The log of Throttle: what happened, in a form that outlives the server.
//!
//! - [`format`]: records, batches of them with a chain that shows damage, and the state that they play to.
//! - [`log`]: the narrow trait behind which batches and snapshots are kept.
//! - `sqlite`: the log in a directory, as an SQLite database.
//!
//! Nothing here knows tokio, threads or figures: whoever writes decides when.

pub mod format;
pub mod log;
#[cfg(feature = "sqlite")]
pub mod sqlite;

pub use format::{Batch, Chain, Record, SpecRecord, State, Wall, WallTime, decode, encode};
pub use log::{End, Entry, Epoch, Snapshot, Source, Store, StoreError, Visit};
