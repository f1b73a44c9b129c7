//! The making of a snapshot: what is in the log is played on a state machine of its own, and that is written down.
//!
//! The node is not stopped for it, and nothing of it is copied: what is read is what the log says.

use throttle_core::planted;

use crate::{
    format::{Chain, State},
    log::{LogError, LogReader, Snapshot},
    rules::Rules,
};

/// How many records a piece has at least.
const PIECE_RECORDS: usize = 4096;

/// A snapshot to be made.
pub struct SnapshotJob {
    pub(crate) reader: Box<dyn LogReader>,
    pub(crate) journal: u64,
    pub(crate) through: u64,
    pub(crate) rules: Rules,
}

/// What the writer is to do for a snapshot.
#[derive(Debug)]
pub enum SnapshotStep {
    /// Keep a piece.
    Piece {
        /// The last batch that its snapshot has in it.
        through: u64,
        /// Its place among the pieces.
        index: u64,
        /// Its records.
        body: Vec<u8>,
    },
    /// All pieces are kept.
    Finish {
        /// The snapshot.
        snapshot: Snapshot,
        /// How many bytes its pieces have.
        bytes: u64,
    },
    /// The log cannot be read any more.
    Failed(LogError),
}

impl SnapshotJob {
    /// A snapshot of what `reader` reads, up to batch `through` of the journal with this id, played by these rules.
    pub fn new(reader: Box<dyn LogReader>, journal: u64, through: u64, rules: Rules) -> Self {
        Self { reader, journal, through, rules }
    }

    /// The last batch that the snapshot will have in it.
    pub fn through(&self) -> u64 {
        self.through
    }

    /// Makes the snapshot, and hands it over step by step to `put`, which tells whether to go on. `hash_seed` is a
    /// random number, of no influence on what is written. `is_over` is asked while the log is read.
    pub fn run(
        mut self,
        hash_seed: u64,
        mut is_over: impl FnMut() -> bool,
        mut put: impl FnMut(SnapshotStep) -> bool,
    ) {
        let through = self.through;
        let (state, chain) = match self.play(hash_seed, &mut is_over) {
            Ok(Some(played)) => played,
            Ok(None) => return,
            Err(error) => {
                put(SnapshotStep::Failed(error));
                return;
            }
        };
        let sum = Chain::of_snapshot(self.journal, through);
        let (mut snapshot, mut bytes) = (Snapshot { through, chain, pieces: 0, sum }, 0);
        for body in state.pieces(PIECE_RECORDS) {
            snapshot.sum = snapshot.sum.with(snapshot.pieces, &body);
            bytes += body.len() as u64;
            if !put(SnapshotStep::Piece { through, index: snapshot.pieces, body }) {
                return;
            }
            snapshot.pieces += 1;
        }
        put(SnapshotStep::Finish { snapshot, bytes });
    }

    /// All steps at once, for whoever makes the snapshot inline.
    pub fn steps(self, hash_seed: u64) -> Vec<SnapshotStep> {
        let mut steps = Vec::new();
        self.run(
            hash_seed,
            || false,
            |step| {
                steps.push(step);
                true
            },
        );
        if planted!(HeadBeforePieces) {
            steps.rotate_right(1);
        }
        steps
    }

