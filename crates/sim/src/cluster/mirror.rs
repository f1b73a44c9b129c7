//! What the writer of the journal takes for its log: it decides what is to be done and when, and is told once that was
//! done in etcd. A real server has a thread that waits instead.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use throttle_journal::{
    AppendError, Chain, End, Entry, Epoch, Log, LogError, LogReader, Position, Snapshot, Visit,
};

/// What was done in etcd.
#[derive(Clone, Default)]
pub(super) struct Mirror(Arc<Mutex<Done>>);

#[derive(Default)]
struct Done {
    has_more: bool,
    copied: Copied,
}

/// What was read for a snapshot.
#[derive(Default)]
pub(super) struct Copied {
    entries: Vec<(Option<Position>, Vec<u8>)>,
    end: Option<End>,
}

impl Copied {
    pub(super) fn take(&mut self, entry: Entry<'_>) {
        let position = match entry {
            Entry::Piece(_) => None,
            Entry::Batch { position, .. } => Some(position),
        };
        self.entries.push((position, entry.body().to_vec()));
    }

    pub(super) fn until(self, end: End) -> Self {
        Self { end: Some(end), ..self }
    }
}

impl Mirror {
    fn lock(&self) -> MutexGuard<'_, Done> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is more to trim.
    pub(super) fn set_has_more(&self, has_more: bool) {
        self.lock().has_more = has_more;
    }

    /// What the snapshot is made of.
    pub(super) fn set_copied(&self, copied: Copied) {
        self.lock().copied = copied;
    }
}

impl Log for Mirror {
    fn append(&mut self, _: Position, _: Chain, _: &[u8]) -> Result<(), AppendError> {
        Ok(())
    }

    fn look_up(&mut self, _: u64) -> Result<Option<(Epoch, Chain)>, LogError> {
        Ok(None)
    }

    fn put_piece(&mut self, _: u64, _: u64, _: &[u8]) -> Result<(), LogError> {
        Ok(())
    }

    fn finish_snapshot(&mut self, _: &Snapshot) -> Result<(), LogError> {
        Ok(())
    }

    fn trim(&mut self) -> Result<bool, LogError> {
        Ok(self.lock().has_more)
    }

    fn reader(&self) -> Result<Box<dyn LogReader>, LogError> {
        Ok(Box::new(self.clone()))
    }

    fn bytes(&self) -> u64 {
        0
    }
}

impl LogReader for Mirror {
    fn read_from(&mut self, _: Option<End>, _: Option<u64>, visit: Visit<'_>) -> Result<End, LogError> {
        let Copied { entries, end } = std::mem::take(&mut self.lock().copied);
        for (position, body) in &entries {
            visit(match position {
                None => Entry::Piece(body),
                Some(position) => Entry::Batch { position: *position, body },
            })?;
        }
        end.ok_or_else(|| LogError::Io("nothing was read".to_owned()))
    }
}
