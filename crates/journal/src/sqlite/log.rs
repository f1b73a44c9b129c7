//! Writing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, TransactionBehavior, params};

use super::{
    checkpoint::Checkpoints,
    mark::{self, Mark, Marker, Marks, PLACES},
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

/// A batch that the database does not have yet.
struct Batch {
    position: Position,
    chain: Chain,
    body: Vec<u8>,
}

/// The only connection that writes.
pub(super) struct SqliteLog {
    journal: u64,
    path: PathBuf,
    mark: PathBuf,
    connection: Connection,
    marker: Marker,
    /// What only the mark has.
    pending: Vec<Batch>,
    /// The number of the last batch.
    last: u64,
    /// The epoch of whoever leads.
    leader: Epoch,
    /// Changes when another connection changes anything.
    version: i64,
    /// Without, SQLite sees to its write-ahead log.
    checkpoints: Option<Checkpoints>,
}

impl SqliteLog {
    pub(super) fn open(path: &Path, mark: &Path, journal: u64) -> Result<Self, LogError> {
        let mut connection = schema::open_to_write(path)?;
        schema::upgrade(&connection)?;
        let marks = mark::find(mark)?;
        let last = take_over(&mut connection, &marks)?;
        let Mark { position, chain, .. } = *marks.last();
        // The database may go on for longer, and has all of it.
        let marker = if marks.is_in_order() {
            Marker::open(mark)?
        } else {
            Marker::create(mark, &Mark::end(journal, position.number, chain))?
        };
        let (leader, version) = (schema::epoch(&connection)?, data_version(&connection)?);
        Ok(Self {
            journal,
            path: path.to_owned(),
            mark: mark.to_owned(),
            connection,
            marker,
            pending: Vec::new(),
            last,
            leader,
            version,
            checkpoints: None,
        })
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

    /// The number of the last batch.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Keeps a batch as it is in another log.
    pub(super) fn put(&self, position: Position, chain: Chain, body: &[u8]) -> Result<(), LogError> {
        put(&self.connection, position, chain, body)
    }

    /// Takes over the epoch of another log.
    pub(super) fn set_epoch(&mut self, epoch: Epoch) -> Result<(), LogError> {
        self.connection.execute("UPDATE leader SET epoch = ?1", [epoch.0.cast_signed()])?;
        Ok(())
    }

    /// Writes down that the database has everything up to this batch.
    pub(super) fn mark(&mut self, number: u64, chain: Chain) -> Result<(), LogError> {
        self.write_mark(&Mark::end(self.journal, number, chain))
    }

    fn write_mark(&mut self, mark: &Mark<&[u8]>) -> Result<(), LogError> {
        self.marker.write(mark).map_err(|error| LogError::Io(format!("the file `mark`: {error}")))
    }

    /// Gives the database what it lacks, all in one commit.
    fn commit(&mut self) -> Result<(), LogError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if schema::epoch(&transaction)? != self.leader {
            return Err(LogError::Superseded);
        }
        for Batch { position, chain, body } in &self.pending {
            put(&transaction, *position, *chain, body)?;
        }
        transaction.commit()?;
        let bytes = self.pending.drain(..).map(|batch| batch.body.len()).sum();
        self.wrote(bytes);
        Ok(())
    }

    /// Looks whether another connection has written: whoever leads by now has. What keeps other processes out is the
    /// lock of the directory.
    fn look_for_others(&mut self) -> Result<(), LogError> {
        let version = data_version(&self.connection)?;
        if version != self.version {
            (self.version, self.leader) = (version, schema::epoch(&self.connection)?);
        }
        Ok(())
    }
}

/// Keeps a batch behind whatever is there.
fn put(connection: &Connection, position: Position, chain: Chain, body: &[u8]) -> Result<(), LogError> {
    let Position { epoch, number } = position;
    let mut insert = connection
        .prepare_cached("INSERT INTO batch (number, chain, body, epoch) VALUES (?1, ?2, ?3, ?4)")?;
    insert.execute(params![number.cast_signed(), chain.to_bytes(), body, epoch.0.cast_signed()])?;
    Ok(())
}

/// Gives the database what only the mark has. Returns the number of the last batch then.
fn take_over(connection: &mut Connection, marks: &Marks) -> Result<u64, LogError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut last = last_number(&transaction)?;
    while let Some((position, chain, body)) = marks.batch(last + 1) {
        // It may be all that tells of its epoch.
        let epoch = position.epoch.0.cast_signed();
        transaction.execute("UPDATE leader SET epoch = max(epoch, ?1)", [epoch])?;
        put(&transaction, position, chain, body)?;
        last = position.number;
    }
    transaction.commit()?;
    Ok(last)
}

