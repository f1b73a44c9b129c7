//! The log of Throttle: what happened, in a form that outlives the server.
//!
//! - [`mod@format`]: records, batches of them with a chain that shows damage, and the state that they play to.
//! - [`keys`]: the keys of requests that may be repeated.
//! - [`log`]: the narrow trait behind which batches and snapshots are kept, and the election of who may write.
//! - [`writer`] and [`snapshot`]: writing, and keeping the log short.
//! - [`memory`]: a log in memory, for the simulator. `sqlite`: the log in a directory, as an SQLite database.
//! - `conformance`: what every log does, as a suite for its tests.
//!
//! Nothing here knows tokio, clocks or figures: whoever drives the writer decides when. The only thread is the one
//! with which the log in a directory has two syncs at once.

#[cfg(any(test, feature = "conformance"))]
#[allow(clippy::expect_used, reason = "a suite for tests panics where a test does")]
pub mod conformance;
pub mod format;
pub mod keys;
pub mod log;
pub mod memory;
mod rules;
pub mod snapshot;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod writer;

pub use format::{Chain, Record, SpecRecord, State, Wall, WallTime, decode, encode};
pub use keys::{Keyed, KeyedEnd, Keys};
pub use log::{
    AppendError, Election, End, Entry, Epoch, Log, LogError, LogReader, Position, Snapshot, Visit,
};
pub use rules::Rules;
pub use snapshot::{SnapshotJob, SnapshotStep};
pub use writer::Writer;
