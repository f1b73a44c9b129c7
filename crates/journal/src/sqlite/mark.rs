//! The last batch, kept apart from the others.
//!
//! SQLite drops everything behind a damaged place of its write-ahead log without a word, since it cannot tell that
//! from a write that was cut off. This can: it says how far the log went, and it is safe before a batch is
//! acknowledged. It has the whole batch, so that both can be written at once: whichever of them a crash cuts off, the
//! other one has what was acknowledged. Two places are written in turn, so that one of them is whole whenever a write
//! is cut off.

use std::{
    fs::{self, File},
    io::{self, Seek as _, SeekFrom, Write as _},
    path::Path,
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, JoinHandle},
};

use xxhash_rust::xxh3::Xxh3;

use super::system;
use crate::{
    format::batch::Chain,
    log::{Epoch, Position},
};

const MAGIC: &[u8; 8] = b"THRTLAST";
/// How long a place is.
const PLACE_BYTES: usize = 64 * 1024;
const FILE_BYTES: usize = 2 * PLACE_BYTES;
/// What stands before the batch, its checksum included.
const HEAD_BYTES: usize = 64;
/// The length of a batch that is too long for its place, and is not there.
const ABSENT: u64 = u64::MAX;
/// Earlier releases kept the number alone, in places of another length.
const MAGIC_BEFORE: &[u8; 8] = b"THRTMARK";
const PLACE_BYTES_BEFORE: usize = 4096;
const BYTES_BEFORE: usize = 48;
/// How often the file is read: each write of a server that runs meanwhile can spoil one of the two places.
const READS: usize = 3;

/// How far the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark<B> {
    /// The id of the journal.
    pub(super) journal: u64,
    /// The last batch.
    pub(super) position: Position,
    /// The chain with it.
    pub(super) chain: Chain,
    /// Its records, if they fit in here.
    pub(super) body: Option<B>,
}

impl<B: AsRef<[u8]>> Mark<B> {
    /// Whether there is room for its batch.
    pub(super) fn fits(&self) -> bool {
        self.body.as_ref().is_none_or(|body| body.as_ref().len() <= PLACE_BYTES - HEAD_BYTES)
    }

