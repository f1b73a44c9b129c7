//! The last batches, kept apart from the others.
//!
//! A batch is written here and made safe with one sync before it is acknowledged; the database gets many of them at
//! once. A place is used again for the batch that comes 64 later: by then the database has the one before.
//!
//! Each stands here twice, and either copy is enough. The copies stand back to back, so that one write has both:
//!
//! ```text
//! | ... body | head | a page | head | body ... |
//! ```
//!
//! Both heads have fixed places, so nothing in a body can be taken for one; and no sector has a part of both copies,
//! whether it is aligned with the pages of the file or not.
//!
//! With one copy, nobody could tell a batch that was damaged later from a write that was cut off; SQLite cannot either,
//! and drops everything behind a damaged place of its write-ahead log without a word. The last batch that is here
//! says how far the log went, whether the database has it or not. No place is ever empty, and a write that was cut off
//! spoils one at most; so two that have nothing whole are damage.

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

const MAGIC: &[u8; 8] = b"THRTTWIN";
/// How much room a copy has.
const COPY_BYTES: usize = 16 * 1024;
/// What is between them: as long as any sector.
const GAP_BYTES: usize = PAGE_BYTES;
/// How long a place is.
const PLACE_BYTES: usize = COPY_BYTES + GAP_BYTES + COPY_BYTES;
/// For how many batches there is a place.
pub(super) const PLACES: usize = 64;
const FILE_BYTES: usize = PLACES * PLACE_BYTES;
/// What stands beside the batch, its checksum included.
const HEAD_BYTES: usize = 64;
/// How much of that the checksum is over, beside the batch.
const CHECKED_BYTES: usize = HEAD_BYTES - 8;
/// A write begins and ends at a multiple of this, so that it need not go through the cache of the system.
const PAGE_BYTES: usize = 4096;
/// The length of a batch that only the database has.
const ABSENT: u64 = u64::MAX;
/// Version 4 had all first copies, then all second ones.
const MAGIC_APART: &[u8; 8] = b"THRTTAIL";
const FILE_BYTES_APART: usize = 2 * PLACES * COPY_BYTES;
/// Version 3 had the last batch alone, in two places that were written in turn.
const MAGIC_3: &[u8; 8] = b"THRTLAST";
const PLACE_BYTES_3: usize = 64 * 1024;
/// Before that it was its number alone.
const MAGIC_BEFORE: &[u8; 8] = b"THRTMARK";
const PLACE_BYTES_BEFORE: usize = 4096;
const BYTES_BEFORE: usize = 48;
/// How often the file is read: not all of it is read at one moment, and a server may write meanwhile.
const READS: usize = 8;

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
    body.len() <= COPY_BYTES - HEAD_BYTES
}

impl Mark<&'static [u8]> {
    /// The database has everything up to this batch.
    pub(super) fn end(journal: u64, number: u64, chain: Chain) -> Self {
        Self { journal, position: Position { epoch: Epoch::default(), number }, chain, body: None }
    }
}

impl<B: AsRef<[u8]>> Mark<B> {
    fn body(&self) -> &[u8] {
        self.body.as_ref().map(AsRef::as_ref).unwrap_or_default()
    }

    /// What stands beside the body.
    fn head(&self, magic: [u8; 8]) -> Vec<u8> {
        let length = if self.body.is_some() { self.body().len() as u64 } else { ABSENT };
        let mut head = Vec::with_capacity(HEAD_BYTES);
        head.extend(magic);
        head.extend(self.journal.to_le_bytes());
        head.extend(self.position.number.to_le_bytes());
        head.extend(self.position.epoch.0.to_le_bytes());
        head.extend(self.chain.to_bytes());
        head.extend(length.to_le_bytes());
        head.extend(checksum(&head, self.body()).to_le_bytes());
        head
    }

