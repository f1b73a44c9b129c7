//! The log in etcd.

use throttle_journal::{
    AppendError, End, Entry, Epoch, Log, LogError, LogReader, Position, Snapshot, Visit, format::Chain,
};

use crate::{
    client::{Etcd, EtcdError},
    keys::{BatchHead, Keys, parts, read_snapshot, snapshot_value},
    proto::{
        CompactionRequest, CompactionResponse, Compare, CompareResult, CompareTarget, DeleteRangeRequest,
        KeyValue, Operation, Outcome, PutRequest, RangeRequest, RequestOp, Target, TxnRequest, TxnResponse,
    },
};

/// How many superfluous batches are removed in one go.
const BATCHES_AT_ONCE: u64 = 1000;
/// How many keys are read at once: with parts of a mebibyte, answers stay below what is read.
const KEYS_AT_ONCE: i64 = 32;
const COMPACT: &str = "/etcdserverpb.KV/Compact";

/// The log, for the server that leads.
pub struct EtcdLog {
    etcd: Etcd,
    keys: Keys,
    journal: u64,
    epoch: Epoch,
    /// The last snapshot, as far as this server knows: batches up to it may be gone.
    snapshot: Option<Snapshot>,
    /// Up to which batch superfluous ones were removed.
    trimmed: u64,
    /// Whether etcd is told to forget old revisions.
    compacts: bool,
    bytes: u64,
}

/// A reader of the log, for any server.
pub struct EtcdReader {
    etcd: Etcd,
    keys: Keys,
    journal: u64,
}

impl EtcdLog {
    /// The log of the deployment with this id, for the leader of this epoch. Unless others keep their own data in this
    /// etcd, it `compacts`: old revisions are forgotten, or etcd grows without end.
    pub fn new(etcd: Etcd, journal: u64, epoch: Epoch, compacts: bool) -> Self {
        let keys = Keys::new(&etcd.settings().prefix);
        Self { etcd, keys, journal, epoch, snapshot: None, trimmed: 0, compacts, bytes: 0 }
    }

    /// Sends a transaction that has an effect only while this leader leads.
    fn fenced(
        &self,
        more: Vec<Compare>,
        success: Vec<Operation>,
        look: Vec<Operation>,
    ) -> Result<TxnResponse, EtcdError> {
        let mut compare = vec![is_leader(&self.keys, self.epoch)];
        compare.extend(more);
        let operations =
            |all: Vec<Operation>| all.into_iter().map(|one| RequestOp { request: Some(one) }).collect();
        let request = TxnRequest { compare, success: operations(success), failure: operations(look) };
        self.etcd.wait(self.etcd.txn(&request))
    }

    /// The same for what may be repeated as it is: it has to be done, or this leader leads no more.
    fn repeated(&self, success: &[Operation]) -> Result<TxnResponse, LogError> {
        const ATTEMPTS: usize = 10;
        let mut last = LogError::Io("etcd was not asked".to_owned());
        for _ in 0..ATTEMPTS {
            match self.fenced(Vec::new(), success.to_vec(), Vec::new()) {
                Ok(answer) if answer.succeeded => return Ok(answer),
                Ok(_) => return Err(LogError::Io("another server leads by now".to_owned())),
                Err(EtcdError::Unknown(why)) => last = LogError::Io(why),
                Err(error) => return Err(error.of_log()),
            }
        }
        Err(last)
    }

    /// Looks at what is in the way of a batch.
    fn refused(&self, answer: &TxnResponse, number: u64, value: &[u8]) -> Result<(), AppendError> {
        let found = |index: usize| match answer.responses.get(index).and_then(|one| one.response.as_ref()) {
            Some(Outcome::Range(range)) => range.kvs.first(),
            _ => None,
        };
        let (leader, batch) = (found(0), found(1));
        if batch.is_some_and(|batch| batch.value == value) {
            // It is there, whoever leads by now.
            return Ok(());
        }
        if leader.is_none_or(|leader| Epoch(leader.create_revision.cast_unsigned()) != self.epoch) {
            return Err(AppendError::Superseded);
        }
        let why =
            if batch.is_some() { "another batch has this number" } else { "the batch before it is missing" };
        Err(AppendError::Failed(LogError::Io(format!("batch {number} does not fit: {why}"))))
    }

