//! The log, for the server that leads. Whatever etcd does not answer is tried again, with the same bytes, until it
//! does: a write that was given up may still arrive, so nothing else can be put in its place.

use throttle_core::planted;
use throttle_journal::{AppendError, Epoch, LogError, Position, Snapshot, format::Chain};

use crate::{
    keys::{BatchHead, Head, Keys, PART_BYTES, SnapshotId, parts},
    kv::Kv,
    proto::{
        Compare, CompareResult, CompareTarget, DeleteRangeRequest, KeyValue, Operation, Outcome, PutRequest,
        RangeRequest, Target, TxnResponse,
    },
    term::{Fenced, Term, exists},
};

/// How many superfluous batches are removed in one go.
const BATCHES_AT_ONCE: u64 = 1000;

/// The log, for the server that leads.
pub struct EtcdLog<K> {
    pub(crate) fenced: Fenced<K>,
    pub(crate) journal: u64,
    /// The snapshot that counts, and the revision at which it came to count: batches up to it may be gone.
    head: Option<(Head, i64)>,
    /// Up to which batch superfluous ones were removed.
    trimmed: u64,
    /// Whether etcd is told to forget old revisions.
    compacts: bool,
    /// The most bytes of one value.
    part_bytes: usize,
    bytes: u64,
}

impl<K: Kv> EtcdLog<K> {
    /// The log of the deployment with this id, for the leader of this term. Unless others keep their own data in this
    /// etcd, it `compacts`: old revisions are forgotten, or etcd grows without end.
    ///
    /// # Errors
    ///
    /// If what is there cannot be read.
    pub async fn open(
        kv: K,
        prefix: &str,
        journal: u64,
        term: Term,
        compacts: bool,
    ) -> Result<Self, LogError> {
        let fenced = Fenced { kv, keys: Keys::new(prefix), term };
        let mut log =
            Self { fenced, journal, head: None, trimmed: 0, compacts, part_bytes: PART_BYTES, bytes: 0 };
        let found = log.fenced.read(RangeRequest::of(log.keys().head())).await?;
        log.head = found.first().map(read_head).transpose()?;
        Ok(log)
    }

    /// Writes values of at most so many bytes from now on, which is at least one: for whoever tests how bodies are cut
    /// into parts.
    pub fn cut_at(&mut self, bytes: usize) {
        self.part_bytes = bytes.max(1);
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.fenced.keys
    }

    fn epoch(&self) -> Epoch {
        self.fenced.term.epoch
    }

    /// How many bytes of batches it has written.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends a batch. It comes back once the batch is there, or another server leads.
    ///
    /// # Errors
    ///
    /// If another server leads; or if something else is where the batch belongs, or nobody waits for it any more.
    pub async fn append(&mut self, position: Position, chain: Chain, body: &[u8]) -> Result<(), AppendError> {
        let Position { epoch, number } = position;
        if epoch != self.epoch() {
            return Err(AppendError::Superseded);
        }
        let mut all = parts(body, self.part_bytes);
        let first = all.next().unwrap_or_default();
        let more = u32::try_from(all.len()).unwrap_or(u32::MAX);
        let value = BatchHead { epoch, chain, more }.value(first);
        // The others first: the batch is there with its part 0.
        for (index, part) in (1..).zip(all) {
            let absent = vec![exists(self.keys().batch(number), false)];
            let put = put(self.keys().part(number, index), part.to_vec());
            let answer = self.fenced.sure(absent, vec![put], vec![self.keys().batch(number)]).await?;
            if !answer.succeeded {
                return self.refused(&answer, number, &value);
            }
        }
        let compare = vec![exists(self.keys().batch(number), false), self.before(number)];
        let put = put(self.keys().batch(number), value.clone());
        let answer = self.fenced.sure(compare, vec![put], vec![self.keys().batch(number)]).await?;
        if !answer.succeeded {
            self.refused(&answer, number, &value)?;
        }
        self.bytes += body.len() as u64;
        Ok(())
    }

    /// What must be there before a batch. Where that is a snapshot, it must be the very one that is known: an attempt
    /// that arrives once a later one counts would bring a batch back that was removed since.
    fn before(&self, number: u64) -> Compare {
        match (self.head, number.saturating_sub(1)) {
            (None, 0) if planted!(TrimmedBatchBack) => exists(self.keys().leader(), true),
            (Some((head, _)), before) if before <= head.snapshot.through && planted!(TrimmedBatchBack) => {
                exists(self.keys().head(), true)
            }
            (Some((head, revision)), before) if before <= head.snapshot.through => {
                is_of_revision(self.keys().head(), revision)
            }
            (_, 0) => exists(self.keys().head(), false),
            (_, before) => exists(self.keys().batch(before), true),
        }
    }

    /// Looks at what is in the way of a batch.
    fn refused(&self, answer: &TxnResponse, number: u64, value: &[u8]) -> Result<(), AppendError> {
        let (leader, batch) = (found(answer, 0), found(answer, 1));
        if batch.is_some_and(|batch| batch.value == value) {
            // It is there, whoever leads by now.
            return Ok(());
        }
        if !self.fenced.term.made(leader) {
            return Err(AppendError::Superseded);
        }
        let why =
            if batch.is_some() { "another batch has this number" } else { "the batch before it is missing" };
        Err(AppendError::Failed(LogError::Io(format!("batch {number} does not fit: {why}"))))
    }