    /// Lays both copies behind what is in `room`, with `half` bytes for each.
    fn lay(&self, room: &mut Vec<u8>, half: usize) {
        let (begin, head, body) = (room.len(), self.head(*MAGIC), self.body());
        room.resize(begin + half - HEAD_BYTES - body.len(), 0);
        room.extend(body);
        room.extend(&head);
        room.resize(begin + half + GAP_BYTES, 0);
        room.extend(&head);
        room.extend(body);
        room.resize(begin + half + GAP_BYTES + half, 0);
    }
}

impl Mark<Vec<u8>> {
    /// What a head tells of, with its body from `body`, which gets its length.
    fn of<'a>(magic: [u8; 8], head: &[u8], body: impl FnOnce(usize) -> Option<&'a [u8]>) -> Option<Self> {
        let position = Position { epoch: Epoch(number(head, 24)?), number: number(head, 16)? };
        let body = match number(head, 48)? {
            ABSENT => None,
            length => Some(body(usize::try_from(length).ok()?)?),
        };
        let checked = head.get(..CHECKED_BYTES)?;
        let is_whole = checked.starts_with(&magic)
            && number(head, CHECKED_BYTES)? == checksum(checked, body.unwrap_or_default());
        is_whole.then_some(Self {
            journal: number(head, 8)?,
            position,
            chain: chain(head, 32)?,
            body: body.map(<[u8]>::to_vec),
        })
    }

    /// The newer of the two copies in the place at `at`. Where they differ, the disk lost the write of one. What cannot
    /// be read spoils no more than its copy.
    fn in_place(at: usize, mut read: impl FnMut(usize, usize) -> Option<Vec<u8>>) -> Option<Self> {
        let first = read(at, COPY_BYTES).and_then(|before| {
            let (body, head) = before.split_last_chunk::<HEAD_BYTES>()?;
            Self::of(*MAGIC, head, |length| body.get(body.len().checked_sub(length)?..))
        });
        let second =
            read(at + COPY_BYTES + GAP_BYTES, COPY_BYTES).and_then(|after| Self::from_bytes(*MAGIC, &after));
        first.into_iter().chain(second).max_by_key(|mark| mark.position.number)
    }

    /// One with its head first.
    fn from_bytes(magic: [u8; 8], bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
        Self::of(magic, head, |length| rest.get(..length))
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

/// Where the place of a batch begins. The same number always has the same place.
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
    /// The file has the layout of today.
    is_of_today: bool,
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
        Some(Self { last, by_number, broken, is_of_today: false })
    }

    /// Whether all of it may have been there at one moment.
    fn is_of_one_moment(&self) -> bool {
        let follow = |(one, next): (&u64, &u64)| one + 1 == *next;
        self.broken == 0 && self.by_number.keys().zip(self.by_number.keys().skip(1)).all(follow)
    }

    /// Whether a [`Marker`] may go on with the file. One with a spoilt place has to be made anew: the next write that
    /// is cut off may spoil another.
    pub(super) fn is_in_order(&self) -> bool {
        self.is_of_today && self.broken == 0
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
        let found = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => read_from(&mut file?)?,
        };
        // A batch on its way to the disk may look like a place that is spoilt.
        marks = found.filter(|marks| marks.broken <= 1).or(marks);
        if marks.as_ref().is_some_and(Marks::is_of_one_moment) {
            break;
        }
    }
    Ok(marks)
}

