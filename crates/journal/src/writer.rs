//! The writer: the one place that changes the log, as a state machine. A thread drives it in the server, the simulator
//! drives it inline.

use throttle_core::planted;

use crate::{
    format::Chain,
    log::{AppendError, End, Epoch, Log, LogError, Position},
    rules::Rules,
    snapshot::{SnapshotJob, SnapshotStep},
};

/// Writes what a node that leads hands over, and keeps the log short.
pub struct Writer {
    journal: u64,
    epoch: Epoch,
    end: End,
    log: Box<dyn Log>,
    /// The rules by which the log is played.
    rules: Rules,
    /// A snapshot is due once the batches behind the last one have this many bytes, and as many as it has itself.
    snapshot_bytes_min: u64,
    /// A snapshot is being made.
    is_making: bool,
    is_to_trim: bool,
}

impl Writer {
    /// A writer that goes on where the log ends.
    pub fn new(
        journal: u64,
        epoch: Epoch,
        end: End,
        log: Box<dyn Log>,
        rules: Rules,
        snapshot_bytes_min: u64,
    ) -> Self {
        // An earlier run may have ended before it had removed all that was superfluous.
        Self { journal, epoch, end, log, rules, snapshot_bytes_min, is_making: false, is_to_trim: true }
    }

    /// Appends records as one batch. Once this returns, they outlive a power cut.
    ///
    /// # Errors
    ///
    /// If they are not in the log, or nobody can say: then nothing more can be promised.
    pub fn append(&mut self, body: &[u8]) -> Result<(), AppendError> {
        let (mut position, mut chain) = self.next(body);
        if planted!(GapInLog) && position.number.is_multiple_of(16) {
            position.number += 1;
            chain = self.end.chain.then(position, body);
        }
        loop {
            match self.log.append(position, chain, body) {
                Ok(()) => break,
                Err(AppendError::Unknown(_)) if planted!(UnknownTakenForDone) => break,
                Err(AppendError::Unknown(_)) if planted!(UnknownTakenForFailed) => {
                    position.number += 1;
                    chain = chain.then(position, body);
                }
                // What became of it is seen at its place. If it is not there, it is sent again with the same bytes,
                // never with others: the first attempt may still arrive.
                Err(AppendError::Unknown(why)) => match self.log.look_up(position.number) {
                    Ok(Some(found)) if found == (position.epoch, chain) => break,
                    Ok(Some(_)) => return Err(AppendError::Superseded),
                    Ok(None) => {}
                    Err(_) => return Err(AppendError::Unknown(why)),
                },
                Err(error) => return Err(error),
            }
        }
        (self.end.number, self.end.chain) = (position.number, chain);
        self.end.batch_bytes += body.len() as u64;
        Ok(())
    }

    /// Begins a snapshot, if one is due.
    ///
    /// # Errors
    ///
    /// If the log cannot be read.
    pub fn begin_snapshot(&mut self) -> Result<Option<SnapshotJob>, LogError> {
        let is_due = self.end.batch_bytes >= self.end.snapshot_bytes.max(self.snapshot_bytes_min);
        if !is_due || self.is_making || self.is_to_trim {
            return Ok(None);
        }
        // From now on, what is written will be behind it. If it fails, the next one is due after as much again.
        self.end.batch_bytes = 0;
        let (reader, rules) = (self.log.reader()?, self.rules.clone());
        self.is_making = true;
        Ok(Some(SnapshotJob { reader, journal: self.journal, through: self.end.number, rules }))
    }

    /// Takes a step of the snapshot that is being made. Returns how many bytes it has once it is finished.
    ///
    /// # Errors
    ///
    /// If the log cannot be read or written. After a step that [failed](SnapshotStep::Failed), the next snapshot is due
    /// when there is as much again.
    pub fn take(&mut self, step: SnapshotStep) -> Result<Option<u64>, LogError> {
        match step {
            SnapshotStep::Piece { through, index, body } => {
                self.log.put_piece(through, index, &body)?;
                Ok(None)
            }
            SnapshotStep::Finish { snapshot, bytes } => {
                self.log.finish_snapshot(&snapshot)?;
                self.end.snapshot_bytes = bytes;
                (self.is_to_trim, self.is_making) = (true, false);
                Ok(Some(bytes))
            }
            SnapshotStep::Failed(error) => {
                self.is_making = false;
                Err(error)
            }
        }
    }

    /// Whether there may be something to [trim](Writer::trim).
    pub fn is_to_trim(&self) -> bool {
        self.is_to_trim && !self.is_making
    }

    /// Removes some of what is superfluous.
    ///
    /// # Errors
    ///
    /// If the log cannot be written.
    pub fn trim(&mut self) -> Result<(), LogError> {
        if self.is_to_trim() {
            self.is_to_trim = self.log.trim()?;
        }
        Ok(())
    }

