//! Writing.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, TransactionBehavior, params};

use super::{
    checkpoint::Checkpoints,
    mark::{Mark, Marker},
    reader::{SqliteReader, last_snapshot, look_up},
    schema,
};
use crate::{
    format::batch::Chain,
    log::{AppendError, Election, Epoch, Log, LogError, LogReader, Position, Snapshot},
    memory::{gap, taken},
};

/// How many superfluous batches are removed in one go, so that none that is new waits long.
const BATCHES_AT_ONCE: i64 = 500;
/// The same for pieces of snapshots, which are larger.
const PIECES_AT_ONCE: i64 = 4;
/// How many pages such a removal changes, about.
const PAGES_OF_A_REMOVAL: u64 = 100;
/// How many pages are given back to the file system in one go.
const PAGES_AT_ONCE: i64 = 500;
/// A file has this many free pages before it is worth while to make it shorter.
const FREE_PAGES: i64 = 1000;

/// The only connection that writes.
pub(super) struct SqliteLog {
    journal: u64,
    path: PathBuf,
    connection: Connection,
    marker: Marker,
    /// Without, SQLite sees to its write-ahead log.
    checkpoints: Option<Checkpoints>,
}

impl SqliteLog {
    pub(super) fn open(path: &Path, mark: &Path, journal: u64) -> Result<Self, LogError> {
        let connection = schema::open_to_write(path)?;
        schema::upgrade(&connection)?;
        let marker = Marker::open(mark)?;
        Ok(Self { journal, path: path.to_owned(), connection, marker, checkpoints: None })
    }

    /// From now on the write-ahead log is copied by [`Log::keep_up`], which tells when that fails.
    pub(super) fn take_over_checkpoints(&mut self) -> Result<(), LogError> {
        self.checkpoints = Some(Checkpoints::take_over(&self.connection, self.size_of("-wal"))?);
        Ok(())
    }

    /// The size of the file beside the database whose name ends so.
    fn size_of(&self, end: &str) -> u64 {
        let mut name = self.path.clone().into_os_string();
        name.push(end);
        fs::metadata(name).map_or(0, |data| data.len())
    }

    fn wrote(&mut self, bytes: usize) {
        if let Some(checkpoints) = &mut self.checkpoints {
            checkpoints.wrote(bytes);
        }
    }

    fn changed_pages(&mut self, pages: u64) {
        if let Some(checkpoints) = &mut self.checkpoints {
            checkpoints.wrote_pages(pages);
        }
    }

    /// Keeps a batch as it is in another log.
    pub(super) fn put(&mut self, position: Position, chain: Chain, body: &[u8]) -> Result<(), LogError> {
        let Position { epoch, number } = position;
        let mut insert = self
            .connection
            .prepare_cached("INSERT INTO batch (number, chain, body, epoch) VALUES (?1, ?2, ?3, ?4)")?;
        insert.execute(params![number.cast_signed(), chain.to_bytes(), body, epoch.0.cast_signed()])?;
        Ok(())
    }

    /// Keeps a batch that only the mark has, which may be all that tells of its epoch.
    pub(super) fn take_over(
        &mut self,
        position: Position,
        chain: Chain,
        body: &[u8],
    ) -> Result<(), LogError> {
        // The epoch first: once the batch is here, nobody takes it over again.
        let epoch = position.epoch.0.cast_signed();
        self.connection.execute("UPDATE leader SET epoch = max(epoch, ?1)", [epoch])?;
        self.put(position, chain, body)
    }

    /// Takes over the epoch of another log.
    pub(super) fn set_epoch(&mut self, epoch: Epoch) -> Result<(), LogError> {
        self.connection.execute("UPDATE leader SET epoch = ?1", [epoch.0.cast_signed()])?;
        Ok(())
    }

    /// Writes down that everything up to this batch is there.
    pub(super) fn mark(&self, number: u64, chain: Chain) -> Result<(), LogError> {
        let position = Position { epoch: Epoch::default(), number };
        let mark = Mark { journal: self.journal, position, chain, body: None::<&[u8]> };
        self.marker.write(&mark).map_err(|error| no_mark(&error))
    }
}

fn no_mark(error: &io::Error) -> LogError {
    LogError::Io(format!("the file `mark`: {error}"))
}

