//! The narrow trait behind which batches are kept.

use std::{error::Error, fmt, io};

use crate::format::batch::{Batch, Chain};

/// A time in which one node leads; every later one has a greater number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// Why the journal cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The file is not a journal of Throttle.
    Foreign(String),
    /// The file was written by a later release.
    Newer(String),
    /// What was acknowledged is not there, or not as it was.
    Damaged(String),
    /// Another process uses it.
    Busy(String),
    /// The system refuses.
    Io(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(what) => {
                write!(
                    f,
                    "it is not a journal of Throttle: {what}. Nothing was changed. Name another directory"
                )
            }
            Self::Newer(what) => write!(
                f,
                "it was written by a later release: {what}. Nothing was changed. Start that release, or a later one"
            ),
            Self::Damaged(what) => write!(
                f,
                "it is damaged: {what}. Nothing was changed. Restore a backup, or begin with an empty directory; \
                 then clients lose what they hold"
            ),
            Self::Busy(what) | Self::Io(what) => f.write_str(what),
        }
    }
}

impl Error for StoreError {}

impl StoreError {
    /// Says where the damage is.
    pub(crate) fn at(self, place: &str) -> Self {
        match self {
            Self::Damaged(what) => Self::Damaged(format!("{place}: {what}")),
            Self::Newer(what) => Self::Newer(format!("{place}: {what}")),
            other => other,
        }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

/// Something that was kept, in the order in which a state is built from it.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// A piece of the last snapshot.
    Piece(&'a [u8]),
    /// A batch behind it.
    Batch {
        /// Its number.
        number: u64,
        /// Its records.
        body: &'a [u8],
    },
}

impl Entry<'_> {
    /// The records.
    pub fn body(&self) -> &[u8] {
        match self {
            Self::Piece(body) | Self::Batch { body, .. } => body,
        }
    }
}

/// The end of what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The number of the last batch; 0 if there never was one.
    pub number: u64,
    /// The chain with it.
    pub chain: Chain,
    /// How many bytes the pieces of the snapshot have.
    pub snapshot_bytes: u64,
    /// How many bytes the batches behind the snapshot have.
    pub batch_bytes: u64,
}

/// A snapshot whose pieces are all there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The last batch that it has in it.
    pub through: u64,
    /// The chain with that batch.
    pub chain: Chain,
    /// How many pieces it has.
    pub pieces: u64,
    /// The chain over its pieces.
    pub sum: Chain,
}

/// Receives what is read.
pub type Visit<'a> = &'a mut dyn FnMut(Entry<'_>) -> Result<(), StoreError>;

/// Reads what was kept. Writers are not held up.
pub trait Source: Send {
    /// Passes the last snapshot and every batch behind it, up to number `through`, in order and checked: nothing is
    /// missing, and nothing was changed.
    fn read(&mut self, through: Option<u64>, visit: Visit<'_>) -> Result<End, StoreError>;
}

/// Keeps batches and snapshots.
pub trait Store: Send {
    /// Appends a batch, whose number must be the one after the last: that guards against a second writer. Once this
    /// returns, the batch outlives a power cut.
    fn append(&mut self, batch: &Batch) -> Result<(), StoreError>;

    /// Keeps a piece of a snapshot that has everything up to batch `through` in it. Counts for nothing before
    /// [`Store::finish_snapshot`]. Pieces come in order, from index 0.
    fn put_piece(&mut self, through: u64, index: u64, piece: &[u8]) -> Result<(), StoreError>;

    /// Lets a snapshot whose pieces are there take the place of what it has in it.
    fn finish_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), StoreError>;

    /// Removes some of what the last snapshot has made superfluous. Tells whether there is more.
    fn trim(&mut self) -> Result<bool, StoreError>;

    /// Another way into the same store, for reading.
    fn source(&self) -> Result<Box<dyn Source>, StoreError>;

    /// How large it is, in bytes.
    fn bytes(&self) -> u64;
}