    /// What must be there before a batch.
    fn before(&self, number: u64) -> Option<Compare> {
        let through = self.snapshot.map_or(0, |snapshot| snapshot.through);
        match number.saturating_sub(1) {
            0 => None,
            before if before <= through => Some(exists(self.keys.head(), true)),
            before => Some(exists(self.keys.batch(before), true)),
        }
    }
}

impl Log for EtcdLog {
    fn append(&mut self, position: Position, chain: Chain, body: &[u8]) -> Result<(), AppendError> {
        let Position { epoch, number } = position;
        if epoch != self.epoch {
            return Err(AppendError::Superseded);
        }
        let all = parts(body);
        let more = u32::try_from(all.len().saturating_sub(1)).unwrap_or(u32::MAX);
        let mut value = Vec::new();
        for (index, part) in (0..).zip(all) {
            if index == 0 {
                value = BatchHead { epoch, chain, more }.value(part);
                continue;
            }
            // The others first: the batch is there with its part 0.
            let put = PutRequest { key: self.keys.part(number, index), value: part.to_vec(), lease: 0 };
            let absent = exists(self.keys.batch(number), false);
            let answer = self
                .fenced(vec![absent], vec![Operation::Put(put)], self.look(number))
                .map_err(EtcdError::of_append)?;
            if !answer.succeeded {
                return self.refused(&answer, number, &value);
            }
        }
        let mut compare = vec![exists(self.keys.batch(number), false)];
        compare.extend(self.before(number));
        let put = PutRequest { key: self.keys.batch(number), value: value.clone(), lease: 0 };
        let answer = self
            .fenced(compare, vec![Operation::Put(put)], self.look(number))
            .map_err(EtcdError::of_append)?;
        if !answer.succeeded {
            self.refused(&answer, number, &value)?;
        }
        self.bytes += body.len() as u64;
        Ok(())
    }

    fn look_up(&mut self, number: u64) -> Result<Option<(Epoch, Chain)>, LogError> {
        let request = RangeRequest { key: self.keys.batch(number), ..RangeRequest::default() };
        let found = self.etcd.wait(self.etcd.range(request)).map_err(EtcdError::of_log)?;
        let head = |found: &KeyValue| BatchHead::read(&found.value).map(|(head, _)| (head.epoch, head.chain));
        found.kvs.first().map(head).transpose()
    }

    fn put_piece(&mut self, through: u64, index: u64, piece: &[u8]) -> Result<(), LogError> {
        let mut first = Vec::new();
        if index == 0 {
            // What an earlier attempt left behind.
            first.push(Operation::DeleteRange(DeleteRangeRequest {
                key: self.keys.pieces(through),
                range_end: self.keys.pieces_end(through),
            }));
            self.repeated(&first)?;
        }
        for (part, bytes) in (0..).zip(parts(piece)) {
            let key = self.keys.piece(through, index, part);
            self.repeated(&[Operation::Put(PutRequest { key, value: bytes.to_vec(), lease: 0 })])?;
        }
        Ok(())
    }