impl SqliteLog {
    /// Adds a batch, if this is the leader and the number follows the last. Tells whether that is so.
    fn insert(&mut self, position: Position, chain: Chain, body: &[u8]) -> Result<bool, LogError> {
        let mark = Mark { journal: self.journal, position, chain, body: Some(body) };
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut insert = transaction.prepare_cached(
            "INSERT OR IGNORE INTO batch (number, chain, body, epoch) SELECT ?1, ?2, ?3, ?4
             WHERE (SELECT epoch FROM leader) = ?4
             AND ?1 = 1 + COALESCE(
                (SELECT max(number) FROM batch), (SELECT through FROM snapshot), 0)",
        )?;
        let (number, epoch) = (position.number.cast_signed(), position.epoch.0.cast_signed());
        let is_next = insert.execute(params![number, chain.to_bytes(), body, epoch])? == 1;
        drop(insert);
        if !is_next {
            return Ok(false);
        }
        // The disk takes both at once. Each has the whole batch, so it does not matter which of them is there first.
        if mark.fits() {
            self.marker.begin(&mark);
            let (committed, marked) = (transaction.commit(), self.marker.finish());
            committed?;
            marked.map_err(|error| no_mark(&error))?;
        } else {
            transaction.commit()?;
            self.marker.write(&mark).map_err(|error| no_mark(&error))?;
        }
        Ok(true)
    }

    /// Finds out why a batch was not added. It is no fault if the same one is there already.
    fn check_refused(&self, position: Position, chain: Chain) -> Result<(), AppendError> {
        let Position { epoch, number } = position;
        let of_leader: i64 = self.connection.query_row("SELECT epoch FROM leader", [], |row| row.get(0))?;
        if of_leader != epoch.0.cast_signed() {
            return Err(AppendError::Superseded);
        }
        match look_up(&self.connection, number, true)? {
            Some(found) if found == (epoch, chain) => Ok(()),
            Some(_) => Err(taken(number)),
            None => {
                let last = "SELECT COALESCE(
                    (SELECT max(number) FROM batch), (SELECT through FROM snapshot), 0)";
                let last: i64 = self.connection.query_row(last, [], |row| row.get(0))?;
                Err(gap(number, last.cast_unsigned()))
            }
        }
    }
}

impl Election for SqliteLog {
    fn lead(&mut self) -> Result<Epoch, LogError> {
        schema::lead(&self.connection)
    }
}

impl Log for SqliteLog {
    fn append(&mut self, position: Position, chain: Chain, body: &[u8]) -> Result<(), AppendError> {
        if !self.insert(position, chain, body)? {
            self.check_refused(position, chain)?;
            self.mark(position.number, chain)?;
        }
        self.wrote(body.len());
        Ok(())
    }

    fn look_up(&mut self, number: u64) -> Result<Option<(Epoch, Chain)>, LogError> {
        look_up(&self.connection, number, true)
    }

    fn put_piece(&mut self, through: u64, index: u64, piece: &[u8]) -> Result<(), LogError> {
        if index == 0 {
            // What an earlier attempt left behind.
            let finished = last_snapshot(&self.connection)?.map_or(-1, |last| last.through.cast_signed());
            self.connection.execute("DELETE FROM piece WHERE through <> ?1", [finished])?;
        }
        let mut insert = self.connection.prepare_cached("INSERT INTO piece VALUES (?1, ?2, ?3)")?;
        insert.execute(params![through.cast_signed(), index.cast_signed(), piece])?;
        drop(insert);
        self.wrote(piece.len());
        Ok(())
    }

