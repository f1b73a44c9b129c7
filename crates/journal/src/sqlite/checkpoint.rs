//! Copying the write-ahead log into the database, so that it begins anew and does not grow.
//!
//! SQLite does that by itself after a commit, but tells nobody when it cannot. So here it is done by hand.

use std::path::Path;

use rusqlite::Connection;

use crate::log::LogError;

/// The log is copied when it has about so many pages, as SQLite does it.
const PAGES: u64 = 1000;
/// After an attempt that did not get all of it, the next one comes with so many pages more.
const PAGES_MORE: u64 = 250;
/// A log of so many pages (256 MiB) that has not begun anew is told of. While a large snapshot is made it may well have
/// a third of that.
const PAGES_MAX: u64 = 65_536;
/// The size of a page, by SQLite's default.
const PAGE_BYTES: u64 = 4096;
/// What a write takes beside its bytes, about.
const PAGES_EACH: u64 = 3;

/// When the write-ahead log is to be copied.
pub(super) struct Checkpoints {
    /// How many pages are in it, about: an attempt tells how many they are.
    pages: u64,
    due: u64,
    pages_max: u64,
}

impl Checkpoints {
    /// Takes over from SQLite, with what an earlier run has left.
    pub(super) fn take_over(connection: &Connection, left_bytes: u64) -> Result<Self, LogError> {
        connection.execute_batch("PRAGMA wal_autocheckpoint = 0")?;
        Ok(Self { pages: left_bytes / PAGE_BYTES, due: PAGES, pages_max: PAGES_MAX })
    }

    /// Takes note of a write of so many bytes.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.wrote_pages(PAGES_EACH + bytes as u64 / PAGE_BYTES);
    }

    /// Takes note of a change of about so many pages.
    pub(super) fn wrote_pages(&mut self, pages: u64) {
        self.pages = self.pages.saturating_add(pages);
    }

    /// Copies the log, if that is due. Tells whether it was. Nothing that is kept depends on it.
    pub(super) fn run(&mut self, connection: &Connection, path: &Path) -> Result<bool, LogError> {
        if self.pages < self.due {
            return Ok(false);
        }
        self.due = self.pages + PAGES_MORE;
        let columns = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
        let (pages, copied) =
            connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], columns).map_err(|error| {
                LogError::Io(format!(
                    "{}-wal cannot be copied into the database ({error}): see whether the disk is full or failing",
                    path.display()
                ))
            })?;
        let found = u64::try_from(pages).unwrap_or(0);
        self.pages = found;
        self.due = self.pages + PAGES_MORE;
        if pages == copied {
            // The next write begins it anew, unless somebody still reads it.
            (self.pages, self.due) = (0, PAGES);
        }
        let mebibytes = found * PAGE_BYTES / (1 << 20);
        if found >= self.pages_max {
            return Err(LogError::Busy(format!(
                "{}-wal has {mebibytes} MiB and cannot begin anew, as somebody reads it all the while: see whether a \
                 backup or an inspection of the journal hangs",
                path.display()
            )));
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use rusqlite::params;

    use super::*;

    struct Database(PathBuf);

    impl Database {
        fn open(&self) -> Connection {
            let connection = Connection::open(self.0.join("journal.db")).unwrap();
            connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS t (a)").unwrap();
            connection
        }
    }

    impl Drop for Database {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_log_that_somebody_reads_all_the_while_is_told_of() {
        let path = std::env::temp_dir().join(format!("throttle-checkpoint-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        let database = Database(path);
        let (writer, reader) = (database.open(), database.open());
        let mut checkpoints = Checkpoints::take_over(&writer, 0).unwrap();
        checkpoints.pages_max = 3 * PAGES;
        let mut outcomes = |until: usize| {
            let mut outcomes = Vec::new();
            for _ in 0..until {
                writer.execute("INSERT INTO t VALUES (?1)", params![[7_u8; 3 * 4096].as_slice()]).unwrap();
                checkpoints.wrote(3 * 4096);
                let outcome = checkpoints.run(&writer, &database.0.join("journal.db"));
                outcomes.extend(Some(outcome).filter(|outcome| *outcome != Ok(false)));
            }
            outcomes
        };
        assert!(outcomes(1000).iter().all(|outcome| *outcome == Ok(true)), "it begins anew again and again");
        let log = fs::metadata(database.0.join("journal.db-wal")).unwrap().len();
        assert!(log < 3 * PAGES * PAGE_BYTES, "{log}");
        reader.execute_batch("BEGIN; SELECT count(*) FROM t").unwrap();
        let told = outcomes(1500);
        let Some(Err(LogError::Busy(why))) = told.last() else { panic!("{told:?}") };
        assert!(why.contains("cannot begin anew, as somebody reads it all the while"), "{why}");
        reader.execute_batch("COMMIT").unwrap();
        let told = outcomes(500);
        assert_eq!(told.last(), Some(&Ok(true)), "{told:?}");
    }
}