/// The number of the last batch that the database has or had.
fn last_number(connection: &Connection) -> Result<u64, LogError> {
    let last = "SELECT COALESCE((SELECT max(number) FROM batch), (SELECT through FROM snapshot), 0)";
    let last: i64 = connection.query_row(last, [], |row| row.get(0))?;
    Ok(last.cast_unsigned())
}

fn data_version(connection: &Connection) -> Result<i64, LogError> {
    Ok(connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?)
}

impl Election for SqliteLog {
    fn lead(&mut self) -> Result<Epoch, LogError> {
        self.leader = schema::lead(&self.connection)?;
        Ok(self.leader)
    }
}

impl Log for SqliteLog {
    fn append(&mut self, position: Position, chain: Chain, body: &[u8]) -> Result<(), AppendError> {
        self.look_for_others()?;
        let Position { epoch, number } = position;
        if epoch != self.leader {
            return Err(AppendError::Superseded);
        }
        if number != self.last + 1 {
            return match self.look_up(number)? {
                Some(found) if found == (epoch, chain) => Ok(()),
                Some(_) => Err(taken(number).into()),
                None => Err(gap(number, self.last).into()),
            };
        }
        if mark::has_room_for(body) {
            // Its place may still have a batch that is nowhere else.
            if self.pending.len() >= PLACES {
                self.commit()?;
            }
            self.write_mark(&Mark { journal: self.journal, position, chain, body: Some(body) })?;
            self.pending.push(Batch { position, chain, body: body.to_vec() });
        } else {
            self.pending.push(Batch { position, chain, body: body.to_vec() });
            self.commit()?;
            self.mark(number, chain)?;
        }
        self.last = number;
        Ok(())
    }

    fn look_up(&mut self, number: u64) -> Result<Option<(Epoch, Chain)>, LogError> {
        let pending = self.pending.iter().find(|batch| batch.position.number == number);
        match pending {
            Some(batch) => Ok(Some((batch.position.epoch, batch.chain))),
            None => look_up(&self.connection, number, true),
        }
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
        // What it covers is not to come behind it.
        self.commit()?;
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
        Ok(Box::new(SqliteReader::open(&self.path, &self.mark)?))
    }

