//! The last batches, kept apart from the others.
//!
//! A batch is written here and made safe with one sync before it is acknowledged; the database gets many of them at
//! once. So every batch has a place of its own until the database has it, and as many more follow.
//!
//! Each stands here twice, and either copy is enough. With one, nobody could tell a batch that was damaged later from a
//! write that was cut off; SQLite cannot either, and drops everything behind a damaged place of its write-ahead log
//! without a word. The last batch that is here says how far the log went, whether the database has it or not.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use xxhash_rust::xxh3::Xxh3;

use super::system;
use crate::{
    format::batch::Chain,
    log::{Epoch, Position},
};

const MAGIC: &[u8; 8] = b"THRTLAST";
/// How long a place is.
const PLACE_BYTES: usize = 16 * 1024;
/// For how many batches there is a place.
pub(super) const PLACES: usize = 64;
/// All first copies, then all second ones.
const COPIES: usize = 2;
const FILE_BYTES: usize = COPIES * PLACES * PLACE_BYTES;
/// What stands before the batch, its checksum included.
const HEAD_BYTES: usize = 64;
/// The length of a batch that only the database has.
const ABSENT: u64 = u64::MAX;
/// Version 3 had the last batch alone, in two places that were written in turn.
const PLACE_BYTES_3: usize = 64 * 1024;
/// Before that it was its number alone.
const MAGIC_BEFORE: &[u8; 8] = b"THRTMARK";
const PLACE_BYTES_BEFORE: usize = 4096;
const BYTES_BEFORE: usize = 48;
/// How often the file is read: a server that runs meanwhile can spoil a place that is being read.
const READS: usize = 3;

/// A batch, or only how far the log went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark<B> {
    /// The id of the journal.
    pub(super) journal: u64,
    /// Which batch.
    pub(super) position: Position,
    /// The chain with it.
    pub(super) chain: Chain,
    /// Its records; none if only the database has them.
    pub(super) body: Option<B>,
}

/// Whether a batch fits in here.
pub(super) fn has_room_for(body: &[u8]) -> bool {
    body.len() <= PLACE_BYTES - HEAD_BYTES
}

impl<B: AsRef<[u8]>> Mark<B> {
    fn to_bytes(&self) -> Vec<u8> {
        let body = self.body.as_ref().map(AsRef::as_ref);
        let mut bytes = Vec::with_capacity(HEAD_BYTES + body.map_or(0, <[u8]>::len));
        bytes.extend(MAGIC);
        bytes.extend(self.journal.to_le_bytes());
        bytes.extend(self.position.number.to_le_bytes());
        bytes.extend(self.position.epoch.0.to_le_bytes());
        bytes.extend(self.chain.to_bytes());
        bytes.extend(body.map_or(ABSENT, |body| body.len() as u64).to_le_bytes());
        let body = body.unwrap_or_default();
        bytes.extend(checksum(&bytes, body).to_le_bytes());
        bytes.extend(body);
        bytes
    }
}

impl Mark<Vec<u8>> {
    fn from_bytes(place: &[u8]) -> Option<Self> {
        let (head, rest) = place.split_at_checked(HEAD_BYTES)?;
        let position = Position { epoch: Epoch(number(head, 24)?), number: number(head, 16)? };
        let body = match number(head, 48)? {
            ABSENT => None,
            length => Some(rest.get(..usize::try_from(length).ok()?)?),
        };
        let checked = head.get(..56)?;
        let is_whole =
            checked.starts_with(MAGIC) && number(head, 56)? == checksum(checked, body.unwrap_or_default());
        is_whole.then_some(Self {
            journal: number(head, 8)?,
            position,
            chain: chain(head, 32)?,
            body: body.map(<[u8]>::to_vec),
        })
    }

