//! A data directory: found, made, locked, checked, copied.

use std::{
    cell::Cell,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use super::{
    log::SqliteLog,
    mark::{self, Mark, Marker},
    reader::SqliteReader,
    schema, system,
};
use crate::{
    format::batch::Chain,
    log::{Election as _, End, Entry, Epoch, Log, LogError, LogReader as _, Snapshot, Visit},
};

const JOURNAL: &str = "journal.db";
/// What it is called until it is whole.
const UNNAMED: &str = "journal.new";
const LOG: &str = "journal.db-wal";
const SHARED_MEMORY: &str = "journal.db-shm";
const MARK: &str = "mark";
const LOCK: &str = "lock";

/// A directory that this process, and no other, uses.
pub struct Directory {
    path: PathBuf,
    source: SqliteReader,
    journal: u64,
    /// Whether there is no write-ahead log but the one that reading makes.
    is_without_log: bool,
    /// Held as long as the journal is.
    lock: File,
}

/// A journal that was read and is open for writing.
pub struct Found {
    /// Where it goes on.
    pub end: End,
    /// The epoch in which this process leads.
    pub epoch: Epoch,
    /// What keeps it.
    pub log: Box<dyn Log>,
    /// Keeps other processes out while it lives.
    pub lock: File,
}

impl Directory {
    /// Locks a directory and finds the journal in it. An empty one, and one that is not there, gets a new journal.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        system::create_private_directory(path)?;
        let lock = lock(path)?;
        if !path.join(JOURNAL).try_exists()? {
            create(path, getrandom::u64().map_err(|error| LogError::Io(error.to_string()))?)?;
        }
        let is_without_log = !path.join(LOG).try_exists()?;
        let found = look(path).inspect_err(|_| remove_empty_log(path, is_without_log));
        let (source, journal) = found?;
        Ok(Self { path: path.to_owned(), source, journal, is_without_log, lock })
    }

    /// Identifies the state that is kept here.
    pub fn journal(&self) -> u64 {
        self.journal
    }

    /// Reads and checks everything, and only then opens the journal for writing.
    pub fn read(self, visit: Visit<'_>) -> Result<Found, LogError> {
        let end =
            checked(self.source, visit).inspect_err(|_| remove_empty_log(&self.path, self.is_without_log))?;
        // Earlier releases left them readable for others.
        for name in [JOURNAL, LOG, SHARED_MEMORY] {
            system::make_private(&self.path.join(name))?;
        }
        let mut log = SqliteLog::open(&self.path.join(JOURNAL), &self.path.join(MARK), self.journal)?;
        if log.last() != end.number {
            let what = "the file `mark` is not what it was a moment ago: see whether the disk is failing";
            return Err(LogError::Io(what.to_owned()));
        }
        // What was read may never have been safe, if the process before ended in the middle of a commit. Now it is.
        let epoch = log.lead()?;
        // The last batch may be one that was never marked.
        log.mark(end.number, end.chain)?;
        log.take_over_checkpoints()?;
        Ok(Found { end, epoch, log: Box::new(log), lock: self.lock })
    }
}

/// Reads a journal that may be in use, without changing anything. Returns its id too.
pub fn inspect(path: &Path, visit: Visit<'_>) -> Result<(u64, End), LogError> {
    let (source, journal) = look(path)?;
    Ok((journal, checked(source, visit)?))
}

/// Reads everything, and closes what it was read from.
fn checked(mut source: SqliteReader, visit: Visit<'_>) -> Result<End, LogError> {
    source.check()?;
    source.read_from(None, None, visit)
}

/// SQLite cannot read without a write-ahead log. One that it made is taken away when the journal is refused.
fn remove_empty_log(path: &Path, was_made: bool) {
    let log = path.join(LOG);
    if was_made && fs::metadata(&log).is_ok_and(|data| data.len() == 0) {
        // Nobody misses what is left.
        let _ = fs::remove_file(log);
        let _ = fs::remove_file(path.join(SHARED_MEMORY));
    }
}