    fn finish_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), LogError> {
        let through = snapshot.through.cast_signed();
        let transaction = self.connection.transaction()?;
        transaction.execute("DELETE FROM snapshot", [])?;
        transaction.execute(
            "INSERT INTO snapshot VALUES (?1, ?2, ?3, ?4)",
            params![
                through,
                snapshot.chain.to_bytes(),
                snapshot.pieces.cast_signed(),
                snapshot.sum.to_bytes()
            ],
        )?;
        transaction.commit()?;
        self.wrote(0);
        Ok(())
    }

    fn trim(&mut self) -> Result<bool, LogError> {
        let Some(last) = last_snapshot(&self.connection)? else { return Ok(false) };
        let through = last.through.cast_signed();
        let batches = "DELETE FROM batch WHERE number IN
            (SELECT number FROM batch WHERE number <= ?1 ORDER BY number LIMIT ?2)";
        let pieces =
            "DELETE FROM piece WHERE rowid IN (SELECT rowid FROM piece WHERE through <> ?1 LIMIT ?2)";
        for (sql, at_once) in [(batches, BATCHES_AT_ONCE), (pieces, PIECES_AT_ONCE)] {
            let removed = self.connection.prepare_cached(sql)?.execute([through, at_once])?;
            if removed > 0 {
                self.changed_pages(PAGES_OF_A_REMOVAL);
                return Ok(true);
            }
        }
        let free: i64 = self.connection.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
        if free > FREE_PAGES {
            self.connection.execute_batch(&format!("PRAGMA incremental_vacuum({PAGES_AT_ONCE})"))?;
            self.changed_pages(PAGES_AT_ONCE.unsigned_abs());
        }
        Ok(free > FREE_PAGES)
    }

    fn keep_up(&mut self) -> Result<bool, LogError> {
        match &mut self.checkpoints {
            Some(checkpoints) => checkpoints.run(&self.connection, &self.path),
            None => Ok(false),
        }
    }

    fn reader(&self) -> Result<Box<dyn LogReader>, LogError> {
        Ok(Box::new(SqliteReader::open(&self.path)?))
    }

    fn bytes(&self) -> u64 {
        self.size_of("") + self.size_of("-wal")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        conformance::{self, Provider},
        sqlite::{directory, mark},
    };

    struct InDirectory {
        path: PathBuf,
        journal: u64,
    }

    impl InDirectory {
        fn log(&self) -> SqliteLog {
            let (journal, mark) = (self.path.join("journal.db"), self.path.join("mark"));
            SqliteLog::open(&journal, &mark, self.journal).unwrap()
        }
    }

    impl Provider for InDirectory {
        fn fresh() -> Self {
            use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Relaxed);
            let path = std::env::temp_dir().join(format!("throttle-log-{}-{number}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir(&path).unwrap();
            directory::create(&path, 7).unwrap();
            Self { path, journal: 7 }
        }

        fn journal(&self) -> u64 {
            self.journal
        }

        fn lead(&mut self) -> (Epoch, Box<dyn Log>) {
            let mut log = self.log();
            (log.lead().unwrap(), Box::new(log))
        }

        fn reader(&mut self) -> Box<dyn LogReader> {
            self.log().reader().unwrap()
        }

        fn crash(&mut self) {}

        fn damage(&mut self, number: u64) {
            let change = "UPDATE batch SET body = x'00' WHERE number = ?1";
            let changed = self.log().connection.execute(change, [number.cast_signed()]);
            assert_eq!(changed, Ok(1));
        }
    }

    impl Drop for InDirectory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.path);
        }
    }

    #[test]
    fn it_does_as_every_log_does() {
        conformance::check_all::<InDirectory>();
    }

    #[test]
    fn a_batch_is_in_both_places_if_it_fits() {
        let mut directory = InDirectory::fresh();
        let (epoch, mut log) = directory.lead();
        let mut chain = Chain::start(directory.journal);
        for (number, length) in [(1, 10), (2, 100_000), (3, 10)] {
            let (position, body) = (Position { epoch, number }, vec![7; length]);
            chain = chain.then(position, &body);
            // The second time, it is there.
            for is_there in [false, true] {
                log.append(position, chain, &body).unwrap();
                let mark = mark::read(&directory.path.join("mark")).unwrap().unwrap();
                assert_eq!((mark.position.number, mark.chain), (number, chain));
                assert_eq!(mark.body, Some(body.clone()).filter(|_| !is_there && length == 10));
            }
            let end = directory.reader().read_from(None, None, &mut |_| Ok(())).unwrap();
            assert_eq!((end.number, end.chain), (number, chain));
        }
        drop(log);
        let elsewhere = Position { epoch: Epoch(0), number: 4 };
        let mut log = directory.log();
        assert_eq!(log.append(elsewhere, chain, b"late"), Err(AppendError::Superseded));
        let mark = mark::read(&directory.path.join("mark")).unwrap().unwrap();
        assert_eq!((mark.position.number, mark.chain), (3, chain), "it has nothing of what was refused");
        // Only the mark has a batch of a later epoch, and with it the epoch.
        let later = Position { epoch: Epoch(9), number: 4 };
        log.take_over(later, chain.then(later, b"late"), b"late").unwrap();
        assert_eq!(log.lead(), Ok(Epoch(10)));
    }
}
