//! Reading the log, for any server.

use throttle_core::planted;
use throttle_journal::{End, Entry, Epoch, LogError, Position, Snapshot, Visit, format::Chain};

use crate::{
    election::Leader,
    keys::{BatchHead, Head, Keys},
    kv::{EtcdError, Kv},
    log::EtcdLog,
    proto::{KeyValue, Operation, Outcome, RangeRequest, RangeResponse, ResponseOp, TxnRequest, TxnResponse},
    retry::Pauses,
};

/// How many keys are read at first in one go, and at most: parts are up to a mebibyte, but most batches are small.
const KEYS_FIRST: i64 = 8;
const KEYS_MOST: i64 = 1024;
/// How many bytes in one go are few, so that there may be more.
const FEW_BYTES: usize = 256 << 10;

/// A reader of the log.
pub struct EtcdReader<K> {
    pub(crate) kv: K,
    keys: Keys,
    journal: u64,
    /// How many keys the next request asks for.
    limit: i64,
    leader: Option<Leader>,
    /// Whether it asks again until etcd answers.
    insists: bool,
}

/// A batch of which parts are still to come.
type Open = Option<(u64, BatchHead, Vec<u8>)>;

impl<K: Kv> EtcdReader<K> {
    /// A reader of the log of the deployment with this id.
    pub fn new(kv: K, prefix: &str, journal: u64) -> Self {
        Self { kv, keys: Keys::new(prefix), journal, limit: KEYS_FIRST, leader: None, insists: false }
    }

    /// A reader beside a log, for a snapshot. An etcd that is silent for a while holds it up, as it does the log.
    pub fn of(log: &EtcdLog<K>) -> Self {
        let (kv, keys) = (log.fenced.kv.clone(), log.keys().clone());
        Self { kv, keys, journal: log.journal, limit: KEYS_FIRST, leader: None, insists: true }
    }

    /// Who led when the log was read last.
    pub fn leader(&self) -> Option<&Leader> {
        self.leader.as_ref()
    }

    /// Reads what comes after `from`; without it, begins with the last snapshot. All is read as it was at one moment.
    ///
    /// # Errors
    ///
    /// [`LogError::Trimmed`] if that is gone, or goes while it is read: begin anew.
    pub async fn read_from(
        &mut self,
        from: Option<End>,
        through: Option<u64>,
        visit: Visit<'_>,
    ) -> Result<End, LogError> {
        let first = from.map_or(1, |end| end.number + 1);
        let answer = self.look(first).await?;
        let revision = answer.header.map_or(0, |header| header.revision);
        let mut ranges = answer.responses.into_iter().filter_map(range);
        let (leader, head, batches) = (ranges.next(), ranges.next(), ranges.next());
        self.leader = leader.and_then(|found| found.kvs.first().and_then(Leader::of));
        let head = head.and_then(|found| found.kvs.into_iter().next());
        let head = head.map(|found| Head::read(&found.value)).transpose()?;
        let batches = batches.unwrap_or_default();
        let mut end = match (from, head) {
            (Some(end), Some(head)) if end.number < head.snapshot.through && !self.has(&batches, first) => {
                return Err(LogError::Trimmed);
            }
            (Some(end), _) => end,
            (None, None) => End::start(self.journal),
            (None, Some(head)) => {
                let mut end = self.read_snapshot(&head, revision, visit).await?;
                let first = self.keys.batch(end.number + 1);
                self.read_batches(&mut end, first, None, through, revision, visit).await?;
                return Ok(end);
            }
        };
        let first = self.keys.batch(first);
        self.read_batches(&mut end, first, Some(batches), through, revision, visit).await?;
        Ok(end)
    }

    /// The leader, the last snapshot, and a page of batches from `first` on, all as they are at one moment.
    async fn look(&mut self, first: u64) -> Result<TxnResponse, LogError> {
        let mut pauses = Pauses::default();
        loop {
            let batches = self.page(self.keys.batch(first), self.keys.batches_end(), 0);
            let look = [self.keys.leader(), self.keys.head()].map(RangeRequest::of);
            let asked = look.into_iter().chain([batches]).map(Operation::Range);
            match self.kv.txn(TxnRequest::of(Vec::new(), asked)).await {
                Ok(answer) => return Ok(answer),
                Err(error) => self.hold_on(error, &mut pauses).await?,
            }
        }
    }

    /// After a failure: the next page is a small one, for this one may have been too much for one answer, or for the
    /// time that it has. Waits until it is time to ask again, if this reader insists.
    async fn hold_on(&mut self, error: EtcdError, pauses: &mut Pauses) -> Result<(), LogError> {
        self.limit = KEYS_FIRST;
        match error {
            EtcdError::Unknown(_) | EtcdError::Refused(_) if self.insists && !self.kv.is_stopping() => {
                self.kv.pause(pauses.next_pause()).await;
                Ok(())
            }
            error => Err(error.into()),
        }
    }

    fn has(&self, batches: &RangeResponse, number: u64) -> bool {
        batches.kvs.iter().any(|found| self.keys.batch_of(&found.key) == Some((number, 0)))
    }

