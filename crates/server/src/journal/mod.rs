//! The journal as the server runs it: what happened, on disk, so that a restart breaks no promise.
//!
//! The node leaves the records of every turn in an [`Outbox`]; a thread of its own ([`WriterThread`]) writes them,
//! everything that arrived while it wrote in one batch. No answer leaves before all that it tells is flushed. From
//! time to time another thread makes a snapshot, so that the journal does not grow without end. What they do is in
//! the crate [`throttle_journal`]; here are threads, figures and lines of the log.
//!
//! Without a data directory there is no outbox, and nothing of this runs.

mod compact;
mod figures;
mod outbox;
mod upkeep;
mod writer;

pub use figures::Figures;
pub use outbox::{JournalFailed, Outbox};
pub use writer::{Gathering, WriterThread};
