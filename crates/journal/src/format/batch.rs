//! Records in bytes, and the chain that shows that none is missing or changed.

use xxhash_rust::xxh3::Xxh3;

use super::record::Record;
use crate::log::StoreError;

/// The first byte of every batch and of every piece of a snapshot.
pub const VERSION: u8 = 1;

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

    /// As it is kept.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }
}

/// Records that were written together: all of them are there, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Counts up from 1 without gaps.
    pub number: u64,
    /// The chain with this batch.
    pub chain: Chain,
    /// The records.
    pub body: Vec<u8>,
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
pub fn decode(
    body: &[u8],
    mut visit: impl FnMut(Record) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut rest = match body {
        [VERSION, rest @ ..] => rest,
        [version, ..] => {
            return Err(StoreError::Newer(format!(
                "it has records of version {version}, and this release reads version {VERSION}"
            )));
        }
        [] => return Err(StoreError::Damaged("a batch is empty".to_owned())),
    };
    while !rest.is_empty() {
        let (record, after) = postcard::take_from_bytes(rest)
            .map_err(|error| StoreError::Damaged(format!("a record cannot be read ({error})")))?;
        visit(record)?;
        rest = after;
    }
    Ok(())
}
