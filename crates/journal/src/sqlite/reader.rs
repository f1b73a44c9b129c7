//! Reading, with every check.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};

use super::{
    mark::{self, Marks},
    schema,
};
use crate::{
    format::batch::Chain,
    log::{End, Entry, Epoch, LogError, LogReader, Position, Snapshot, Visit},
};

/// How often the last batches are looked for: their file is not read at one moment, and a server may write meanwhile.
const LOOKS: usize = 4;

/// What only reads: the database, and then what it lacks of the last batches.
pub(super) struct SqliteReader {
    connection: Connection,
    /// The version of its tables.
    version: i32,
    /// The file of the last batches.
    mark: PathBuf,
}

impl SqliteReader {
    pub(super) fn open(path: &Path, mark: &Path) -> Result<Self, LogError> {
        let connection = schema::open_to_read(path)?;
        let version = schema::version(&connection)?;
        Ok(Self { connection, version, mark: mark.to_owned() })
    }

    /// The last batches.
    pub(super) fn marks(&self) -> Result<Marks, LogError> {
        mark::find(&self.mark)
    }

    /// The id of the journal.
    pub(super) fn journal(&self) -> Result<u64, LogError> {
        let id: i64 = self.connection.query_row("SELECT id FROM journal", [], |row| row.get(0))?;
        Ok(id.cast_unsigned())
    }

    /// The chain with a batch, if the database still has it.
    fn chain_at(&self, number: u64) -> Result<Option<Chain>, LogError> {
        Ok(look_up(&self.connection, number, self.version > 1)?.map(|(_, chain)| chain))
    }

    /// The epoch of the server that leads.
    pub(super) fn epoch(&self) -> Result<Epoch, LogError> {
        if self.version == 1 {
            return Ok(Epoch::default());
        }
        schema::epoch(&self.connection)
    }

    /// Looks at the structure of the file, so that no page of it is used twice.
    pub(super) fn check(&self) -> Result<(), LogError> {
        let found: String = self.connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if found == "ok" { Ok(()) } else { Err(LogError::Damaged(found.replace('\n', " "))) }
    }
}

impl SqliteReader {
    /// [`LogReader::read_from`], which first tells the snapshot that the pieces are of.
    pub(super) fn read_after(
        &mut self,
        begin: impl FnOnce(Option<Snapshot>),
        from: Option<End>,
        through: Option<u64>,
        visit: Visit<'_>,
    ) -> Result<End, LogError> {
        // First, since the database gets what makes room there.
        let mut marks = self.marks()?;
        let mut end = self.read_database(begin, from, through, visit)?;
        for _ in 1..LOOKS {
            if self.follow(&marks, &mut end, through, visit)? {
                return Ok(end);
            }
            marks = self.marks()?;
            end = self.read_database(|_| (), Some(end), through, visit)?;
        }
        if self.follow(&marks, &mut end, through, visit)? {
            return Ok(end);
        }
        Err(LogError::Damaged(format!(
            "batch {} was acknowledged, but the journal ends with batch {}",
            marks.last().position.number,
            end.number
        )))
    }

    /// Goes on to the last batches, as far as the database lacks them. Tells whether none of them is missing.
    fn follow(
        &self,
        marks: &Marks,
        end: &mut End,
        through: Option<u64>,
        visit: Visit<'_>,
    ) -> Result<bool, LogError> {
        let last = marks.last();
        let number = last.position.number;
        while end.number < number {
            if through.is_some_and(|through| end.number >= through) {
                return Ok(true);
            }
            let Some((position, chain, body)) = marks.batch(end.number + 1) else { return Ok(false) };
            end.follow(position, Some(chain), body)?;
            visit(Entry::Batch { position, body }).map_err(|error| error.at("the file `mark`"))?;
        }
        // The journal may go on for longer, by what was never acknowledged.
        let at_last = if end.number == number { Some(end.chain) } else { self.chain_at(number)? };
        if at_last.is_none_or(|chain| chain == last.chain) {
            return Ok(true);
        }
        Err(LogError::Damaged(format!("batch {number} is not the one that was acknowledged")))
    }