fn read_from(file: &mut File) -> io::Result<Option<Marks>> {
    let length = file.metadata()?.len();
    if length == FILE_BYTES as u64 {
        let mut read = |at, length| read_at(file, at, length);
        let twins = (0..FILE_BYTES).step_by(PLACE_BYTES).map(|at| Mark::in_place(at, &mut read));
        return Ok(Marks::of(twins).map(|marks| Marks { is_of_today: true, ..marks }));
    }
    if length == FILE_BYTES_APART as u64 {
        let mut copy = |at| Mark::from_bytes(*MAGIC_APART, &read_at(file, at, COPY_BYTES)?);
        let newer = |at| {
            let copies = [at, at + FILE_BYTES_APART / 2].into_iter().filter_map(&mut copy);
            copies.max_by_key(|mark| mark.position.number)
        };
        return Ok(Marks::of((0..FILE_BYTES_APART / 2).step_by(COPY_BYTES).map(newer)));
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
pub(super) struct Marker {
    file: File,
    /// Room for a place that begins at a page in memory.
    buffer: Vec<u8>,
    /// Writes go to the disk directly, which is quicker where the file system can do it.
    is_direct: bool,
}

impl Marker {
    /// Opens the file at `path`, which is [in order](Marks::is_in_order).
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        system::open_private(path).map(Self::of)
    }

    /// Makes the file at `path`, with `end` in every place of it: how far the database goes. It has its full size from
    /// then on, so that a write changes nothing but its bytes.
    pub(super) fn create(path: &Path, end: &Mark<&[u8]>) -> io::Result<Self> {
        // What is there stays until the new one is whole.
        let new = path.with_extension("new");
        let mut file = system::open_private(&new)?;
        file.set_len(0)?;
        let mut place = Vec::with_capacity(PLACE_BYTES);
        end.lay(&mut place, COPY_BYTES);
        file.write_all(&place.repeat(PLACES))?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        system::sync_directory(path.parent().unwrap_or(Path::new(".")))?;
        Ok(Self::of(file))
    }

    fn of(file: File) -> Self {
        let is_direct = system::write_directly(&file, true);
        Self { file, buffer: Vec::with_capacity(PAGE_BYTES + PLACE_BYTES), is_direct }
    }

    /// Writes a batch that [has room](has_room_for), in the place of one that the database has by now. Once this
    /// returns, it outlives a power cut.
    pub(super) fn write<B: AsRef<[u8]>>(&mut self, mark: &Mark<B>) -> io::Result<()> {
        let half = (HEAD_BYTES + mark.body().len()).next_multiple_of(PAGE_BYTES);
        // The buffer never grows, so it stays where it is.
        let begin = self.buffer.as_ptr().align_offset(PAGE_BYTES).min(PAGE_BYTES);
        self.buffer.clear();
        self.buffer.resize(begin, 0);
        mark.lay(&mut self.buffer, half);
        let twins = self.buffer.get(begin..).unwrap_or_default();
        let at = SeekFrom::Start((place_of(mark.position) + COPY_BYTES - half) as u64);
        self.file.seek(at)?;
        match self.file.write_all(twins) {
            // The file system takes no such write after all.
            Err(error) if self.is_direct && error.kind() == io::ErrorKind::InvalidInput => {
                self.is_direct = system::write_directly(&self.file, false);
                self.file.seek(at)?;
                self.file.write_all(twins)?;
            }
            written => written?,
        }
        self.file.sync_data()
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

        /// Opens it as a start does.
        fn open_again(&self) -> Marker {
            let marks = self.marks().expect("no damage");
            if marks.is_in_order() { Marker::open(&self.0).unwrap() } else { self.create(marks.last()) }
        }

        /// Makes it, with this at the end.
        fn create(&self, end: &Mark<Vec<u8>>) -> Marker {
            Marker::create(&self.0, &end.without_body()).unwrap()
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
        /// With its head first.
        fn bytes_of(&self, magic: [u8; 8]) -> Vec<u8> {
            [self.head(magic).as_slice(), self.body()].concat()
        }

        /// Both copies, and where they stand.
        fn copies(&self) -> [(usize, Vec<u8>); 2] {
            let (end, head, body) = (place_of(self.position) + COPY_BYTES, self.head(*MAGIC), self.body());
            let (first, second) = (end - HEAD_BYTES - body.len(), end + GAP_BYTES);
            [(first, [body, &head].concat()), (second, [head.as_slice(), body].concat())]
        }

        fn without_body(&self) -> Mark<&'static [u8]> {
            let Self { journal, position, chain, .. } = *self;
            Mark { journal, position, chain, body: None }
        }
    }

    #[test]
    fn it_has_the_last_batches() {
        let file = InFile::new("last");
        assert!(file.marks().is_none());
        let mut marker = file.create(&mark(0));
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
        let mut marker = file.create(&mark(0));
        marker.write(&mark(1)).unwrap();
        marker.write(&mark(2)).unwrap();
        let [first, second] = mark(2).copies();
        let length = HEAD_BYTES + 100;
        for at in 0..length {
            for ((one, bytes), (other, other_bytes)) in [(&first, &second), (&second, &first)] {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1;
                file.put(*one, &damaged);
                assert_eq!(file.marks().unwrap().last(), &mark(2), "byte {at}");
                // Nobody was told of what is in neither.
                file.put(*other, &other_bytes[..at]);
                file.put(other + at, &vec![0; length - at]);
                assert_eq!(file.last(), 1, "cut off at {at}");
                file.put(*one, bytes);
                assert_eq!(file.last(), 2, "cut off at {at}");
                file.put(*other, other_bytes);
            }
        }
    }

    #[test]
    fn two_places_that_have_nothing_whole_are_damage() {
        let file = InFile::new("places");
        let mut marker = file.create(&mark(0));
        (1..=5).for_each(|number| marker.write(&mark(number)).unwrap());
        let damage = |number| {
            for copy in [COPY_BYTES - HEAD_BYTES, COPY_BYTES + GAP_BYTES] {
                file.put(place_of(mark(number).position) + copy + 8, &[1; 8]);
            }
        };
        damage(5);
        assert_eq!(file.last(), 4, "its write may have been cut off");
        assert!(!file.marks().unwrap().is_in_order());
        damage(60);
        assert!(file.marks().is_none());
        marker.write(&mark(60)).unwrap();
        assert_eq!(file.last(), 60);
        // Before anything is written, one is made anew: else two writes that are cut off would be damage.
        let mut marker = file.create(&mark(4));
        assert!(file.marks().unwrap().is_in_order());
        assert_eq!(file.last(), 4);
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
        let mut marker = file.create(&mark(0));
        (1..=PLACES as u64 + 1).for_each(|number| marker.write(&mark(number)).unwrap());
        let (last, before) = (mark(PLACES as u64 + 1), mark(1));
        for (at, copy) in before.copies() {
            file.put(at, &copy);
            assert_eq!(file.marks().unwrap().last(), &last);
            marker.write(&last).unwrap();
        }
    }

    /// Numbers that look random (`SplitMix64`, by Sebastiano Vigna).
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: u64) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed ^ mixed >> 31) % end
        }
    }

    impl InFile {
        /// A write that a power cut ends: any of its sectors may be there, and the others are as before.
        fn write_some(&self, marker: &mut Marker, mark: &Mark<Vec<u8>>, random: &mut Random) {
            let at = place_of(mark.position);
            let place = || fs::read(&self.0).unwrap()[at..at + PLACE_BYTES].to_vec();
            let before = place();
            marker.write(mark).unwrap();
            let mut found = place();
            // Some cuts come early, and some late.
            let chance = random.below(101);
            for (sector, before) in found.chunks_mut(512).zip(before.chunks(512)) {
                if random.below(100) >= chance {
                    sector.copy_from_slice(before);
                }
            }
            self.put(at, &found);
        }
    }

    #[test]
    fn a_power_cut_loses_nothing_that_was_acknowledged() {
        let file = InFile::new("power");
        let (mut random, mut cuts, mut kept) = (Random(7), 0, 0);
        let (mut marker, mut safe) = (file.create(&mark(0)), mark(0));
        for attempt in 0..600 {
            let mut next = mark(safe.position.number + 1);
            // What is tried again is not the same.
            next.chain = Chain(attempt);
            next.body = Some(vec![7; usize::try_from(random.below(9000)).unwrap()]);
            if random.below(3) > 0 {
                marker.write(&next).unwrap();
                safe = next;
                continue;
            }
            cuts += 1;
            file.write_some(&mut marker, &next, &mut random);
            let found = file.marks().expect("no damage").last().clone();
            assert!(found == next || found.chain == safe.chain, "{attempt}: {found:?} of {safe:?}");
            kept += u32::from(found == next);
            safe = Mark { body: None, ..found };
            // The database has all of it now, and every start says so here; that may be cut off, too.
            for _ in 0..random.below(3) {
                marker = file.open_again();
                file.write_some(&mut marker, &safe, &mut random);
                assert!(file.last() <= safe.position.number, "{attempt}");
            }
            marker = file.open_again();
            marker.write(&safe).unwrap();
        }
        assert!(kept > 20 && cuts - kept > 20, "{kept} of {cuts}");
    }

    #[test]
    fn what_cannot_be_read_spoils_one_copy() {
        const SECTOR: usize = 4096;
        let (mut place, batch) = (Vec::new(), Mark { body: Some(vec![7; 9000]), ..mark(1) });
        batch.lay(&mut place, COPY_BYTES);
        assert_eq!(place.len(), PLACE_BYTES);
        // Aligned with the pages of the file or not.
        for bad in (0..PLACE_BYTES - SECTOR).step_by(SECTOR / 8) {
            let read = |at: usize, length| {
                let is_good = at + length <= bad || bad + SECTOR <= at;
                is_good.then(|| place[at..at + length].to_vec())
            };
            assert_eq!(Mark::in_place(0, read).as_ref(), Some(&batch), "{bad}");
        }
    }

    #[test]
    fn a_batch_has_room_or_not() {
        let file = InFile::new("room");
        let mut marker = file.create(&mark(0));
        let most = COPY_BYTES - HEAD_BYTES;
        assert!(has_room_for(&vec![1; most]) && !has_room_for(&vec![1; most + 1]));
        for number in [PLACES as u64 - 1, PLACES as u64, 1] {
            marker.write(&Mark { body: Some(vec![1; most]), ..mark(number) }).unwrap();
        }
        // With the cache of the system or past it, whatever its length: both copies are there.
        for (number, length) in [0, 1, 4031, 4032, 4033, 8127, 8128, 8129, most].into_iter().enumerate() {
            marker.is_direct = system::write_directly(&marker.file, number % 2 == 0);
            let mark = Mark { body: Some(vec![7; length]), ..mark(70 + number as u64) };
            marker.write(&mark).unwrap();
            let bytes = fs::read(&file.0).unwrap();
            for (at, copy) in mark.copies() {
                assert!(bytes[at..].starts_with(&copy), "{length}");
            }
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
            let at = usize::try_from(number % 2).unwrap() * PLACE_BYTES_3;
            file.put(at, &mark(number).bytes_of(*MAGIC_3));
        }
        assert_eq!(file.marks().unwrap().last(), &mark(6));
        assert!(file.marks().unwrap().batch(6).is_some());

        // And then the last batches, with all second copies behind all first ones.
        let mut bytes = vec![0; FILE_BYTES_APART];
        for number in 1..=9 {
            let batch = mark(number).bytes_of(*MAGIC_APART);
            let at = usize::try_from(number).unwrap() * COPY_BYTES;
            for copy in if number == 9 { [1, 1] } else { [0, 1] } {
                let at = copy * FILE_BYTES_APART / 2 + at;
                bytes[at..at + batch.len()].copy_from_slice(&batch);
            }
        }
        let end = mark(0).bytes_of(*MAGIC_APART);
        for place in (0..1).chain(10..PLACES) {
            bytes[place * COPY_BYTES..][..end.len()].copy_from_slice(&end);
        }
        fs::write(&file.0, bytes).unwrap();
        let marks = file.marks().unwrap();
        assert!(!marks.is_in_order() && marks.last() == &mark(9) && marks.batch(7).is_some());

        // An attempt may have ended anywhere.
        fs::write(file.0.with_extension("new"), vec![1; FILE_BYTES + 1]).unwrap();
        let mut marker = file.create(&mark(9));
        assert_eq!(file.marks().unwrap().last(), &Mark { body: None, ..mark(9) });
        assert!(file.marks().unwrap().is_in_order());
        assert!(!file.0.with_extension("new").exists());
        for number in [10, 11, 12] {
            marker.write(&mark(number)).unwrap();
            assert_eq!(file.marks().unwrap().last(), &mark(number));
        }
    }
}
