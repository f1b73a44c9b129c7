//! Writing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, params};

use super::{
    mark::{Mark, MarkFile},
    schema,
    source::{SqliteSource, last_snapshot},
};
use crate::{
    format::batch::{Batch, Chain},
    log::{Snapshot, Source, Store, StoreError},
};

/// How many superfluous batches are removed in one go, so that none that is new waits long.
const BATCHES_AT_ONCE: i64 = 500;
/// The same for pieces of snapshots, which are larger.
const PIECES_AT_ONCE: i64 = 4;
/// How many pages are given back to the file system in one go.
const PAGES_AT_ONCE: i64 = 500;
/// A file has this many free pages before it is worth while to make it shorter.
const FREE_PAGES: i64 = 1000;

/// The only connection that writes.
pub(super) struct SqliteStore {
    journal: u64,
    path: PathBuf,
    connection: Connection,
    mark: MarkFile,
}

impl SqliteStore {
    pub(super) fn open(path: &Path, mark: &Path, journal: u64) -> Result<Self, StoreError> {
        let connection = schema::open_to_write(path)?;
        Ok(Self { journal, path: path.to_owned(), connection, mark: MarkFile::open(mark)? })
    }

    /// Writes down that everything up to this batch is there.
    pub(super) fn mark(&mut self, number: u64, chain: Chain) -> Result<(), StoreError> {
        let mark = Mark { journal: self.journal, number, chain };
        self.mark.write(mark).map_err(|error| StoreError::Io(format!("the file `mark`: {error}")))
    }
}

impl Store for SqliteStore {
    fn append(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut insert = self.connection.prepare_cached("INSERT INTO batch VALUES (?1, ?2, ?3)")?;
        insert.execute(params![batch.number.cast_signed(), batch.chain.to_bytes(), batch.body])?;
        drop(insert);
        self.mark(batch.number, batch.chain)
    }

    fn put_piece(&mut self, through: u64, index: u64, piece: &[u8]) -> Result<(), StoreError> {
        if index == 0 {
            // What an earlier attempt left behind.
            let finished = last_snapshot(&self.connection)?.map_or(-1, |last| last.through.cast_signed());
            self.connection.execute("DELETE FROM piece WHERE through <> ?1", [finished])?;
        }
        let mut insert = self.connection.prepare_cached("INSERT INTO piece VALUES (?1, ?2, ?3)")?;
        insert.execute(params![through.cast_signed(), index.cast_signed(), piece])?;
        Ok(())
    }

    fn finish_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), StoreError> {
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
        Ok(())
    }

    fn trim(&mut self) -> Result<bool, StoreError> {
        let Some(last) = last_snapshot(&self.connection)? else { return Ok(false) };
        let through = last.through.cast_signed();
        let batches = "DELETE FROM batch WHERE number IN
            (SELECT number FROM batch WHERE number <= ?1 ORDER BY number LIMIT ?2)";
        let pieces =
            "DELETE FROM piece WHERE rowid IN (SELECT rowid FROM piece WHERE through <> ?1 LIMIT ?2)";
        for (sql, at_once) in [(batches, BATCHES_AT_ONCE), (pieces, PIECES_AT_ONCE)] {
            let removed = self.connection.prepare_cached(sql)?.execute([through, at_once])?;
            if removed > 0 {
                return Ok(true);
            }
        }
        let free: i64 = self.connection.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
        if free > FREE_PAGES {
            self.connection.execute_batch(&format!("PRAGMA incremental_vacuum({PAGES_AT_ONCE})"))?;
        }
        Ok(free > FREE_PAGES)
    }

    fn source(&self) -> Result<Box<dyn Source>, StoreError> {
        Ok(Box::new(SqliteSource::open(&self.path)?))
    }

    fn bytes(&self) -> u64 {
        let beside = |end: &str| {
            let mut name = self.path.clone().into_os_string();
            name.push(end);
            fs::metadata(name).map_or(0, |data| data.len())
        };
        beside("") + beside("-wal")
    }
}
