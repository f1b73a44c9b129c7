//! The log: the narrow trait behind which batches and snapshots are kept.

use std::{error::Error, fmt, io};

use crate::format::batch::Chain;

/// A time in which one node leads; every later one has a greater number. 0 is the time before there were epochs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// The place of a batch in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The epoch of the node that appends it.
    pub epoch: Epoch,
    /// Counts up from 1 without gaps, whatever the epoch.
    pub number: u64,
}

/// Why the log cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogError {
    /// What is there is not a log of Throttle.
    Foreign(String),
    /// It was written by a later release.
    Newer(String),
    /// What was acknowledged is not there, or not as it was.
    Damaged(String),
    /// Another process uses it.
    Busy(String),
    /// The system refuses.
    Io(String),
    /// What was to be read is in a snapshot by now: read from there.
    Trimmed,
    /// It cannot be written, since another node leads by now.
    Superseded,
}

/// Why a batch was not appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// A node of a later epoch leads.
    Superseded,
    /// The batch may be there or not: look at its position before anything else.
    Unknown(String),
    /// It is not there; or it is, and nobody is to be told. Nothing more is to be written to this log.
    Failed(LogError),
}

/// Something that is kept, in the order in which a state is built from it.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// A piece of the last snapshot.
    Piece(&'a [u8]),
    /// A batch behind it.
    Batch {
        /// Its place.
        position: Position,
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

/// How far the log was read, or written.
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

impl End {
    /// The end of a log in which nothing was ever written.
    pub fn start(journal: u64) -> Self {
        Self { number: 0, chain: Chain::start(journal), snapshot_bytes: 0, batch_bytes: 0 }
    }

    /// Goes on to the batch at `position`, which was kept with the chain `kept`.
    ///
    /// # Errors
    ///
    /// If it is not the next one, or not what was written.
    pub fn follow(&mut self, position: Position, kept: Option<Chain>, body: &[u8]) -> Result<(), LogError> {
        let Position { number, .. } = position;
        if number != self.number + 1 {
            return Err(LogError::Damaged(format!("batch {} is missing", self.number + 1)));
        }
        let chain = self.chain.then(position, body);
        if kept != Some(chain) {
            return Err(LogError::Damaged(format!("batch {number} is not what was written")));
        }
        (self.number, self.chain) = (number, chain);
        self.batch_bytes += body.len() as u64;
        Ok(())
    }
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
pub type Visit<'a> = &'a mut dyn FnMut(Entry<'_>) -> Result<(), LogError>;

/// Reads the log. Writers are not held up.
pub trait LogReader: Send {
    /// Reads what comes after `from`, up to number `through`, in order and checked: nothing is missing, and nothing was
    /// changed. Without `from`, it begins with the last snapshot. To tail the log, ask again from the end that this
    /// returned.
    ///
    /// # Errors
    ///
    /// [`LogError::Trimmed`], if what comes next is only in a snapshot by now.
    fn read_from(
        &mut self,
        from: Option<End>,
        through: Option<u64>,
        visit: Visit<'_>,
    ) -> Result<End, LogError>;
}

/// Keeps batches and snapshots, for the node that leads.
pub trait Log: Send {
    /// Appends a batch behind the last one. `chain` is the one with it. Once this returns, the batch outlives a power
    /// cut. To append the same bytes at the same position again changes nothing.
    ///
    /// # Errors
    ///
    /// See [`AppendError`]. A number that is taken, or leaves a gap, is refused.
    fn append(&mut self, position: Position, chain: Chain, body: &[u8]) -> Result<(), AppendError>;

    /// The epoch and the chain of the batch with a number, if that batch is there.
    ///
    /// # Errors
    ///
    /// If the log cannot be read.
    fn look_up(&mut self, number: u64) -> Result<Option<(Epoch, Chain)>, LogError>;

    /// Keeps a piece of a snapshot that has everything up to batch `through` in it. Counts for nothing before
    /// [`Log::finish_snapshot`]. Pieces come in order, from index 0.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    fn put_piece(&mut self, through: u64, index: u64, piece: &[u8]) -> Result<(), LogError>;

    /// Puts a snapshot, whose pieces are there, in the place of the batches that it covers.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    fn finish_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), LogError>;

    /// Removes some of what the last snapshot has made superfluous. Tells whether there is more.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    fn trim(&mut self) -> Result<bool, LogError>;

    /// Does what is due now and then so that the log stays short and quick. Tells whether anything was due. Nothing
    /// that is kept depends on it.
    ///
    /// # Errors
    ///
    /// If that failed, or does not get on, with what an operator can do. It is tried again.
    fn keep_up(&mut self) -> Result<bool, LogError> {
        Ok(false)
    }

    /// Another way into the same log, for reading.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    fn reader(&self) -> Result<Box<dyn LogReader>, LogError>;

    /// How large it is, in bytes.
    fn bytes(&self) -> u64;
}

/// Decides who leads.
pub trait Election {
    /// Begins to lead. The epoch is greater than every one before, and whoever led before is superseded.
    ///
    /// # Errors
    ///
    /// If the election cannot be held.
    fn lead(&mut self) -> Result<Epoch, LogError>;
}

impl fmt::Display for LogError {
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
            Self::Trimmed => f.write_str("what was to be read is in a snapshot by now"),
            Self::Superseded => f.write_str("another server leads by now"),
        }
    }
}

impl Error for LogError {}

impl LogError {
    /// Names the place where the damage is.
    #[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "a log in memory is never damaged"))]
    pub(crate) fn at(self, place: &str) -> Self {
        match self {
            Self::Damaged(what) => Self::Damaged(format!("{place}: {what}")),
            Self::Newer(what) => Self::Newer(format!("{place}: {what}")),
            other => other,
        }
    }
}

impl From<io::Error> for LogError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Superseded => f.write_str("another server leads by now"),
            Self::Unknown(why) => write!(f, "whether the batch is there is not known: {why}"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl Error for AppendError {}

impl<E: Into<LogError>> From<E> for AppendError {
    fn from(error: E) -> Self {
        match error.into() {
            LogError::Superseded => Self::Superseded,
            error => Self::Failed(error),
        }
    }
}