    fn finish_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), LogError> {
        let (key, value) = (self.keys.head(), snapshot_value(snapshot));
        self.repeated(&[Operation::Put(PutRequest { key, value, lease: 0 })])?;
        self.snapshot = Some(*snapshot);
        Ok(())
    }

    fn trim(&mut self) -> Result<bool, LogError> {
        let Some(snapshot) = self.snapshot_there()? else { return Ok(false) };
        if self.trimmed >= snapshot.through {
            return Ok(false);
        }
        let first = match self.trimmed {
            0 => self.first_batch()?.unwrap_or(snapshot.through),
            trimmed => trimmed + 1,
        };
        let last = snapshot.through.min(first.saturating_add(BATCHES_AT_ONCE - 1));
        let mut gone = vec![Operation::DeleteRange(DeleteRangeRequest {
            key: self.keys.batch(0),
            range_end: self.keys.batch(last + 1),
        })];
        // Snapshots before this one, and what was left of one that was never finished.
        for (key, range_end) in [
            (self.keys.pieces(0), self.keys.pieces(snapshot.through)),
            (self.keys.pieces_end(snapshot.through), self.keys.all_pieces_end()),
        ] {
            gone.push(Operation::DeleteRange(DeleteRangeRequest { key, range_end }));
        }
        let answer = self.repeated(&gone)?;
        self.trimmed = last;
        if self.compacts {
            let revision = answer.header.map_or(0, |header| header.revision);
            // At the revision of the deletion, or what was deleted stays. If it fails, the next one does it.
            let compact = CompactionRequest { revision };
            let _: Result<CompactionResponse, _> = self.etcd.wait(self.etcd.once(COMPACT, &compact));
        }
        Ok(last < snapshot.through)
    }

    fn reader(&self) -> Result<Box<dyn LogReader>, LogError> {
        Ok(Box::new(EtcdReader::new(self.etcd.clone(), self.journal)))
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl EtcdLog {
    /// What is asked for with a batch, to know what is in its way.
    fn look(&self, number: u64) -> Vec<Operation> {
        [self.keys.leader(), self.keys.batch(number)]
            .map(|key| Operation::Range(RangeRequest { key, ..RangeRequest::default() }))
            .into()
    }

    /// The last snapshot; that of an earlier leader, too.
    fn snapshot_there(&mut self) -> Result<Option<Snapshot>, LogError> {
        if self.snapshot.is_none() {
            let request = RangeRequest { key: self.keys.head(), ..RangeRequest::default() };
            let found = self.etcd.wait(self.etcd.range(request)).map_err(EtcdError::of_log)?;
            self.snapshot = found.kvs.first().map(|found| read_snapshot(&found.value)).transpose()?;
        }
        Ok(self.snapshot)
    }

    /// The number of the first batch that is there.
    fn first_batch(&self) -> Result<Option<u64>, LogError> {
        let (key, range_end) = (self.keys.batch(0), self.keys.batches_end());
        let request = RangeRequest { key, range_end, limit: 1, keys_only: true, revision: 0 };
        let found = self.etcd.wait(self.etcd.range(request)).map_err(EtcdError::of_log)?;
        Ok(found.kvs.first().and_then(|found| self.keys.batch_of(&found.key)).map(|(number, _)| number))
    }
}

impl EtcdReader {
    /// A reader of the log of the deployment with this id.
    pub fn new(etcd: Etcd, journal: u64) -> Self {
        let keys = Keys::new(&etcd.settings().prefix);
        Self { etcd, keys, journal }
    }

    /// Reads all keys from one to another, as they were at one moment, and passes each to `visit` until that is enough.
    fn walk(
        &self,
        mut key: Vec<u8>,
        range_end: &[u8],
        revision: i64,
        mut visit: impl FnMut(KeyValue) -> Result<bool, LogError>,
    ) -> Result<(), LogError> {
        loop {
            let (start, range_end) = (key.clone(), range_end.to_vec());
            let request =
                RangeRequest { key: start, range_end, limit: KEYS_AT_ONCE, revision, keys_only: false };
            let found = self.etcd.wait(self.etcd.range(request)).map_err(EtcdError::of_log)?;
            let more = found.more;
            for one in found.kvs {
                // Behind this one.
                key.clone_from(&one.key);
                key.push(0);
                if !visit(one)? {
                    return Ok(());
                }
            }
            if !more {
                return Ok(());
            }
        }
    }

    fn read_snapshot(&self, snapshot: &Snapshot, revision: i64, visit: Visit<'_>) -> Result<End, LogError> {
        let &Snapshot { through, chain, pieces: count, sum: expected } = snapshot;
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
        self.walk(self.keys.pieces(through), &self.keys.pieces_end(through), revision, |found| {
            let (next, part) = self.keys.piece_of(through, &found.key).ok_or_else(wrong)?;
            if part == 0 && next > 0 {
                whole(index, &piece)?;
                piece.clear();
            }
            index = next;
            piece.extend_from_slice(&found.value);
            Ok(true)
        })?;
        if count > 0 {
            whole(index, &piece)?;
        }
        if (sum, seen) != (expected, count) {
            return Err(wrong());
        }
        Ok(End { number: through, chain, snapshot_bytes: bytes, batch_bytes: 0 })
    }

    fn read_batches(
        &self,
        end: &mut End,
        through: Option<u64>,
        revision: i64,
        visit: Visit<'_>,
    ) -> Result<(), LogError> {
        let first = self.keys.batch(end.number + 1);
        let mut open: Option<(u64, BatchHead, Vec<u8>)> = None;
        let mut close = |open: Option<(u64, BatchHead, Vec<u8>)>| {
            let Some((number, head, body)) = open else { return Ok(()) };
            let position = Position { epoch: head.epoch, number };
            end.follow(position, Some(head.chain), &body)?;
            visit(Entry::Batch { position, body: &body })
        };
        self.walk(first, &self.keys.batches_end(), revision, |found| {
            let wrong = || LogError::Damaged("a key of the log has a wrong name".to_owned());
            let (number, part) = self.keys.batch_of(&found.key).ok_or_else(wrong)?;
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
        })?;
        close(open)
    }
}

impl LogReader for EtcdReader {
    fn read_from(
        &mut self,
        from: Option<End>,
        through: Option<u64>,
        visit: Visit<'_>,
    ) -> Result<End, LogError> {
        let request = RangeRequest { key: self.keys.head(), ..RangeRequest::default() };
        let found = self.etcd.wait(self.etcd.range(request)).map_err(EtcdError::of_log)?;
        let revision = found.header.map_or(0, |header| header.revision);
        let snapshot = found.kvs.first().map(|found| read_snapshot(&found.value)).transpose()?;
        let mut end = match (from, snapshot) {
            (Some(end), Some(snapshot))
                if end.number < snapshot.through && !self.has(end.number + 1, revision)? =>
            {
                return Err(LogError::Trimmed);
            }
            (Some(end), _) => end,
            (None, None) => End::start(self.journal),
            (None, Some(snapshot)) => self.read_snapshot(&snapshot, revision, visit)?,
        };
        self.read_batches(&mut end, through, revision, visit)?;
        Ok(end)
    }
}

impl EtcdReader {
    fn has(&self, number: u64, revision: i64) -> Result<bool, LogError> {
        let request = RangeRequest { key: self.keys.batch(number), revision, ..RangeRequest::default() };
        Ok(!self.etcd.wait(self.etcd.range(request)).map_err(EtcdError::of_log)?.kvs.is_empty())
    }
}

/// That the key of the leader is the one that the leader of this epoch made.
pub(crate) fn is_leader(keys: &Keys, epoch: Epoch) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        key: keys.leader(),
        value: Some(Target::CreateRevision(epoch.0.cast_signed())),
    }
}

/// That a key is there, or is not.
pub(crate) fn exists(key: Vec<u8>, is_there: bool) -> Compare {
    let result = if is_there { CompareResult::Greater } else { CompareResult::Equal };
    Compare {
        result: result.into(),
        target: CompareTarget::Create.into(),
        key,
        value: Some(Target::CreateRevision(0)),
    }
}