    /// What is written, without its batch if that does not fit.
    fn to_bytes(&self) -> Vec<u8> {
        let body = self.body.as_ref().filter(|_| self.fits()).map(AsRef::as_ref);
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

    /// As earlier releases wrote it.
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

/// Where the mark of a batch goes.
fn place_of(position: Position) -> usize {
    if position.number.is_multiple_of(2) { 0 } else { PLACE_BYTES }
}

/// What the file at `path` says; nothing if it is not there or has no whole mark.
pub(super) fn read(path: &Path) -> io::Result<Option<Mark<Vec<u8>>>> {
    for _ in 0..READS {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let places = |length: usize| bytes.chunks(length).take(2);
        let marks: Vec<_> = if bytes.len() == FILE_BYTES {
            places(PLACE_BYTES).filter_map(Mark::from_bytes).collect()
        } else {
            places(PLACE_BYTES_BEFORE).filter_map(Mark::from_bytes_before).collect()
        };
        if !marks.is_empty() {
            return Ok(marks.into_iter().max_by_key(|mark| mark.position.number));
        }
    }
    Ok(None)
}

/// Opens the file for writing, and makes it if it is not there. It gets its full size at once, so that a write changes
/// nothing but its bytes.
fn open(path: &Path) -> io::Result<File> {
    let length = fs::metadata(path).map_or(0, |data| data.len());
    if length != FILE_BYTES as u64 {
        let mut bytes = vec![0; FILE_BYTES];
        if let Some(mark) = read(path)? {
            let (at, mark) = (place_of(mark.position), mark.to_bytes());
            for (to, from) in bytes.iter_mut().skip(at).zip(mark) {
                *to = from;
            }
        }
        // The file of an earlier release is there until the new one is whole.
        let new = path.with_extension("new");
        let mut file = system::open_private(&new)?;
        file.set_len(0)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        system::sync_directory(path.parent().unwrap_or(Path::new(".")))?;
    }
    system::open_private(path)
}

/// The file of the mark, which a thread of its own writes: so its sync goes on while the log has one of its own.
#[derive(Debug)]
pub(super) struct Marker {
    /// A mark's bytes, and where they go; none to end.
    marks: Sender<Option<(usize, Vec<u8>)>>,
    outcomes: Receiver<io::Result<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Marker {
    /// Opens the file, and makes it if it is not there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = open(path)?;
        let (marks, to_write) = channel::<Option<(usize, Vec<u8>)>>();
        let (told, outcomes) = channel();
        let thread = thread::Builder::new().name("mark".to_owned()).spawn(move || {
            while let Ok(Some((at, bytes))) = to_write.recv() {
                if told.send(write(&mut file, at, &bytes)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { marks, outcomes, thread: Some(thread) })
    }

    /// Begins to write a mark. [`finish`](Self::finish) is to follow.
    pub(super) fn begin<B: AsRef<[u8]>>(&self, mark: &Mark<B>) {
        // If the thread is gone, there is no outcome either.
        let _ = self.marks.send(Some((place_of(mark.position), mark.to_bytes())));
    }

    /// Waits for the mark that was begun. Once this returns, it outlives a power cut.
    pub(super) fn finish(&self) -> io::Result<()> {
        self.outcomes.recv().map_err(|_| io::Error::other("the thread that writes it has ended"))?
    }

    /// Writes a mark. Once this returns, it outlives a power cut.
    pub(super) fn write<B: AsRef<[u8]>>(&self, mark: &Mark<B>) -> io::Result<()> {
        self.begin(mark);
        self.finish()
    }
}

impl Drop for Marker {
    fn drop(&mut self) {
        let _ = self.marks.send(None);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write(file: &mut File, at: usize, bytes: &[u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(at as u64))?;
    file.write_all(bytes)?;
    file.sync_data()
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

        fn read(&self) -> Option<Mark<Vec<u8>>> {
            read(&self.0).unwrap()
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
    fn the_last_whole_mark_counts() {
        let file = InFile::new("whole");
        assert_eq!(file.read(), None);
        let marker = Marker::open(&file.0).unwrap();
        assert_eq!(file.read(), None);
        for number in 1..=5 {
            marker.write(&mark(number)).unwrap();
            assert_eq!(file.read(), Some(mark(number)));
        }
        // The write of the sixth is cut off, or the disk changes a bit of it.
        let bytes = mark(6).to_bytes();
        assert_eq!(bytes.len(), HEAD_BYTES + 100);
        for damage in 0..bytes.len() {
            let mut torn = bytes.clone();
            torn[damage] ^= 1;
            file.put(0, &torn);
            assert_eq!(file.read(), Some(mark(5)), "byte {damage}");
            file.put(0, &bytes[..damage]);
            file.put(damage, &vec![0; bytes.len() - damage]);
            assert_eq!(file.read(), Some(mark(5)), "cut off at {damage}");
        }
    }

    #[test]
    fn a_batch_that_does_not_fit_is_left_out() {
        let file = InFile::new("fits");
        let marker = Marker::open(&file.0).unwrap();
        for (number, more, fits) in [(1, 0, true), (2, 1, false)] {
            let body = Some(vec![1; PLACE_BYTES - HEAD_BYTES + more]);
            let mark = Mark { body, ..mark(number) };
            assert_eq!(mark.fits(), fits);
            marker.write(&mark).unwrap();
            let body = mark.body.clone().filter(|_| fits);
            assert_eq!(file.read(), Some(Mark { body, ..mark }));
        }
        drop(marker);
        assert_eq!(fs::metadata(&file.0).unwrap().len(), FILE_BYTES as u64);
    }

    #[test]
    fn a_mark_of_an_earlier_release_counts_until_there_is_a_new_one() {
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
        assert_eq!(file.read(), Some(last.clone()));
        // An attempt may have ended anywhere.
        fs::write(file.0.with_extension("new"), vec![1; FILE_BYTES + 1]).unwrap();
        let marker = Marker::open(&file.0).unwrap();
        assert_eq!(file.read(), Some(last));
        assert!(!file.0.with_extension("new").exists());
        for number in [5, 6, 7] {
            marker.write(&mark(number)).unwrap();
            assert_eq!(file.read(), Some(mark(number)));
        }
    }
}
