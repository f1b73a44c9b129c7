//! The number of the last batch, kept apart from the batches.
//!
//! SQLite drops everything behind a damaged place of its write-ahead log without a word, since it cannot tell that
//! from a write that was cut off. This can: it is written, and safe, before a batch is acknowledged. Two places are
//! written in turn, so that one of them is whole whenever a write is cut off.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use xxhash_rust::xxh3::xxh3_64;

use super::system;
use crate::format::batch::Chain;

const MAGIC: &[u8; 8] = b"THRTMARK";
/// What no disk writes in part.
const PLACE_BYTES: u64 = 4096;
const BYTES: usize = 48;

/// What was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The id of the journal.
    pub(super) journal: u64,
    /// The number of the last batch.
    pub(super) number: u64,
    /// The chain with it.
    pub(super) chain: Chain,
}

impl Mark {
    fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend(MAGIC);
        bytes.extend(self.journal.to_le_bytes());
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.chain.to_bytes());
        bytes.extend(xxh3_64(&bytes).to_le_bytes());
        bytes.try_into().unwrap_or([0; BYTES])
    }

    fn from_bytes(bytes: &[u8; BYTES]) -> Option<Self> {
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let whole = bytes.get(..40)?;
        (whole.starts_with(MAGIC) && number(40)? == xxh3_64(whole)).then_some(())?;
        let chain = Chain(u128::from_le_bytes(bytes.get(24..40)?.try_into().ok()?));
        Some(Self { journal: number(8)?, number: number(16)?, chain })
    }
}

/// The file of the mark.
#[derive(Debug)]
pub(super) struct MarkFile(File);

impl MarkFile {
    /// The file at `path`, and what it says; nothing if it is not there or has no whole mark.
    pub(super) fn read(path: &Path) -> io::Result<Option<Mark>> {
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut marks = Vec::new();
        for place in 0..2 {
            let mut bytes = [0; BYTES];
            file.seek(SeekFrom::Start(place * PLACE_BYTES))?;
            match file.read_exact(&mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                read => {
                    read?;
                    marks.extend(Mark::from_bytes(&bytes));
                }
            }
        }
        Ok(marks.into_iter().max_by_key(|mark| mark.number))
    }

    /// Opens the file for writing, and makes it if it is not there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = system::open_private(path)?;
        // In its full size from the beginning, a write changes nothing but its bytes.
        file.set_len(2 * PLACE_BYTES)?;
        file.sync_all()?;
        Ok(Self(file))
    }

    /// Writes a mark. Once this returns, it outlives a power cut.
    pub(super) fn write(&mut self, mark: Mark) -> io::Result<()> {
        self.0.seek(SeekFrom::Start((mark.number % 2) * PLACE_BYTES))?;
        self.0.write_all(&mark.to_bytes())?;
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_mark_counts() {
        let path = std::env::temp_dir().join(format!("throttle-mark-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        assert_eq!(MarkFile::read(&path).unwrap(), None);
        let mut file = MarkFile::open(&path).unwrap();
        assert_eq!(MarkFile::read(&path).unwrap(), None);
        let mark = |number| Mark { journal: 7, number, chain: Chain(u128::from(number) << 70) };
        for number in 1..=3 {
            file.write(mark(number)).unwrap();
            assert_eq!(MarkFile::read(&path).unwrap(), Some(mark(number)));
        }
        // The write of the fourth is cut off, or the disk changes a bit of it.
        let bytes = mark(4).to_bytes();
        for damage in 0..BYTES {
            let mut torn = bytes;
            torn[damage] ^= 1;
            file.0.seek(SeekFrom::Start(0)).unwrap();
            file.0.write_all(&torn).unwrap();
            assert_eq!(MarkFile::read(&path).unwrap(), Some(mark(3)), "byte {damage}");
        }
        std::fs::remove_file(&path).unwrap();
    }
}
