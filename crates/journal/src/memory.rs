//! A log in memory: what the simulator writes to. It does as a disk does, and fails when its owner wants it to.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use throttle_core::planted;

use crate::{
    format::batch::Chain,
    log::{AppendError, Election, End, Entry, Epoch, Log, LogError, LogReader, Position, Snapshot, Visit},
};

/// How many superfluous batches are removed in one go.
const BATCHES_AT_ONCE: usize = 4;

/// A log in memory. Clones are handles on the same log; it outlives the nodes that write to it.
#[derive(Clone)]
pub struct MemoryLog(Arc<Mutex<Kept>>);

/// What becomes of the next batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is refused, and not there.
    Fails,
    /// The outcome is unknown; the batch is there.
    UnknownKept,
    /// The outcome is unknown; the batch is not there.
    UnknownLost,
}

struct Kept {
    journal: u64,
    /// The epoch of the node that leads.
    epoch: Epoch,
    batches: BTreeMap<u64, Batch>,
    /// By the batch that their snapshot goes through.
    pieces: BTreeMap<u64, Vec<Vec<u8>>>,
    snapshot: Option<Snapshot>,
    fault: Option<Fault>,
    /// A batch of which only a part is there.
    torn: Option<u64>,
}

#[derive(Clone)]
struct Batch {
    epoch: Epoch,
    chain: Chain,
    body: Vec<u8>,
}

impl MemoryLog {
    /// An empty log with this id.
    pub fn new(journal: u64) -> Self {
        Self(Arc::new(Mutex::new(Kept {
            journal,
            epoch: Epoch::default(),
            batches: BTreeMap::new(),
            pieces: BTreeMap::new(),
            snapshot: None,
            fault: None,
            torn: None,
        })))
    }

    /// The id of the log.
    pub fn journal(&self) -> u64 {
        self.lock().journal
    }

    /// Decides what becomes of the next batch.
    pub fn fail_next(&self, fault: Fault) {
        self.lock().fault = Some(fault);
    }

    /// A write that a crash cuts off: a part of the batch is there. It was never acknowledged, so recovery drops it, as
    /// that of a write-ahead log does.
    pub fn tear(&self, position: Position, chain: Chain, body: &[u8]) {
        let mut kept = self.lock();
        let body = body.get(..body.len() / 2).unwrap_or_default().to_vec();
        kept.batches.insert(position.number, Batch { epoch: position.epoch, chain, body });
        kept.torn = Some(position.number);
    }

    /// Changes a byte of a kept batch, as a broken disk does. Tells whether the batch is there and has that byte.
    pub fn damage(&self, number: u64, at: usize) -> bool {
        let mut kept = self.lock();
        let byte = kept.batches.get_mut(&number).and_then(|batch| batch.body.get_mut(at));
        byte.map(|byte| *byte ^= 1).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn last(&self) -> u64 {
        let last = self.batches.last_key_value().map(|(number, _)| *number);
        last.or(self.snapshot.map(|snapshot| snapshot.through)).unwrap_or(0)
    }

    fn read(&self, from: Option<End>, through: Option<u64>, visit: Visit<'_>) -> Result<End, LogError> {
        let mut end = match (from, self.snapshot) {
            (Some(end), Some(snapshot))
                if end.number < snapshot.through && !self.batches.contains_key(&(end.number + 1)) =>
            {
                return Err(LogError::Trimmed);
            }
            (Some(end), _) => end,
            (None, None) => End::start(self.journal),
            (None, Some(snapshot)) => self.read_snapshot(&snapshot, visit)?,
        };
        for (&number, batch) in self.batches.range(end.number + 1..) {
            if self.torn == Some(number) && !planted!(TornBatchKept) {
                break;
            }
            if through.is_some_and(|through| number > through) {
                break;
            }
            let Batch { epoch, chain, body } = batch;
            let position = Position { epoch: *epoch, number };
            end.follow(position, Some(*chain), body)?;
            visit(Entry::Batch { position, body })?;
        }
        Ok(end)
    }

    fn read_snapshot(&self, snapshot: &Snapshot, visit: Visit<'_>) -> Result<End, LogError> {
        let &Snapshot { through, chain, pieces: count, sum: expected } = snapshot;
        let pieces = self.pieces.get(&through).map_or(&[][..], Vec::as_slice);
        let (mut sum, mut bytes) = (Chain::of_snapshot(self.journal, through), 0);
        for (index, piece) in (0..).zip(pieces) {
            sum = sum.with(index, piece);
            bytes += piece.len() as u64;
        }
        if (sum, pieces.len() as u64) != (expected, count) {
            return Err(LogError::Damaged("the snapshot is not what was written".to_owned()));
        }
        for piece in pieces {
            visit(Entry::Piece(piece))?;
        }
        Ok(End { number: through, chain, snapshot_bytes: bytes, batch_bytes: 0 })
    }
}

impl LogReader for MemoryLog {
    fn read_from(
        &mut self,
        from: Option<End>,
        through: Option<u64>,
        visit: Visit<'_>,
    ) -> Result<End, LogError> {
        self.lock().read(from, through, visit)
    }
}

impl Election for MemoryLog {
    fn lead(&mut self) -> Result<Epoch, LogError> {
        let mut kept = self.lock();
        kept.epoch.0 += 1;
        if let Some(torn) = kept.torn.take()
            && !planted!(TornBatchKept)
        {
            kept.batches.remove(&torn);
        }
        Ok(kept.epoch)
    }
}

impl Log for MemoryLog {
    fn append(&mut self, position: Position, chain: Chain, body: &[u8]) -> Result<(), AppendError> {
        let mut kept = self.lock();
        let Position { epoch, number } = position;
        if epoch != kept.epoch {
            return Err(AppendError::Superseded);
        }
        if let Some(batch) = kept.batches.get(&number) {
            let is_same = (batch.epoch, batch.chain) == (epoch, chain);
            return if is_same { Ok(()) } else { Err(taken(number).into()) };
        }
        if number != kept.last() + 1 && !planted!(GapInLog) {
            return Err(gap(number, kept.last()).into());
        }
        let fault = kept.fault.take();
        if fault == Some(Fault::Fails) {
            return Err(AppendError::Failed(LogError::Io("the disk is broken".to_owned())));
        }
        if fault != Some(Fault::UnknownLost) {
            kept.batches.insert(number, Batch { epoch, chain, body: body.to_vec() });
        }
        if fault.is_none() { Ok(()) } else { Err(AppendError::Unknown("no answer came".to_owned())) }
    }