    /// As it was before there were batches here.
    fn from_bytes_before(place: &[u8]) -> Option<Self> {
        let bytes = place.get(..BYTES_BEFORE)?;
        let checked = bytes.get(..40)?;
        let is_whole = checked.starts_with(MAGIC_BEFORE) && number(bytes, 40)? == checksum(checked, &[]);
        let position = Position { epoch: Epoch::default(), number: number(bytes, 16)? };
        is_whole.then_some(Self {
            journal: number(bytes, 8)?,
            position,
            chain: chain(bytes, 24)?,
            body: None,
        })
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn chain(bytes: &[u8], at: usize) -> Option<Chain> {
    Some(Chain::of_bytes(bytes.get(at..at + 16)?.try_into().ok()?))
}

fn checksum(head: &[u8], body: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(head);
    hash.update(body);
    hash.digest()
}

/// Where the first copy of a batch goes. The same number always has the same place.
fn place_of(position: Position) -> usize {
    usize::try_from(position.number % PLACES as u64).unwrap_or_default() * PLACE_BYTES
}

/// All that the file has.
#[derive(Debug)]
pub(super) struct Marks {
    last: Mark<Vec<u8>>,
    by_number: BTreeMap<u64, Mark<Vec<u8>>>,
}

impl Marks {
    fn of(marks: impl Iterator<Item = Mark<Vec<u8>>>) -> Option<Self> {
        let by_number: BTreeMap<_, _> = marks.map(|mark| (mark.position.number, mark)).collect();
        let last = by_number.last_key_value()?.1.clone();
        Some(Self { last, by_number })
    }

    /// How far the log went.
    pub(super) fn last(&self) -> &Mark<Vec<u8>> {
        &self.last
    }

    /// The batch with a number, if it is here.
    pub(super) fn batch(&self, number: u64) -> Option<(Position, Chain, &[u8])> {
        let Mark { position, chain, body, .. } = self.by_number.get(&number)?;
        Some((*position, *chain, body.as_ref()?))
    }
}

/// What the file at `path` has; nothing if it is not there or nothing in it is whole.
pub(super) fn read(path: &Path) -> io::Result<Option<Marks>> {
    for _ in 0..READS {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let marks = match bytes.len() {
            FILE_BYTES => Marks::of(bytes.chunks(PLACE_BYTES).filter_map(Mark::from_bytes)),
            length if length == 2 * PLACE_BYTES_3 => {
                Marks::of(bytes.chunks(PLACE_BYTES_3).filter_map(Mark::from_bytes))
            }
            _ => Marks::of(bytes.chunks(PLACE_BYTES_BEFORE).take(2).filter_map(Mark::from_bytes_before)),
        };
        if marks.is_some() {
            return Ok(marks);
        }
    }
    Ok(None)
}

/// The file, open for writing.
#[derive(Debug)]
pub(super) struct Marker(File);

impl Marker {
    /// Opens the file, and makes it if it is not there. It gets its full size at once, so that a write changes nothing
    /// but its bytes. Of the file of an earlier release only stays how far the log went: the database must have
    /// everything.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let length = fs::metadata(path).map_or(0, |data| data.len());
        if length == FILE_BYTES as u64 {
            return system::open_private(path).map(Self);
        }
        // What is there stays until the new one is whole.
        let new = path.with_extension("new");
        let mut file = system::open_private(&new)?;
        file.set_len(0)?;
        file.write_all(&vec![0; FILE_BYTES])?;
        let mut marker = Self(file);
        if let Some(marks) = read(path)? {
            let Mark { journal, position, chain, .. } = *marks.last();
            marker.put(&Mark { journal, position, chain, body: None::<&[u8]> })?;
        }
        marker.0.sync_all()?;
        fs::rename(&new, path)?;
        system::sync_directory(path.parent().unwrap_or(Path::new(".")))?;
        Ok(marker)
    }

    /// Writes a batch, in the place of one that the database has by now. Once this returns, it outlives a power cut.
    pub(super) fn write<B: AsRef<[u8]>>(&mut self, mark: &Mark<B>) -> io::Result<()> {
        self.put(mark)?;
        self.0.sync_data()
    }

    fn put<B: AsRef<[u8]>>(&mut self, mark: &Mark<B>) -> io::Result<()> {
        let (bytes, place) = (mark.to_bytes(), place_of(mark.position));
        for copy in 0..COPIES {
            self.0.seek(SeekFrom::Start((copy * PLACES * PLACE_BYTES + place) as u64))?;
            self.0.write_all(&bytes)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    struct InFile(PathBuf);

    impl InFile {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("throttle-mark-{name}-{}", std::process::id()));
            let _ = fs::remove_file(&path);
            Self(path)
        }

        fn marks(&self) -> Option<Marks> {
            read(&self.0).unwrap()
        }

        fn last(&self) -> u64 {
            self.marks().unwrap().last().position.number
        }

        fn put(&self, at: usize, bytes: &[u8]) {
            let mut file = File::options().write(true).create(true).truncate(false).open(&self.0).unwrap();
            file.seek(SeekFrom::Start(at as u64)).unwrap();
            file.write_all(bytes).unwrap();
        }
    }

    impl Drop for InFile {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn mark(number: u64) -> Mark<Vec<u8>> {
        let body = (!number.is_multiple_of(4)).then(|| vec![7; 100]);
        let position = Position { epoch: Epoch(3), number };
        Mark { journal: 7, position, chain: Chain(u128::from(number) << 70), body }
    }

    #[test]
    fn it_has_the_last_batches() {
        let file = InFile::new("last");
        assert!(file.marks().is_none());
        let mut marker = Marker::open(&file.0).unwrap();
        assert!(file.marks().is_none());
        let places = PLACES as u64;
        for number in 1..=3 * places {
            marker.write(&mark(number)).unwrap();
            let marks = file.marks().unwrap();
            assert_eq!(marks.last(), &mark(number));
            for number in number.saturating_sub(places)..=number + 1 {
                let Mark { position, chain, body, .. } = mark(number);
                let is_there = (1..=marks.last().position.number).contains(&number)
                    && number + places > marks.last().position.number;
                let expected = body.filter(|_| is_there);
                assert_eq!(
                    marks.batch(number),
                    expected.as_ref().map(|body| (position, chain, body.as_slice()))
                );
            }
        }
        assert_eq!(fs::metadata(&file.0).unwrap().len(), FILE_BYTES as u64);
    }

    #[test]
    fn either_of_two_copies_is_enough() {
        let file = InFile::new("copies");
        let mut marker = Marker::open(&file.0).unwrap();
        marker.write(&mark(1)).unwrap();
        marker.write(&mark(2)).unwrap();
        let (bytes, place) = (mark(2).to_bytes(), place_of(mark(2).position));
        let copies = [place, PLACES * PLACE_BYTES + place];
        assert_eq!(bytes.len(), HEAD_BYTES + 100);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            for (one, other) in [(0, 1), (1, 0)] {
                file.put(copies[one], &damaged);
                assert_eq!(file.marks().unwrap().last(), &mark(2), "byte {at}");
                // Nobody was told of what is in neither.
                file.put(copies[other], &bytes[..at]);
                file.put(copies[other] + at, &vec![0; bytes.len() - at]);
                assert_eq!(file.last(), 1, "cut off at {at}");
                file.put(copies[one], &bytes);
                assert_eq!(file.last(), 2, "cut off at {at}");
                file.put(copies[other], &bytes);
            }
        }
    }

    #[test]
    fn a_batch_has_room_or_not() {
        let file = InFile::new("room");
        let mut marker = Marker::open(&file.0).unwrap();
        let most = PLACE_BYTES - HEAD_BYTES;
        assert!(has_room_for(&vec![1; most]) && !has_room_for(&vec![1; most + 1]));
        for number in [PLACES as u64 - 1, PLACES as u64, 1] {
            marker.write(&Mark { body: Some(vec![1; most]), ..mark(number) }).unwrap();
        }
        let marks = file.marks().unwrap();
        assert!([63, 64, 1].iter().all(|&number| marks.batch(number).is_some()), "each is whole");
    }

    #[test]
    fn a_file_of_an_earlier_release_counts_until_there_is_a_new_one() {
        let file = InFile::new("before");
        for number in [4, 5] {
            let Mark { journal, position, chain, .. } = mark(number);
            let mut bytes = MAGIC_BEFORE.to_vec();
            bytes.extend(journal.to_le_bytes());
            bytes.extend(position.number.to_le_bytes());
            bytes.extend(chain.to_bytes());
            bytes.extend(checksum(&bytes, &[]).to_le_bytes());
            file.put(usize::try_from(number % 2).unwrap() * PLACE_BYTES_BEFORE, &bytes);
        }
        file.put(2 * PLACE_BYTES_BEFORE - 1, &[0]);
        let last = Mark { position: Position { epoch: Epoch(0), number: 5 }, body: None, ..mark(5) };
        assert_eq!(file.marks().unwrap().last(), &last);
        assert!(file.marks().unwrap().batch(5).is_none());

        // The next release had the last batch, too.
        fs::write(&file.0, vec![0; 2 * PLACE_BYTES_3]).unwrap();
        for number in [5, 6] {
            file.put(usize::try_from(number % 2).unwrap() * PLACE_BYTES_3, &mark(number).to_bytes());
        }
        assert_eq!(file.marks().unwrap().last(), &mark(6));
        assert!(file.marks().unwrap().batch(6).is_some());

        // An attempt may have ended anywhere.
        fs::write(file.0.with_extension("new"), vec![1; FILE_BYTES + 1]).unwrap();
        let mut marker = Marker::open(&file.0).unwrap();
        assert_eq!(file.marks().unwrap().last(), &Mark { body: None, ..mark(6) });
        assert!(!file.0.with_extension("new").exists());
        for number in [6, 7, 8] {
            marker.write(&mark(number)).unwrap();
            assert_eq!(file.marks().unwrap().last(), &mark(number));
        }
    }
}
