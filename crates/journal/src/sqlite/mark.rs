//! The last batches, kept apart from the others.
//!
//! A batch is written here and made safe with one sync before it is acknowledged; the database gets many of them at
//! once. A place is used again for the batch that comes 64 later: by then the database has the one before.
//!
//! Each stands here twice, and either copy is enough. With one, nobody could tell a batch that was damaged later from a
//! write that was cut off; SQLite cannot either, and drops everything behind a damaged place of its write-ahead log
//! without a word. The last batch that is here says how far the log went, whether the database has it or not. No place
//! is ever empty, and a write that was cut off spoils one at most; so two that have nothing whole are damage.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use xxhash_rust::xxh3::Xxh3;

use super::system;
use crate::{
    format::batch::Chain,
    log::{Epoch, LogError, Position},
};

const MAGIC: &[u8; 8] = b"THRTTAIL";
/// How long a place is.
const PLACE_BYTES: usize = 16 * 1024;
/// For how many batches there is a place.
pub(super) const PLACES: usize = 64;
/// All first copies, then all second ones.
const COPIES: usize = 2;
const COPY_BYTES: usize = PLACES * PLACE_BYTES;
const FILE_BYTES: usize = COPIES * COPY_BYTES;
/// What stands before the batch, its checksum included.
const HEAD_BYTES: usize = 64;
/// The length of a batch that only the database has.
const ABSENT: u64 = u64::MAX;
/// Version 3 had the last batch alone, in two places that were written in turn.
const MAGIC_3: &[u8; 8] = b"THRTLAST";
const PLACE_BYTES_3: usize = 64 * 1024;
/// Before that it was its number alone.
const MAGIC_BEFORE: &[u8; 8] = b"THRTMARK";
const PLACE_BYTES_BEFORE: usize = 4096;
const BYTES_BEFORE: usize = 48;
/// How often the file is read: not all of it is read at one moment, and a server may write meanwhile.
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

impl Mark<&'static [u8]> {
    /// The database has everything up to this batch.
    pub(super) fn end(journal: u64, number: u64, chain: Chain) -> Self {
        Self { journal, position: Position { epoch: Epoch::default(), number }, chain, body: None }
    }
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
    fn from_bytes(magic: [u8; 8], place: &[u8]) -> Option<Self> {
        let (head, rest) = place.split_at_checked(HEAD_BYTES)?;
        let position = Position { epoch: Epoch(number(head, 24)?), number: number(head, 16)? };
        let body = match number(head, 48)? {
            ABSENT => None,
            length => Some(rest.get(..usize::try_from(length).ok()?)?),
        };
        let checked = head.get(..56)?;
        let is_whole =
            checked.starts_with(&magic) && number(head, 56)? == checksum(checked, body.unwrap_or_default());
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
    /// How many places have nothing whole.
    broken: usize,
}

impl Marks {
    /// What the places have, one after the other.
    fn of(places: impl Iterator<Item = Option<Mark<Vec<u8>>>>) -> Option<Self> {
        let (mut by_number, mut broken) = (BTreeMap::new(), 0);
        for mark in places {
            match mark {
                Some(mark) => drop(by_number.insert(mark.position.number, mark)),
                None => broken += 1,
            }
        }
        let last = by_number.last_key_value()?.1.clone();
        Some(Self { last, by_number, broken })
    }

    /// Whether all of it may have been there at one moment.
    fn is_of_one_moment(&self) -> bool {
        let follow = |(one, next): (&u64, &u64)| one + 1 == *next;
        self.broken == 0 && self.by_number.keys().zip(self.by_number.keys().skip(1)).all(follow)
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

/// What the file at `path` has.
pub(super) fn find(path: &Path) -> Result<Marks, LogError> {
    read(path)
        .map_err(|error| LogError::Io(format!("the file `mark`: {error}")))?
        .ok_or_else(|| LogError::Damaged("the file `mark` is missing or cannot be read".to_owned()))
}

/// The same; nothing if it is not there or damaged.
pub(super) fn read(path: &Path) -> io::Result<Option<Marks>> {
    let mut marks = None;
    for _ in 0..READS {
        marks = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => read_from(&mut file?)?,
        };
        if marks.as_ref().is_some_and(Marks::is_of_one_moment) {
            break;
        }
    }
    Ok(marks.filter(|marks| marks.broken <= 1))
}

fn read_from(file: &mut File) -> io::Result<Option<Marks>> {
    let length = file.metadata()?.len();
    if length == FILE_BYTES as u64 {
        let mut copy = |at: usize| Mark::from_bytes(*MAGIC, &read_at(file, at, PLACE_BYTES)?);
        // Where they differ, the disk lost the write of one.
        let newer = |at: usize| {
            let copies = (0..COPIES).filter_map(|number| copy(number * COPY_BYTES + at));
            copies.max_by_key(|mark| mark.position.number)
        };
        return Ok(Marks::of((0..COPY_BYTES).step_by(PLACE_BYTES).map(newer)));
    }
    // A release before this one wrote two places in turn, so at first one is empty.
    let is_3 = length == 2 * PLACE_BYTES_3 as u64;
    let length = if is_3 { PLACE_BYTES_3 } else { PLACE_BYTES_BEFORE };
    let place = |place| {
        let bytes = read_at(file, place * length, length)?;
        if is_3 { Mark::from_bytes(*MAGIC_3, &bytes) } else { Mark::from_bytes_before(&bytes) }
    };
    Ok(Marks::of((0..2).map(place)))
}

/// What stands there; nothing if the disk does not give it, as of a place that is damaged.
fn read_at(file: &mut File, at: usize, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.seek(SeekFrom::Start(at as u64)).and_then(|_| file.read_exact(&mut bytes)).ok()?;
    Some(bytes)
}

/// The file, open for writing.
#[derive(Debug)]
pub(super) struct Marker(File);

impl Marker {
    /// Opens the file. If it is not there, or of an earlier release, it is made, and `end` stands in every place of it:
    /// how far the database goes. It has its full size from then on, so that a write changes nothing but its bytes.
    pub(super) fn open(path: &Path, end: &Mark<&[u8]>) -> io::Result<Self> {
        let length = fs::metadata(path).map_or(0, |data| data.len());
        if length == FILE_BYTES as u64 {
            return system::open_private(path).map(Self);
        }
        // What is there stays until the new one is whole.
        let new = path.with_extension("new");
        let mut file = system::open_private(&new)?;
        file.set_len(0)?;
        let mut place = end.to_bytes();
        place.resize(PLACE_BYTES, 0);
        file.write_all(&place.repeat(COPIES * PLACES))?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        system::sync_directory(path.parent().unwrap_or(Path::new(".")))?;
        Ok(Self(file))
    }