    fn look_up(&mut self, number: u64) -> Result<Option<(Epoch, Chain)>, LogError> {
        Ok(self.lock().batches.get(&number).map(|batch| (batch.epoch, batch.chain)))
    }

    fn put_piece(&mut self, through: u64, index: u64, piece: &[u8]) -> Result<(), LogError> {
        let mut kept = self.lock();
        if index == 0 {
            // What an earlier attempt left behind.
            let finished = kept.snapshot.map(|snapshot| snapshot.through);
            kept.pieces.retain(|through, _| Some(*through) == finished);
        }
        kept.pieces.entry(through).or_default().push(piece.to_vec());
        Ok(())
    }

    fn finish_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), LogError> {
        self.lock().snapshot = Some(*snapshot);
        Ok(())
    }

    fn trim(&mut self) -> Result<bool, LogError> {
        let mut kept = self.lock();
        let Some(Snapshot { through, .. }) = kept.snapshot else { return Ok(false) };
        let old: Vec<u64> =
            kept.batches.range(..=through).map(|(number, _)| *number).take(BATCHES_AT_ONCE).collect();
        for number in &old {
            kept.batches.remove(number);
        }
        kept.pieces.retain(|of, _| *of == through);
        Ok(!old.is_empty())
    }

    fn reader(&self) -> Result<Box<dyn LogReader>, LogError> {
        Ok(Box::new(self.clone()))
    }

    fn bytes(&self) -> u64 {
        let kept = self.lock();
        let batches = kept.batches.values().map(|batch| batch.body.len());
        let pieces = kept.pieces.values().flatten().map(Vec::len);
        batches.chain(pieces).sum::<usize>() as u64
    }
}

/// The refusal of a number that another batch has.
pub(crate) fn taken(number: u64) -> LogError {
    LogError::Damaged(format!("batch {number} is there already, and another one"))
}

/// The refusal of a number that does not follow the last.
pub(crate) fn gap(number: u64, last: u64) -> LogError {
    LogError::Damaged(format!("batch {number} does not follow batch {last}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{self, Provider};

    struct InMemory(MemoryLog);

    impl Provider for InMemory {
        fn fresh() -> Self {
            Self(MemoryLog::new(7))
        }

        fn journal(&self) -> u64 {
            self.0.journal()
        }

        fn lead(&mut self) -> (Epoch, Box<dyn Log>) {
            (self.0.lead().unwrap(), Box::new(self.0.clone()))
        }

        fn reader(&mut self) -> Box<dyn LogReader> {
            Box::new(self.0.clone())
        }

        fn crash(&mut self) {}

        fn damage(&mut self, number: u64) {
            assert!(self.0.damage(number, 0));
        }
    }

    #[test]
    fn it_does_as_every_log_does() {
        conformance::check_all::<InMemory>();
    }

    #[test]
    fn a_torn_batch_was_never_there() {
        let mut log = MemoryLog::new(7);
        let position = Position { epoch: log.lead().unwrap(), number: 1 };
        let chain = Chain::start(7).then(position, b"whole");
        log.tear(position, chain, b"whole");
        assert_eq!(log.read_from(None, None, &mut |_| panic!("it is cut off")).map(|end| end.number), Ok(0));
        let position = Position { epoch: log.lead().unwrap(), number: 1 };
        assert_eq!(log.append(position, Chain::start(7).then(position, b"next"), b"next"), Ok(()));
        assert_eq!(log.read_from(None, None, &mut |_| Ok(())).map(|end| end.number), Ok(1));
    }

    #[test]
    fn it_fails_as_it_is_told() {
        let mut log = MemoryLog::new(7);
        let position = Position { epoch: log.lead().unwrap(), number: 1 };
        let chain = Chain::start(7).then(position, b"a");
        log.fail_next(Fault::Fails);
        assert!(matches!(log.append(position, chain, b"a"), Err(AppendError::Failed(_))));
        log.fail_next(Fault::UnknownLost);
        assert!(matches!(log.append(position, chain, b"a"), Err(AppendError::Unknown(_))));
        assert_eq!(log.look_up(1), Ok(None));
        log.fail_next(Fault::UnknownKept);
        assert!(matches!(log.append(position, chain, b"a"), Err(AppendError::Unknown(_))));
        assert_eq!(log.look_up(1), Ok(Some((position.epoch, chain))));
        assert_eq!((log.append(position, chain, b"a"), log.bytes()), (Ok(()), 1));
    }
}
