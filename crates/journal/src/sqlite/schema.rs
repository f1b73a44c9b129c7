//! What the file looks like, and how errors of SQLite are to be read.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, types::FromSqlError};

use super::system;
use crate::log::{Epoch, LogError};

/// `THRT`, at a fixed place in the head of the file.
const APPLICATION_ID: i32 = 0x5448_5254;
const APPLICATION_ID_AT: usize = 68;
/// The version of the tables and of the file beside them.
const VERSION: i32 = 5;
/// The oldest version that this release reads. Version 1 has no epochs. Up to version 2 the file `mark` has no batch,
/// version 3 has the last one there, and version 4 the last ones, with their copies far apart.
const OLDEST: i32 = 1;
const VERSION_AT: usize = 60;
const HEAD_BYTES: usize = 100;

const TABLES: &str = "
    CREATE TABLE journal (id INTEGER NOT NULL);
    CREATE TABLE batch (number INTEGER PRIMARY KEY, chain BLOB NOT NULL, body BLOB NOT NULL);
    CREATE TABLE piece (through INTEGER NOT NULL, position INTEGER NOT NULL, body BLOB NOT NULL);
    CREATE UNIQUE INDEX piece_order ON piece (through, position);
    CREATE TABLE snapshot (
        through INTEGER PRIMARY KEY, chain BLOB NOT NULL, pieces INTEGER NOT NULL, sum BLOB NOT NULL
    );
";

/// What version 2 added: the epoch of each batch, and the one of the server that leads.
const EPOCHS: &str = "
    ALTER TABLE batch ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE leader (epoch INTEGER NOT NULL);
    INSERT INTO leader VALUES (0);
";

/// Writes an empty journal to a file that is not there yet. It is whole without any file beside it.
pub(super) fn create(path: &Path, journal: u64) -> Result<(), LogError> {
    // The files that SQLite puts beside it have the permissions of this one.
    system::open_private(path)?;
    let connection = Connection::open(path)?;
    connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA synchronous = FULL;")?;
    // Later this would need a rollback journal, which a process that ends then leaves behind: nobody who only reads
    // can do anything about that.
    to_write_ahead(&connection, path)?;
    connection.execute_batch(&format!(
        "BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; {TABLES} {EPOCHS}"
    ))?;
    connection.execute("INSERT INTO journal VALUES (?1)", [journal.cast_signed()])?;
    connection.execute_batch("COMMIT")?;
    // Closing does that too, but does not tell if it cannot.
    let is_busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if is_busy {
        return Err(LogError::Busy(format!("another process reads {}", path.display())));
    }
    connection.close().map_err(|(_, error)| error.into())
}

/// Refuses a file that is not a journal, before SQLite sees it: SQLite changes the files beside it.
pub(super) fn check_head(path: &Path) -> Result<(), LogError> {
    let mut head = [0; HEAD_BYTES];
    match File::open(path)?.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(LogError::Foreign(format!("{} is too short", path.display())));
        }
        read => read?,
    }
    let number = |at: usize| {
        let bytes = head.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, i32::from_be_bytes)
    };
    if !head.starts_with(b"SQLite format 3\0") || number(APPLICATION_ID_AT) != APPLICATION_ID {
        return Err(LogError::Foreign(format!("{} has another head", path.display())));
    }
    match number(VERSION_AT) {
        OLDEST..=VERSION => Ok(()),
        version => Err(unknown(version)),
    }
}

fn unknown(version: i32) -> LogError {
    if version > VERSION {
        let what = format!("its tables have version {version}, and this release knows version {VERSION}");
        return LogError::Newer(what);
    }
    LogError::Damaged(format!("its tables claim to have version {version}"))
}

/// Opens a journal so that nothing of it can change.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, LogError> {
    open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

pub(super) fn open_to_write(path: &Path) -> Result<Connection, LogError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    to_write_ahead(&connection, path)?;
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 16777216;")?;
    Ok(connection)
}

/// The version of the tables of an open journal. The head of the file may tell of an older one, as long as the change
/// is in the write-ahead log only.
pub(super) fn version(connection: &Connection) -> Result<i32, LogError> {
    match connection.query_row("PRAGMA user_version", [], |row| row.get(0))? {
        version @ OLDEST..=VERSION => Ok(version),
        version => Err(unknown(version)),
    }
}

/// Brings the tables of an earlier release to the version of today, in one step.
pub(super) fn upgrade(connection: &Connection) -> Result<(), LogError> {
    let tables = match version(connection)? {
        VERSION.. => return Ok(()),
        OLDEST => EPOCHS,
        _ => "",
    };
    connection.execute_batch(&format!("BEGIN; {tables} PRAGMA user_version = {VERSION}; COMMIT"))?;
    // An earlier release looks at the head of the file.
    Ok(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
}

/// The epoch of the server that leads.
pub(super) fn epoch(connection: &Connection) -> Result<Epoch, LogError> {
    let epoch: i64 =
        connection.prepare_cached("SELECT epoch FROM leader")?.query_row([], |row| row.get(0))?;
    Ok(Epoch(epoch.cast_unsigned()))
}

/// Begins to lead: whoever wrote before writes no more.
pub(super) fn lead(connection: &Connection) -> Result<Epoch, LogError> {
    let sql = "UPDATE leader SET epoch = epoch + 1 RETURNING epoch";
    let epoch: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(Epoch(epoch.cast_unsigned()))
}

fn to_write_ahead(connection: &Connection, path: &Path) -> Result<(), LogError> {
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode == "wal" {
        return Ok(());
    }
    let path = path.display();
    Err(LogError::Io(format!("the file system of {path} lacks what SQLite's WAL mode needs")))
}

fn open(path: &Path, how: OpenFlags) -> Result<Connection, LogError> {
    let connection = Connection::open_with_flags(path, how | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.execute_batch("PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;")?;
    Ok(connection)
}

impl From<FromSqlError> for LogError {
    fn from(error: FromSqlError) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl From<rusqlite::Error> for LogError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::TypeMismatch) => {
                Self::Damaged(error.to_string())
            }
            None => Self::Damaged(error.to_string()),
            Some(_) => Self::Io(error.to_string()),
        }
    }
}