    /// Does what is due now and then so that the log stays short. Tells whether anything was due.
    ///
    /// # Errors
    ///
    /// If that failed: nothing is lost, and it is tried again, but an operator should know.
    pub fn keep_up(&mut self) -> Result<bool, LogError> {
        self.log.keep_up()
    }

    /// Where the next batch goes, and the chain with it: for a simulator that cuts a write off.
    pub fn next(&self, body: &[u8]) -> (Position, Chain) {
        let position = Position { epoch: self.epoch, number: self.end.number + 1 };
        (position, self.end.chain.then(position, body))
    }

    /// How far the log is written.
    pub fn end(&self) -> End {
        self.end
    }

    /// How large the log is, in bytes.
    pub fn bytes(&self) -> u64 {
        self.log.bytes()
    }
}

#[cfg(test)]
mod tests {
    use throttle_core::Settings;

    use super::*;
    use crate::{
        format::{Record, encode},
        log::{Election as _, LogReader as _},
        memory::{Fault, MemoryLog},
    };

    fn writer(log: &mut MemoryLog, snapshot_bytes_min: u64) -> Writer {
        let epoch = log.lead().unwrap();
        let end = log.read_from(None, None, &mut |_| Ok(())).unwrap();
        let rules = Rules { core: Settings::default(), idempotency_keys: 10 };
        Writer::new(log.journal(), epoch, end, Box::new(log.clone()), rules, snapshot_bytes_min)
    }

    fn body() -> Vec<u8> {
        let mut body = Vec::new();
        encode(&mut body, &Record::Wall { ahead_us: 7 });
        body
    }

    fn batches(log: &mut MemoryLog) -> u64 {
        log.read_from(None, None, &mut |_| Ok(())).unwrap().number
    }

    #[test]
    fn what_is_not_known_is_looked_up() {
        let mut log = MemoryLog::new(1);
        let mut writer = writer(&mut log, 1000);
        for (fault, number) in [(Fault::UnknownKept, 1), (Fault::UnknownLost, 2)] {
            log.fail_next(fault);
            assert_eq!(writer.append(&body()), Ok(()));
            assert_eq!((writer.end().number, batches(&mut log)), (number, number));
        }
        log.fail_next(Fault::Fails);
        assert!(matches!(writer.append(&body()), Err(AppendError::Failed(_))));
        assert_eq!(batches(&mut log), 2);
    }

    #[test]
    fn a_later_epoch_ends_it() {
        let mut log = MemoryLog::new(1);
        let mut old = writer(&mut log, 1000);
        old.append(&body()).unwrap();
        let mut new = writer(&mut log, 1000);
        assert_eq!(old.append(&body()), Err(AppendError::Superseded));
        assert_eq!(new.append(&body()), Ok(()));
        assert_eq!(old.append(&body()), Err(AppendError::Superseded), "though the next number is free");
    }

    #[test]
    fn a_snapshot_is_made_when_it_is_due_and_then_the_log_is_short() {
        let mut log = MemoryLog::new(1);
        let mut writer = writer(&mut log, 3 * body().len() as u64);
        let mut made = Vec::new();
        for number in 1..=30 {
            writer.append(&body()).unwrap();
            while writer.is_to_trim() {
                writer.trim().unwrap();
            }
            let Some(job) = writer.begin_snapshot().unwrap() else { continue };
            assert_eq!(job.through(), number);
            assert!(writer.begin_snapshot().unwrap().is_none(), "one is being made");
            let steps = job.steps(0);
            assert!(!writer.is_to_trim());
            let finished: Vec<_> = steps.into_iter().filter_map(|step| writer.take(step).unwrap()).collect();
            assert_eq!(finished.len(), 1);
            made.push(number);
        }
        assert_eq!(made.first(), Some(&3));
        assert!(made.windows(2).all(|pair| matches!(pair, [a, b] if b - a >= 3)), "{made:?}");
        let mut entries = 0;
        log.read_from(None, None, &mut |_| {
            entries += 1;
            Ok(())
        })
        .unwrap();
        assert!(entries < 10, "{entries}");
    }

    #[test]
    fn a_snapshot_that_failed_is_tried_again_after_as_much_again() {
        let mut log = MemoryLog::new(1);
        let mut writer = writer(&mut log, 3 * body().len() as u64);
        let mut begun = Vec::new();
        writer.trim().unwrap();
        for number in 1..=9 {
            writer.append(&body()).unwrap();
            if writer.begin_snapshot().unwrap().is_none() {
                continue;
            }
            let failed = SnapshotStep::Failed(LogError::Io("it cannot be read".to_owned()));
            assert!(writer.take(failed).is_err());
            begun.push(number);
        }
        assert_eq!(begun, [3, 6, 9]);
        assert_eq!(batches(&mut log), 9, "nothing is lost");
    }
}