    /// The epoch and the chain of the batch with a number, if that batch is there.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub async fn look_up(&self, number: u64) -> Result<Option<(Epoch, Chain)>, LogError> {
        let found = self.fenced.read(RangeRequest::of(self.keys().batch(number))).await?;
        let head = |found: &KeyValue| BatchHead::read(&found.value).map(|(head, _)| (head.epoch, head.chain));
        found.first().map(head).transpose()
    }

    /// Keeps a piece of a snapshot.
    ///
    /// # Errors
    ///
    /// If another server leads.
    pub async fn put_piece(&mut self, through: u64, index: u64, piece: &[u8]) -> Result<(), LogError> {
        let id = SnapshotId { through, epoch: self.epoch() };
        for (part, bytes) in (0..).zip(parts(piece, self.part_bytes)) {
            self.fenced.surely(vec![put(self.keys().piece(id, index, part), bytes.to_vec())]).await?;
        }
        Ok(())
    }

    /// Lets a snapshot count, whose pieces are there.
    ///
    /// # Errors
    ///
    /// If another server leads.
    pub async fn finish_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), LogError> {
        let head = Head { snapshot: *snapshot, epoch: self.epoch() };
        let (key, value) = (self.keys().head(), head.value());
        // An attempt that arrives once a later snapshot counts must not take that one's place.
        let unchanged = match self.head {
            None => exists(key.clone(), false),
            Some((_, revision)) => is_of_revision(key.clone(), revision),
        };
        let unchanged = if planted!(HeadNotCompared) { Vec::new() } else { vec![unchanged] };
        let answer = self.fenced.sure(unchanged, vec![put(key.clone(), value.clone())], vec![key]).await?;
        let revision = match found(&answer, 1) {
            _ if answer.succeeded => answer.header.map_or(0, |header| header.revision),
            Some(found) if found.value == value => found.mod_revision,
            _ if !self.fenced.term.made(found(&answer, 0)) => return Err(LogError::Superseded),
            _ => return Err(LogError::Io("another snapshot is there than this leader knows".to_owned())),
        };
        self.head = Some((head, revision));
        Ok(())
    }

    /// Removes some of what the last snapshot has made superfluous. Tells whether there is more.
    ///
    /// # Errors
    ///
    /// If another server leads.
    pub async fn trim(&mut self) -> Result<bool, LogError> {
        let Some((head, _)) = self.head else { return Ok(false) };
        let through = head.snapshot.through;
        if self.trimmed >= through {
            return Ok(false);
        }
        let first = match self.trimmed {
            0 => self.first_batch().await?.unwrap_or(through),
            trimmed => trimmed + 1,
        };
        let last = through.min(first.saturating_add(BATCHES_AT_ONCE - 1));
        let last = last + u64::from(planted!(TrimTakesOneMore));
        let keys = self.keys();
        // Nothing here is of a later snapshot, so an attempt that arrives late does no harm. One that this leader
        // writes may end with the same batch as the one that counts, if that is of an earlier leader.
        let through_later = if planted!(TrimTakesLaterPieces) { u64::MAX } else { through };
        let later = keys.pieces(SnapshotId { through: through_later, epoch: self.epoch() });
        let mut gone =
            vec![(keys.batch(0), keys.batch(last + 1)), (keys.all_pieces(), keys.pieces(head.id()))];
        // What an earlier leader did not finish.
        gone.extend(Some((keys.pieces_end(head.id()), later)).filter(|(start, end)| start < end));
        let gone = gone
            .into_iter()
            .map(|(key, range_end)| Operation::DeleteRange(DeleteRangeRequest { key, range_end }));
        let answer = self.fenced.surely(gone.collect()).await?;
        self.trimmed = last;
        if self.compacts {
            // At the revision of the deletion, or what was deleted stays. If it fails, the next one does it.
            let _ = self.fenced.kv.compact(answer.header.map_or(0, |header| header.revision)).await;
        }
        Ok(last < through)
    }

    /// The number of the first batch that is there.
    async fn first_batch(&self) -> Result<Option<u64>, LogError> {
        let (key, range_end) = (self.keys().batch(0), self.keys().batches_end());
        let request = RangeRequest { key, range_end, limit: 1, keys_only: true, revision: 0 };
        let found = self.fenced.read(request).await?;
        Ok(found.first().and_then(|found| self.keys().batch_of(&found.key)).map(|(number, _)| number))
    }
}

fn read_head(found: &KeyValue) -> Result<(Head, i64), LogError> {
    Ok((Head::read(&found.value)?, found.mod_revision))
}

fn put(key: Vec<u8>, value: Vec<u8>) -> Operation {
    Operation::Put(PutRequest { key, value, lease: 0 })
}

fn found(answer: &TxnResponse, index: usize) -> Option<&KeyValue> {
    match answer.responses.get(index)?.response.as_ref()? {
        Outcome::Range(range) => range.kvs.first(),
        Outcome::Put(_) | Outcome::DeleteRange(_) => None,
    }
}

/// That a key is as it was at this revision.
fn is_of_revision(key: Vec<u8>, revision: i64) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key,
        value: Some(Target::ModRevision(revision)),
    }
}