    fn bytes(&self) -> u64 {
        self.size_of("") + self.size_of("-wal")
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering::SeqCst},
        thread,
    };

    use super::*;
    use crate::{
        conformance::{self, Provider},
        sqlite::directory,
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
            let (journal, mark) = (self.path.join("journal.db"), self.path.join("mark"));
            Box::new(SqliteReader::open(&journal, &mark).unwrap())
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

    /// Appends a batch that follows on `chain`, which goes on to it.
    fn append(log: &mut dyn Log, chain: &mut Chain, position: Position, body: &[u8]) {
        *chain = chain.then(position, body);
        log.append(position, *chain, body).unwrap();
    }

    /// What the database alone has.
    fn last_in_database(directory: &InDirectory) -> u64 {
        last_number(&schema::open_to_read(&directory.path.join("journal.db")).unwrap()).unwrap()
    }

    #[test]
    fn the_database_gets_batches_once_their_places_are_needed() {
        let mut directory = InDirectory::fresh();
        let (epoch, mut log) = directory.lead();
        let mut chain = Chain::start(directory.journal);
        let mut append = |log: &mut Box<dyn Log>, number, length| {
            let (position, body) = (Position { epoch, number }, vec![7; length]);
            append(log.as_mut(), &mut chain, position, &body);
            // The second time, it is there.
            log.append(position, chain, &body).unwrap();
            assert_eq!(log.look_up(number), Ok(Some((epoch, chain))));
            (number, chain)
        };
        let places = PLACES as u64;
        let read = |directory: &InDirectory| {
            let (journal, mark) = (directory.path.join("journal.db"), directory.path.join("mark"));
            let end = SqliteReader::open(&journal, &mark).unwrap().read_from(None, None, &mut |_| Ok(()));
            end.map(|end| (end.number, end.chain)).unwrap()
        };
        for number in 1..=3 * places {
            let end = append(&mut log, number, 10);
            assert_eq!(read(&directory), end);
            assert_eq!(last_in_database(&directory), (number - 1) / places * places);
        }
        // One that has no room there takes those before with it.
        let (next, length) = (3 * places + 1, 100_000);
        let end = append(&mut log, next, length);
        assert_eq!((read(&directory), last_in_database(&directory)), (end, next));
        let end = append(&mut log, next + 1, 10);
        assert_eq!((read(&directory), last_in_database(&directory)), (end, next));
        drop(log);
        // Whoever opens it next gives the database the rest.
        let mut log = directory.log();
        assert_eq!(last_in_database(&directory), next + 1);
        let elsewhere = Position { epoch: Epoch(0), number: next + 2 };
        assert_eq!(log.append(elsewhere, end.1, b"late"), Err(AppendError::Superseded));
        assert_eq!(read(&directory), end, "it has nothing of what was refused");
    }

    #[test]
    fn a_snapshot_covers_what_only_the_mark_had() {
        let mut directory = InDirectory::fresh();
        let (epoch, mut log) = directory.lead();
        let mut chain = Chain::start(directory.journal);
        for number in 1..=10 {
            append(log.as_mut(), &mut chain, Position { epoch, number }, b"body");
        }
        let sum = Chain::of_snapshot(directory.journal, 10);
        log.finish_snapshot(&Snapshot { through: 10, chain, pieces: 0, sum }).unwrap();
        while log.trim().unwrap() {}
        let places = PLACES as u64;
        for number in 11..=10 + 2 * places {
            append(log.as_mut(), &mut chain, Position { epoch, number }, b"body");
        }
        let mut found = 0;
        let end = directory.reader().read_from(None, None, &mut |_| {
            found += 1;
            Ok(())
        });
        assert_eq!(end.map(|end| (end.number, end.chain)), Ok((10 + 2 * places, chain)));
        assert_eq!(found, 2 * places);
    }

    #[test]
    fn whoever_reads_is_never_behind_what_was_acknowledged() {
        let mut directory = InDirectory::fresh();
        let (epoch, mut log) = directory.lead();
        let (journal, acknowledged) = (directory.journal, AtomicU64::new(0));
        let batches = 20 * PLACES as u64;
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut chain = Chain::start(journal);
                let lengths = [200, 5000, 12_000].into_iter().cycle();
                for (number, length) in (1..=batches).zip(lengths) {
                    append(log.as_mut(), &mut chain, Position { epoch, number }, &vec![7; length]);
                    acknowledged.store(number, SeqCst);
                }
            });
            let mut reader = directory.reader();
            let mut end = None;
            while acknowledged.load(SeqCst) < batches {
                let least = acknowledged.load(SeqCst);
                let found = reader.read_from(end, None, &mut |_| Ok(())).unwrap();
                assert!(found.number >= least, "{} of {least}", found.number);
                end = Some(found);
            }
        });
    }

    #[test]
    fn a_first_start_that_was_cut_off_leaves_nothing_that_counts() {
        let directory = InDirectory::fresh();
        fs::remove_file(directory.path.join("journal.db")).unwrap();
        directory::create(&directory.path, 8).unwrap();
        let found = directory::inspect(&directory.path, &mut |_| Ok(()));
        assert_eq!(found.map(|(journal, _)| journal), Ok(8));
    }

    #[test]
    fn a_place_that_was_spoilt_is_mended_at_the_start() {
        let mut directory = InDirectory::fresh();
        let (epoch, mut log) = directory.lead();
        let mut chain = Chain::start(directory.journal);
        for number in 1..=3 {
            append(log.as_mut(), &mut chain, Position { epoch, number }, b"body");
        }
        drop(log);
        // As a write that was cut off leaves its place.
        let path = directory.path.join("mark");
        let mut mark = fs::read(&path).unwrap();
        let place = mark.len() / PLACES;
        mark[4 * place..5 * place].fill(0);
        fs::write(&path, mark).unwrap();
        let log = directory.log();
        assert_eq!(log.last(), 3);
        let marks = mark::find(&path).unwrap();
        assert!(marks.is_in_order() && marks.last().position.number == 3);
        assert_eq!(last_in_database(&directory), 3);
    }

    #[test]
    fn the_mark_may_be_all_that_tells_of_an_epoch() {
        let mut directory = InDirectory::fresh();
        let (_, log) = directory.lead();
        drop(log);
        let position = Position { epoch: Epoch(9), number: 1 };
        let chain = Chain::start(directory.journal).then(position, b"late");
        let mark = Mark { journal: directory.journal, position, chain, body: Some(b"late".as_slice()) };
        Marker::open(&directory.path.join("mark")).unwrap().write(&mark).unwrap();
        let mut log = directory.log();
        assert_eq!(log.look_up(1), Ok(Some((Epoch(9), chain))));
        assert_eq!(log.lead(), Ok(Epoch(10)));
    }
}