    /// Reads what the database has, all in one look at it.
    fn read_database(
        &mut self,
        begin: impl FnOnce(Option<Snapshot>),
        from: Option<End>,
        through: Option<u64>,
        visit: Visit<'_>,
    ) -> Result<End, LogError> {
        let (journal, has_epochs) = (self.journal()?, self.version > 1);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
        let snapshot = last_snapshot(&transaction)?;
        begin(snapshot);
        let mut end = match (from, snapshot) {
            (Some(end), snapshot) => {
                let is_behind = snapshot.is_some_and(|snapshot| end.number < snapshot.through);
                if is_behind && look_up(&transaction, end.number + 1, has_epochs)?.is_none() {
                    return Err(LogError::Trimmed);
                }
                end
            }
            (None, None) => End::start(journal),
            (None, Some(snapshot)) => {
                let bytes = read_pieces(&transaction, journal, &snapshot, visit)?;
                let Snapshot { through: number, chain, .. } = snapshot;
                End { number, chain, snapshot_bytes: bytes, batch_bytes: 0 }
            }
        };
        let epoch = if has_epochs { "epoch" } else { "0" };
        let mut batches = transaction.prepare(&format!(
            "SELECT number, chain, body, {epoch} FROM batch WHERE number > ?1 ORDER BY number"
        ))?;
        let mut rows = batches.query([end.number.cast_signed()])?;
        while through.is_none_or(|through| end.number < through)
            && let Some(row) = rows.next()?
        {
            let number = row.get::<_, i64>(0)?.cast_unsigned();
            let position = Position { epoch: epoch_of(row.get(3)?), number };
            let body = row.get_ref(2)?.as_blob()?;
            end.follow(position, chain_of(row.get_ref(1)?.as_blob()?), body)?;
            visit(Entry::Batch { position, body }).map_err(|error| error.at(&format!("batch {number}")))?;
        }
        Ok(end)
    }
}

impl LogReader for SqliteReader {
    fn read_from(
        &mut self,
        from: Option<End>,
        through: Option<u64>,
        visit: Visit<'_>,
    ) -> Result<End, LogError> {
        self.read_after(|_| (), from, through, visit)
    }
}

/// The epoch and the chain of a batch, if it is there.
pub(super) fn look_up(
    connection: &Connection,
    number: u64,
    has_epochs: bool,
) -> Result<Option<(Epoch, Chain)>, LogError> {
    let epoch = if has_epochs { "epoch" } else { "0" };
    let mut find =
        connection.prepare_cached(&format!("SELECT {epoch}, chain FROM batch WHERE number = ?1"))?;
    let found = find
        .query_row([number.cast_signed()], |row| {
            Ok((epoch_of(row.get(0)?), chain_of(row.get_ref(1)?.as_blob()?)))
        })
        .optional()?;
    Ok(found.and_then(|(epoch, chain)| Some((epoch, chain?))))
}

fn epoch_of(number: i64) -> Epoch {
    Epoch(number.cast_unsigned())
}

pub(super) fn last_snapshot(connection: &Connection) -> Result<Option<Snapshot>, LogError> {
    let sql = "SELECT through, chain, pieces, sum FROM snapshot ORDER BY through DESC LIMIT 1";
    let found = connection
        .query_row(sql, [], |row| {
            let blob = |at| row.get_ref(at).and_then(|value| Ok(chain_of(value.as_blob()?)));
            let number = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
            Ok((number(0)?, blob(1)?, number(2)?, blob(3)?))
        })
        .optional()?;
    match found {
        None => Ok(None),
        Some((through, Some(chain), pieces, Some(sum))) => Ok(Some(Snapshot { through, chain, pieces, sum })),
        Some((through, ..)) => Err(LogError::Damaged(format!("snapshot {through} cannot be read"))),
    }
}

fn read_pieces(
    connection: &Connection,
    journal: u64,
    snapshot: &Snapshot,
    visit: Visit<'_>,
) -> Result<u64, LogError> {
    let mut pieces =
        connection.prepare("SELECT position, body FROM piece WHERE through = ?1 ORDER BY position")?;
    let mut rows = pieces.query([snapshot.through.cast_signed()])?;
    let (mut sum, mut count, mut bytes) = (Chain::of_snapshot(journal, snapshot.through), 0, 0);
    // What is wrong with a piece may only show in the sum, so nothing is said before that is known.
    let mut outcome = Ok(());
    while let Some(row) = rows.next()? {
        let body = row.get_ref(1)?.as_blob()?;
        sum = sum.with(row.get::<_, i64>(0)?.cast_unsigned(), body);
        count += 1;
        bytes += body.len() as u64;
        if outcome.is_ok() {
            outcome = visit(Entry::Piece(body));
        }
    }
    if (count, sum) != (snapshot.pieces, snapshot.sum) {
        return Err(LogError::Damaged("the snapshot is not what was written".to_owned()));
    }
    outcome.map_err(|error| error.at("the snapshot"))?;
    Ok(bytes)
}

fn chain_of(blob: &[u8]) -> Option<Chain> {
    Some(Chain(u128::from_le_bytes(blob.try_into().ok()?)))
}
