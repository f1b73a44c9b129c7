//! What happened, on disk, so that a restart breaks no promise.
//!
//! The engine leaves the events of every command in an [`Outbox`]; a thread of its own ([`Writer`]) writes them,
//! everything that arrived while it wrote in one batch, behind the narrow trait [`Store`](throttle_journal::Store). No answer leaves before all
//! that it tells is safe. From time to time another thread plays what there is and writes it down shorter
//! (`compact`), so that the journal does not grow without end.
//!
//! Without a data directory there is no outbox, and nothing of this runs.

mod compact;
mod figures;
mod outbox;
#[cfg(test)]
mod tests;
mod writer;

pub use figures::Figures;
pub use outbox::{JournalFailed, Outbox};
pub use throttle_journal::{
    End, Entry, Record, State, StoreError, decode,
    sqlite::{Directory, Found, backup, inspect},
};
pub use writer::{Beginning, Writer};
