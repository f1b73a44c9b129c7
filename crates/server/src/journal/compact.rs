//! Makes the journal short: what is in it is played on a state machine of its own, and that is written down.
//!
//! The engine is not stopped for it, and nothing of it is copied: what is read is what is on disk.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use throttle_core::{Core, Settings};
use throttle_journal::{Chain, Snapshot, Source, State, StoreError};

use super::outbox::Outbox;

/// How many records a piece has at least.
const PIECE_RECORDS: usize = 4096;
/// How many pieces wait to be written.
const PIECES_WAITING: usize = 2;

/// What the writer is to do for a snapshot.
pub(super) enum Step {
    /// Keep a piece.
    Piece { through: u64, index: u64, body: Vec<u8> },
    /// All pieces are kept.
    Finish { snapshot: Snapshot, bytes: u64 },
    /// What is on disk cannot be read any more.
    Failed(StoreError),
}

/// From the thread that makes a snapshot to the one that writes it.
#[derive(Clone)]
pub(super) struct Steps(Arc<Shared>);

struct Shared {
    waiting: Mutex<VecDeque<Step>>,
    room: Condvar,
    outbox: Outbox,
    is_stopping: AtomicBool,
}

impl Steps {
    pub(super) fn new(outbox: Outbox) -> Self {
        Self(Arc::new(Shared {
            waiting: Mutex::default(),
            room: Condvar::new(),
            outbox,
            is_stopping: AtomicBool::new(false),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Step>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(&self) -> Option<Step> {
        let step = self.lock().pop_front();
        self.0.room.notify_one();
        step
    }

    /// Ends the making of a snapshot, wherever it is.
    pub(super) fn stop(&self) {
        self.0.is_stopping.store(true, Relaxed);
        let _waiting = self.lock();
        self.0.room.notify_one();
    }

    fn is_stopping(&self) -> bool {
        self.0.is_stopping.load(Relaxed)
    }

    /// Hands a step over, once there is room. Tells whether to go on.
    fn put(&self, step: Step) -> bool {
        let mut waiting = self.lock();
        while waiting.len() >= PIECES_WAITING && !self.is_stopping() {
            waiting = self.0.room.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.push_back(step);
        drop(waiting);
        self.0.outbox.call();
        !self.is_stopping()
    }
}

/// Makes a snapshot of everything up to batch `through`, and hands it over in steps.
pub(super) fn run(source: &mut dyn Source, journal: u64, through: u64, settings: Settings, steps: &Steps) {
    match play(source, through, settings, steps) {
        Ok(Some((state, chain))) => {
            let mut snapshot =
                Snapshot { through, chain, pieces: 0, sum: Chain::of_snapshot(journal, through) };
            let mut bytes = 0;
            for body in state.pieces(PIECE_RECORDS) {
                snapshot.sum = snapshot.sum.with(snapshot.pieces, &body);
                bytes += body.len() as u64;
                if !steps.put(Step::Piece { through, index: snapshot.pieces, body }) {
                    return;
                }
                snapshot.pieces += 1;
            }
            steps.put(Step::Finish { snapshot, bytes });
        }
        Ok(None) => {}
        Err(error) => drop(steps.put(Step::Failed(error))),
    }
}

/// Builds the state from what is on disk. `None`: it was stopped.
fn play(
    source: &mut dyn Source,
    through: u64,
    settings: Settings,
    steps: &Steps,
) -> Result<Option<(State, Chain)>, StoreError> {
    // The counters are in the records. Without randomness its tables are slower at worst.
    let mut state = State::new(Core::new(settings, 0, getrandom::u64().unwrap_or_default()));
    let end = source.read(Some(through), &mut |entry| {
        if steps.is_stopping() {
            return Err(StoreError::Busy("stopped".to_owned()));
        }
        state.play(entry.body())
    });
    match end {
        Ok(end) => Ok(Some((state, end.chain))),
        Err(StoreError::Busy(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
