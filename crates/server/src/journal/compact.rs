//! From the thread that makes a snapshot to the one that writes it.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use throttle_journal::SnapshotStep;

use super::outbox::Outbox;

/// How many pieces wait to be written.
const PIECES_WAITING: usize = 2;

/// The queue of steps of a snapshot. Cheap to clone.
#[derive(Clone)]
pub(super) struct Steps(Arc<Queue>);

struct Queue {
    waiting: Mutex<VecDeque<SnapshotStep>>,
    room: Condvar,
    outbox: Outbox,
    is_stopping: AtomicBool,
}

impl Steps {
    pub(super) fn new(outbox: Outbox) -> Self {
        Self(Arc::new(Queue {
            waiting: Mutex::default(),
            room: Condvar::new(),
            outbox,
            is_stopping: AtomicBool::new(false),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<SnapshotStep>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(&self) -> Option<SnapshotStep> {
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

    pub(super) fn is_stopping(&self) -> bool {
        self.0.is_stopping.load(Relaxed)
    }

    /// Hands a step over, once there is room. Tells whether to go on.
    pub(super) fn put(&self, step: SnapshotStep) -> bool {
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

#[cfg(test)]
mod tests {
    use throttle_journal::LogError;

    use super::*;

    #[test]
    fn there_is_a_bound_until_it_stops() {
        let steps = Steps::new(Outbox::new(1));
        let step = || SnapshotStep::Failed(LogError::Trimmed);
        assert!(steps.put(step()) && steps.put(step()));
        let third = std::thread::spawn({
            let steps = steps.clone();
            move || steps.put(step())
        });
        assert!(steps.take().is_some());
        assert!(third.join().unwrap());
        let fourth = std::thread::spawn({
            let steps = steps.clone();
            move || steps.put(step())
        });
        steps.stop();
        assert!(!fourth.join().unwrap(), "nobody takes it");
        assert!(steps.is_stopping());
    }
}
