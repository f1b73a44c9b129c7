//! Records in bytes, and the chain that shows that none is missing or changed.

use xxhash_rust::xxh3::Xxh3;

use super::record::Record;
use crate::log::{Epoch, LogError, Position};

/// The first byte of every batch and of every piece of a snapshot.
pub const VERSION: u8 = 2;
/// The oldest version that is read. In version 1 the key of a request is forgotten with the peer that it made.
const OLDEST: u8 = 1;

/// A fingerprint of everything up to some place in the journal (XXH3 of 128 bits, over the one before and what was
/// added). It finds accidents, not forgers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain(pub u128);

impl Chain {
    /// Before the first batch of the journal with this id.
    pub fn start(journal: u64) -> Self {
        Self(0).with(journal, b"throttle")
    }

    /// Before the first piece of a snapshot of that journal.
    pub fn of_snapshot(journal: u64, through: u64) -> Self {
        Self::start(journal).with(through, b"snapshot")
    }

    /// After `body` was added as number `number`.
    #[must_use]
    pub fn with(self, number: u64, body: &[u8]) -> Self {
        let mut hash = Xxh3::new();
        hash.update(&self.0.to_le_bytes());
        hash.update(&number.to_le_bytes());
        hash.update(body);
        Self(hash.digest128())
    }

    /// After a batch. The epoch counts too, but for batches from the time before there were epochs.
    #[must_use]
    pub fn then(self, position: Position, body: &[u8]) -> Self {
        match position {
            Position { epoch: Epoch(0), number } => self.with(number, body),
            Position { epoch: Epoch(epoch), number } => {
                self.with(number, &epoch.to_le_bytes()).with(number, body)
            }
        }
    }

    /// As it was kept.
    pub fn of_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_le_bytes(bytes))
    }

    /// As it is kept.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }
}

/// Adds a record to the end of a body, which is begun if it is empty.
pub fn encode(body: &mut Vec<u8>, record: &Record) {
    if body.is_empty() {
        body.push(VERSION);
    }
    // Only a writer can fail, and a vector does not.
    if let Ok(longer) = postcard::to_extend(record, std::mem::take(body)) {
        *body = longer;
    }
}

/// The records of a body, in order.
///
/// # Errors
///
/// If they cannot be read, or were written by a later version.
pub fn decode(body: &[u8], mut visit: impl FnMut(Record) -> Result<(), LogError>) -> Result<(), LogError> {
    let mut rest = match body {
        [OLDEST..=VERSION, rest @ ..] => rest,
        [version, ..] => {
            return Err(LogError::Newer(format!(
                "it has records of version {version}, and this release reads version {VERSION}"
            )));
        }
        [] => return Err(LogError::Damaged("a batch is empty".to_owned())),
    };
    while !rest.is_empty() {
        let (record, after) = postcard::take_from_bytes(rest)
            .map_err(|error| LogError::Damaged(format!("a record cannot be read ({error})")))?;
        visit(record)?;
        rest = after;
    }
    Ok(())
}
