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
/// A log of so many pages (64 MiB) that has not begun anew is told of.
const PAGES_MAX: u64 = 16_384;
/// The size of a page, by SQLite's default.
const PAGE_BYTES: u64 = 4096;
/// What a write takes beside its bytes, about.
const PAGES_EACH: u64 = 3;

/// When the write-ahead log is to be copied.
pub(super) struct Checkpoints {
    /// How many pages are in it, about: an attempt tells how many they are.
    pages: u64,
    due: u64,
}

impl Checkpoints {
    /// Takes over from SQLite, with what an earlier run has left.
    pub(super) fn take_over(connection: &Connection, left_bytes: u64) -> Result<Self, LogError> {
        connection.execute_batch("PRAGMA wal_autocheckpoint = 0")?;
        Ok(Self { pages: left_bytes / PAGE_BYTES, due: PAGES })
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
        self.pages = u64::try_from(pages).unwrap_or(0);
        self.due = self.pages + PAGES_MORE;
        if pages == copied {
            // The next write begins it anew, unless somebody still reads it.
            (self.pages, self.due) = (0, PAGES);
        }
        if u64::try_from(pages).is_ok_and(|pages| pages >= PAGES_MAX) {
            return Err(LogError::Busy(format!(
                "{}-wal has {} MiB and cannot begin anew, as another process reads it: see whether a backup or an \
                 inspection of the journal hangs",
                path.display(),
                u64::try_from(pages).unwrap_or(0) * PAGE_BYTES >> 20
            )));
        }
        Ok(true)
    }
}