    /// Writes a batch, in the place of one that the database has by now. Once this returns, it outlives a power cut.
    pub(super) fn write<B: AsRef<[u8]>>(&mut self, mark: &Mark<B>) -> io::Result<()> {
        let (bytes, place) = (mark.to_bytes(), place_of(mark.position));
        for copy in 0..COPIES {
            self.0.seek(SeekFrom::Start((copy * COPY_BYTES + place) as u64))?;
            self.0.write_all(&bytes)?;
        }
        self.0.sync_data()
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

        /// Opens it, for a journal without batches.
        fn open(&self) -> Marker {
            Marker::open(&self.0, &mark(0).without_body()).unwrap()
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

    impl Mark<Vec<u8>> {
        fn without_body(&self) -> Mark<&'static [u8]> {
            let Self { journal, position, chain, .. } = *self;
            Mark { journal, position, chain, body: None }
        }
    }

    #[test]
    fn it_has_the_last_batches() {
        let file = InFile::new("last");
        assert!(file.marks().is_none());
        let mut marker = file.open();
        assert_eq!(file.last(), 0);
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
        let mut marker = file.open();
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
    fn two_places_that_have_nothing_whole_are_damage() {
        let file = InFile::new("places");
        let mut marker = file.open();
        (1..=5).for_each(|number| marker.write(&mark(number)).unwrap());
        let damage = |number| {
            for copy in 0..COPIES {
                file.put(copy * COPY_BYTES + place_of(mark(number).position) + 8, &[1; 8]);
            }
        };
        damage(5);
        assert_eq!(file.last(), 4, "its write may have been cut off");
        damage(60);
        assert!(file.marks().is_none());
        // A file that was cut off is none of an earlier release.
        marker.write(&mark(5)).unwrap();
        assert_eq!(file.last(), 5);
        for length in (0..FILE_BYTES as u64).step_by(PLACE_BYTES / 2) {
            let cut = InFile::new("cut");
            fs::copy(&file.0, &cut.0).unwrap();
            File::options().write(true).open(&cut.0).unwrap().set_len(length).unwrap();
            assert!(cut.marks().is_none(), "{length}");
        }
    }

    #[test]
    fn a_write_that_the_disk_lost_is_in_the_other_copy() {
        let file = InFile::new("lost");
        let mut marker = file.open();
        (1..=PLACES as u64 + 1).for_each(|number| marker.write(&mark(number)).unwrap());
        let (last, before) = (mark(PLACES as u64 + 1), mark(1));
        for copy in 0..COPIES {
            file.put(copy * COPY_BYTES + place_of(last.position), &before.to_bytes());
            assert_eq!(file.marks().unwrap().last(), &last);
            marker.write(&last).unwrap();
        }
    }

    #[test]
    fn a_batch_has_room_or_not() {
        let file = InFile::new("room");
        let mut marker = file.open();
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
            let mut bytes = mark(number).to_bytes();
            bytes[..8].copy_from_slice(MAGIC_3);
            let checksum = checksum(&bytes[..56], &bytes[64..]).to_le_bytes();
            bytes[56..64].copy_from_slice(&checksum);
            file.put(usize::try_from(number % 2).unwrap() * PLACE_BYTES_3, &bytes);
        }
        assert_eq!(file.marks().unwrap().last(), &mark(6));
        assert!(file.marks().unwrap().batch(6).is_some());

        // An attempt may have ended anywhere.
        fs::write(file.0.with_extension("new"), vec![1; FILE_BYTES + 1]).unwrap();
        let mut marker = Marker::open(&file.0, &mark(6).without_body()).unwrap();
        assert_eq!(file.marks().unwrap().last(), &Mark { body: None, ..mark(6) });
        assert!(!file.0.with_extension("new").exists());
        for number in [7, 8, 9] {
            marker.write(&mark(number)).unwrap();
            assert_eq!(file.marks().unwrap().last(), &mark(number));
        }
    }
}