    /// Builds the state from what is in the log. `None`: it is over before that is done.
    fn play(
        &mut self,
        hash_seed: u64,
        is_over: &mut dyn FnMut() -> bool,
    ) -> Result<Option<(State, Chain)>, LogError> {
        let through = self.through - u64::from(planted!(SnapshotOneShort));
        loop {
            let mut state = self.rules.state(hash_seed);
            let end = self.reader.read_from(None, Some(through), &mut |entry| {
                if is_over() {
                    return Err(LogError::Busy("stopped".to_owned()));
                }
                state.play(entry.body())
            });
            match end {
                Ok(end) if end.number == through => return Ok(Some((state, end.chain))),
                Ok(end) => {
                    let what = format!("batch {} is missing", end.number + 1);
                    return Err(LogError::Damaged(what));
                }
                Err(LogError::Busy(_)) => return Ok(None),
                // What it read is forgotten by now: it begins anew.
                Err(LogError::Trimmed) if !is_over() => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use throttle_core::{By, Core, EndCause, PeerId, Settings};

    use super::*;
    use crate::{
        format::{Record, encode},
        log::{Election as _, End, Log as _, Position, Visit},
        memory::MemoryLog,
    };

    const BATCHES: u64 = 60;

    fn rules() -> Rules {
        Rules { core: Settings::default(), idempotency_keys: 10 }
    }

    /// A log of a core whose peers come and go.
    fn log() -> MemoryLog {
        let mut log = MemoryLog::new(5);
        let epoch = log.lead().unwrap();
        let mut core = Core::new(Settings::default(), 0, 0);
        let (mut now, mut chain, mut peers) = (core.now(), Chain::start(5), Vec::<PeerId>::new());
        for number in 1..=BATCHES {
            now = now + Duration::from_millis(1);
            match number % 3 {
                0 => drop(core.end_peer(now, peers.remove(0).by_server(), EndCause::Released)),
                _ => {
                    peers
                        .push(core.new_peer(now, By::Anybody, Duration::from_mins(1), number, None).unwrap());
                }
            }
            let mut body = Vec::new();
            let records = core.drain_events().filter_map(|event| Record::of(&event));
            records.for_each(|record| encode(&mut body, &record));
            let position = Position { epoch, number };
            chain = chain.then(position, &body);
            log.append(position, chain, &body).unwrap();
        }
        log
    }

    fn job(log: &MemoryLog, through: u64) -> SnapshotJob {
        SnapshotJob { reader: log.reader().unwrap(), journal: 5, through, rules: rules() }
    }

    /// A reader whose log forgets what it reads, once.
    struct Forgetful(Box<dyn LogReader>, bool);

    impl LogReader for Forgetful {
        fn read_from(
            &mut self,
            from: Option<End>,
            through: Option<u64>,
            visit: Visit<'_>,
        ) -> Result<End, LogError> {
            let end = self.0.read_from(from, through, visit)?;
            if std::mem::replace(&mut self.1, true) { Ok(end) } else { Err(LogError::Trimmed) }
        }
    }

    #[test]
    fn it_begins_anew_when_what_it_reads_is_forgotten() {
        let (log, through) = (log(), BATCHES / 2);
        let sums = [false, true].map(|is_sure| {
            let reader = Box::new(Forgetful(log.reader().unwrap(), is_sure));
            let job = SnapshotJob { reader, journal: 5, through, rules: rules() };
            match job.steps(0).pop() {
                Some(SnapshotStep::Finish { snapshot, .. }) => snapshot.sum,
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(sums[0], sums[1]);
    }

    fn pieces(state: &State) -> Vec<Vec<u8>> {
        state.pieces(7).collect()
    }

    #[test]
    fn a_snapshot_has_in_it_what_it_says() {
        let (mut log, through) = (log(), BATCHES / 2);
        let mut whole = rules().state(0);
        log.read_from(None, Some(through), &mut |entry| whole.play(entry.body())).unwrap();
        let mut is_finished = false;
        for step in job(&log, through).steps(0) {
            match step {
                SnapshotStep::Piece { through, index, body } => {
                    log.put_piece(through, index, &body).unwrap();
                }
                SnapshotStep::Finish { snapshot, bytes } => {
                    assert!(bytes > 0);
                    log.finish_snapshot(&snapshot).unwrap();
                    is_finished = true;
                }
                SnapshotStep::Failed(error) => panic!("{error}"),
            }
        }
        assert!(is_finished);
        let mut played = rules().state(0);
        log.read_from(None, Some(through), &mut |entry| played.play(entry.body())).unwrap();
        assert_eq!(pieces(&played), pieces(&whole));
    }

    #[test]
    fn a_snapshot_of_what_cannot_be_read_is_none() {
        let (whole, log) = (log(), log());
        assert!(log.damage(3, 0));
        let steps = job(&log, 10).steps(0);
        assert!(matches!(steps.as_slice(), [SnapshotStep::Failed(LogError::Damaged(_))]), "{steps:?}");
        // It is not said to have what is not there.
        let steps = job(&whole, BATCHES + 1).steps(0);
        assert!(matches!(steps.as_slice(), [SnapshotStep::Failed(LogError::Damaged(_))]), "{steps:?}");
    }

    #[test]
    fn a_snapshot_ends_when_the_writer_does() {
        job(&log(), 10).run(0, || true, |step| panic!("{step:?}"));
        let mut steps = 0;
        job(&log(), 10).run(
            0,
            || false,
            |_| {
                steps += 1;
                false
            },
        );
        assert_eq!(steps, 1);
    }
}
