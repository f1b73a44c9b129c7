//! Reading, with every check.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};

use super::schema;
use crate::{
    format::batch::Chain,
    log::{End, Entry, Snapshot, Source, StoreError, Visit},
};

/// A connection that only reads.
pub(super) struct SqliteSource {
    connection: Connection,
}

impl SqliteSource {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { connection: schema::open_to_read(path)? })
    }

    /// The id of the journal.
    pub(super) fn journal(&self) -> Result<u64, StoreError> {
        let id: i64 = self.connection.query_row("SELECT id FROM journal", [], |row| row.get(0))?;
        Ok(id.cast_unsigned())
    }

    /// The chain with a batch, if that batch is still there.
    pub(super) fn chain_at(&self, number: u64) -> Result<Option<Chain>, StoreError> {
        let sql = "SELECT chain FROM batch WHERE number = ?1";
        let chain = |row: &rusqlite::Row<'_>| row.get_ref(0).and_then(|value| Ok(chain_of(value.as_blob()?)));
        Ok(self.connection.query_row(sql, [number.cast_signed()], chain).optional()?.flatten())
    }

    /// Looks at the structure of the file, so that no page of it is used twice.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let found: String = self.connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if found == "ok" { Ok(()) } else { Err(StoreError::Damaged(found.replace('\n', " "))) }
    }
}

impl SqliteSource {
    /// [`Source::read`], which first tells the snapshot that the pieces are of, all in one look at the file.
    pub(super) fn read_after(
        &mut self,
        begin: impl FnOnce(Option<Snapshot>),
        through: Option<u64>,
        visit: Visit<'_>,
    ) -> Result<End, StoreError> {
        let journal = self.journal()?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
        let mut end = End { number: 0, chain: Chain::start(journal), snapshot_bytes: 0, batch_bytes: 0 };
        let snapshot = last_snapshot(&transaction)?;
        begin(snapshot);
        if let Some(snapshot) = snapshot {
            end.snapshot_bytes = read_pieces(&transaction, journal, &snapshot, visit)?;
            (end.number, end.chain) = (snapshot.through, snapshot.chain);
        }
        let sql = "SELECT number, chain, body FROM batch WHERE number > ?1 ORDER BY number";
        let mut batches = transaction.prepare(sql)?;
        let mut rows = batches.query([end.number.cast_signed()])?;
        while through.is_none_or(|through| end.number < through)
            && let Some(row) = rows.next()?
        {
            let number = row.get::<_, i64>(0)?.cast_unsigned();
            let body = row.get_ref(2)?.as_blob()?;
            let chain = end.chain.with(number, body);
            if number != end.number + 1 {
                return Err(StoreError::Damaged(format!("batch {} is missing", end.number + 1)));
            }
            if chain_of(row.get_ref(1)?.as_blob()?) != Some(chain) {
                return Err(StoreError::Damaged(format!("batch {number} is not what was written")));
            }
            visit(Entry::Batch { number, body }).map_err(|error| error.at(&format!("batch {number}")))?;
            (end.number, end.chain) = (number, chain);
            end.batch_bytes += body.len() as u64;
        }
        Ok(end)
    }
}

impl Source for SqliteSource {
    fn read(&mut self, through: Option<u64>, visit: Visit<'_>) -> Result<End, StoreError> {
        self.read_after(|_| (), through, visit)
    }
}

pub(super) fn last_snapshot(connection: &Connection) -> Result<Option<Snapshot>, StoreError> {
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
        Some((through, ..)) => Err(StoreError::Damaged(format!("snapshot {through} cannot be read"))),
    }
}

fn read_pieces(
    connection: &Connection,
    journal: u64,
    snapshot: &Snapshot,
    visit: Visit<'_>,
) -> Result<u64, StoreError> {
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
        return Err(StoreError::Damaged("the snapshot is not what was written".to_owned()));
    }
    outcome.map_err(|error| error.at("the snapshot"))?;
    Ok(bytes)
}

fn chain_of(blob: &[u8]) -> Option<Chain> {
    Some(Chain(u128::from_le_bytes(blob.try_into().ok()?)))
}