/// Makes a journal with this id in the new directory `to`, of a snapshot that `write` writes. Whoever leads there next
/// does so in a later epoch than this.
pub fn create_from(
    to: &Path,
    journal: u64,
    epoch: Epoch,
    write: impl FnOnce(&mut dyn Log) -> Result<(), LogError>,
) -> Result<End, LogError> {
    check_is_free(to)?;
    system::create_private_directory(to)?;
    create(to, journal)?;
    let mut log = SqliteLog::open(&to.join(JOURNAL), &to.join(MARK), journal)?;
    write(&mut log)?;
    log.set_epoch(epoch)?;
    let end = log.reader()?.read_from(None, None, &mut |_| Ok(()))?;
    log.mark(end.number, end.chain)?;
    drop(log);
    inspect(to, &mut |_| Ok(()))?;
    Ok(end)
}

fn check_is_free(to: &Path) -> Result<(), LogError> {
    let is_free = fs::read_dir(to)
        .map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |mut entries| entries.next().is_none());
    if is_free {
        return Ok(());
    }
    Err(LogError::Io(format!("{} is there already and not empty; name a new directory", to.display())))
}

/// Copies the journal in `from`, which may be in use, into the new directory `to`.
pub fn backup(from: &Path, to: &Path) -> Result<End, LogError> {
    check_is_free(to)?;
    let (mut source, journal) = look(from)?;
    source.check()?;
    system::create_private_directory(to)?;
    create(to, journal)?;
    let mut copy = SqliteLog::open(&to.join(JOURNAL), &to.join(MARK), journal)?;
    let (snapshot, mut index, mut chain) = (Cell::new(None::<Snapshot>), 0, None);
    let mut epoch = source.epoch()?;
    let end = source.read_after(|found| snapshot.set(found), None, None, &mut |entry| match entry {
        Entry::Piece(body) => {
            let through = snapshot.get().map_or(0, |snapshot| snapshot.through);
            copy.put_piece(through, index, body)?;
            index += 1;
            Ok(())
        }
        Entry::Batch { position, body } => {
            let before = snapshot.get().map_or(Chain::start(journal), |snapshot| snapshot.chain);
            let with = chain.unwrap_or(before).then(position, body);
            chain = Some(with);
            // What only the mark has may be all that tells of its epoch.
            epoch = epoch.max(position.epoch);
            copy.put(position, with, body)
        }
    })?;
    // Only now is it known that all of its pieces are there.
    if let Some(snapshot) = snapshot.get() {
        copy.finish_snapshot(&snapshot)?;
    }
    copy.set_epoch(epoch)?;
    copy.mark(end.number, end.chain)?;
    drop(copy);
    // A copy that cannot be read is found out now, not when it is needed.
    inspect(to, &mut |_| Ok(()))?;
    Ok(end)
}

fn lock(path: &Path) -> Result<File, LogError> {
    let file = system::open_private(&path.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LogError::Busy(
            "another process uses it. Stop that one first, or name another directory".to_owned(),
        )),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Opens what is there, for reading only. Returns its id too.
fn look(path: &Path) -> Result<(SqliteReader, u64), LogError> {
    let journal = path.join(JOURNAL);
    if !journal.try_exists()? {
        return Err(LogError::Io(format!("there is no {}", journal.display())));
    }
    schema::check_head(&journal)?;
    let source = SqliteReader::open(&journal, &path.join(MARK))?;
    let (id, marks) = (source.journal()?, source.marks()?);
    if id != marks.last().journal {
        return Err(LogError::Damaged(format!("{JOURNAL} and `mark` belong to different journals")));
    }
    Ok((source, id))
}

/// A new journal. The file gets its name last, so that it is whole as soon as it is there.
pub(super) fn create(path: &Path, journal: u64) -> Result<(), LogError> {
    if mark::read(&path.join(MARK))?.is_some_and(|marks| marks.last().position.number > 0) {
        return Err(LogError::Damaged(format!("{JOURNAL} is missing, but the file `mark` tells of it")));
    }
    let unnamed = path.join(UNNAMED);
    // An earlier attempt may have ended anywhere, and SQLite would take what it left for a part of this one.
    for end in ["", "-journal", "-wal", "-shm"] {
        match fs::remove_file(path.join(format!("{UNNAMED}{end}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    schema::create(&unnamed, journal)?;
    // One that is there is of an attempt with another id.
    Marker::create(&path.join(MARK), &Mark::end(journal, 0, Chain::start(journal)))?;
    fs::rename(&unnamed, path.join(JOURNAL))?;
    Ok(system::sync_directory(path)?)
}