    fn page(&self, key: Vec<u8>, range_end: Vec<u8>, revision: i64) -> RangeRequest {
        let revision = if planted!(PagesOfSeveralMoments) { 0 } else { revision };
        RangeRequest { key, range_end, limit: self.limit, revision, keys_only: false }
    }

    /// Reads all keys from one to another, and passes each to `visit` until that is enough.
    async fn walk(
        &mut self,
        mut key: Vec<u8>,
        range_end: &[u8],
        revision: i64,
        mut page: Option<RangeResponse>,
        mut visit: impl FnMut(KeyValue) -> Result<bool, LogError>,
    ) -> Result<(), LogError> {
        loop {
            let found = match page.take() {
                Some(page) => page,
                None => self.next_page(&key, range_end, revision).await?,
            };
            let bytes: usize = found.kvs.iter().map(|one| one.value.len()).sum();
            self.limit = if bytes < FEW_BYTES { (self.limit * 2).min(KEYS_MOST) } else { KEYS_FIRST };
            for one in found.kvs {
                // Behind this one.
                key.clone_from(&one.key);
                key.push(0);
                if !visit(one)? {
                    return Ok(());
                }
            }
            if !found.more {
                return Ok(());
            }
        }
    }

    async fn next_page(
        &mut self,
        key: &[u8],
        range_end: &[u8],
        revision: i64,
    ) -> Result<RangeResponse, LogError> {
        let mut pauses = Pauses::default();
        loop {
            let page = self.page(key.to_vec(), range_end.to_vec(), revision);
            match self.kv.range(page).await {
                Ok(found) => return Ok(found),
                Err(error) => self.hold_on(error, &mut pauses).await?,
            }
        }
    }

    async fn read_snapshot(&mut self, head: &Head, revision: i64, visit: Visit<'_>) -> Result<End, LogError> {
        let Snapshot { through, chain, pieces: count, sum: expected } = head.snapshot;
        let id = head.id();
        let (mut sum, mut bytes, mut seen) = (Chain::of_snapshot(self.journal, through), 0_u64, 0_u64);
        let wrong = || LogError::Damaged("the snapshot is not what was written".to_owned());
        let mut piece = Vec::new();
        let mut index = 0;
        // A piece is whole when the next one begins.
        let mut whole = |index: u64, piece: &[u8]| {
            sum = sum.with(index, piece);
            bytes += piece.len() as u64;
            seen += 1;
            visit(Entry::Piece(piece))
        };
        let (keys, first) = (self.keys.clone(), self.keys.pieces(id));
        let end = self.keys.pieces_end(id);
        self.walk(first, &end, revision, None, |found| {
            let (next, part) = keys.piece_of(id, &found.key).ok_or_else(wrong)?;
            if next >= count {
                return Ok(false);
            }
            if part == 0 && next > 0 {
                whole(index, &piece)?;
                piece.clear();
            }
            index = next;
            piece.extend_from_slice(&found.value);
            Ok(true)
        })
        .await?;
        if count > 0 {
            whole(index, &piece)?;
        }
        if (sum, seen) != (expected, count) {
            return Err(wrong());
        }
        Ok(End { number: through, chain, snapshot_bytes: bytes, batch_bytes: 0 })
    }

    async fn read_batches(
        &mut self,
        end: &mut End,
        first: Vec<u8>,
        page: Option<RangeResponse>,
        through: Option<u64>,
        revision: i64,
        visit: Visit<'_>,
    ) -> Result<(), LogError> {
        let mut open: Open = None;
        let mut close = |open: Open| {
            let Some((number, head, body)) = open else { return Ok(()) };
            let position = Position { epoch: head.epoch, number };
            end.follow(position, Some(head.chain), &body)?;
            visit(Entry::Batch { position, body: &body })
        };
        let (keys, last) = (self.keys.clone(), self.keys.batches_end());
        self.walk(first, &last, revision, page, |found| {
            let wrong = || LogError::Damaged("a key of the log has a wrong name".to_owned());
            let (number, part) = keys.batch_of(&found.key).ok_or_else(wrong)?;
            if through.is_some_and(|through| number > through) {
                return Ok(false);
            }
            if part == 0 {
                close(open.take())?;
                let (head, body) = BatchHead::read(&found.value)?;
                open = Some((number, head, body.to_vec()));
            } else if let Some((of, head, body)) = &mut open
                && *of == number
                && part <= head.more
            {
                body.extend_from_slice(&found.value);
            }
            // A part without its first one is of a batch that was never finished.
            Ok(true)
        })
        .await?;
        close(open)
    }
}

fn range(answer: ResponseOp) -> Option<RangeResponse> {
    match answer.response {
        Some(Outcome::Range(range)) => Some(range),
        _ => None,
    }
}

impl Leader {
    /// Reads the key of the leader.
    fn of(found: &KeyValue) -> Option<Self> {
        let text = str::from_utf8(&found.value).ok()?;
        let name = text.split(' ').next()?.to_owned();
        Some(Self { name, epoch: Epoch(found.create_revision.cast_unsigned()) })
    }
}
