//! From the engine to the writer: records on their way to the disk, and those who wait until they are there.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, futures::OwnedNotified, watch};

use super::{batch::encode, record::Record};

/// The journal cannot be written, so nothing can be promised any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalFailed(pub Arc<str>);

/// Where the engine leaves what happens. Cheap to clone.
#[derive(Clone)]
pub struct Outbox(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Told when there is something to write.
    work: Condvar,
    bytes_max: usize,
    failure: watch::Sender<Option<JournalFailed>>,
}

struct State {
    /// Records that no write has begun for.
    open: Vec<u8>,
    records: u64,
    /// Tells those who wait for the open records.
    when_open_is_safe: Arc<Notify>,
    /// Tells those who wait for what is being written now.
    when_written: Option<Arc<Notify>>,
    is_stopping: bool,
    /// Somebody has more to do for the writer than to write what is open.
    is_called: bool,
    failed: Option<JournalFailed>,
}

/// What goes into one batch.
pub(super) struct Parcel {
    pub(super) body: Vec<u8>,
    pub(super) records: u64,
}

/// What the writer finds.
pub(super) enum Work {
    /// Records to write.
    Parcel(Parcel),
    /// Nothing to write, but something else may be to be done.
    Nothing,
    /// Everything is written, and no more will come.
    End,
}

impl Outbox {
    /// An outbox that is full when `bytes_max` are on their way.
    pub fn new(bytes_max: usize) -> Self {
        let state = State {
            open: Vec::new(),
            records: 0,
            when_open_is_safe: Arc::default(),
            when_written: None,
            is_stopping: false,
            is_called: false,
            failed: None,
        };
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            work: Condvar::new(),
            bytes_max,
            failure: watch::Sender::new(None),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the records of one command, all of which become safe together.
    pub fn put(&self, records: impl Iterator<Item = Record>) {
        let mut state = self.lock();
        let was_empty = state.open.is_empty();
        for record in records {
            encode(&mut state.open, &record);
            state.records += 1;
        }
        if was_empty && !state.open.is_empty() {
            drop(state);
            self.0.work.notify_one();
        }
    }

    /// Whether so much waits to be written that nothing should be added.
    pub fn is_full(&self) -> bool {
        self.lock().open.len() >= self.0.bytes_max
    }

    /// Waits until everything that was put here before this call outlives a power cut.
    ///
    /// # Errors
    ///
    /// If that will never be so.
    pub async fn settled(&self) -> Result<(), JournalFailed> {
        let Some(written) = self.pending()? else { return Ok(()) };
        written.await;
        match &self.lock().failed {
            None => Ok(()),
            Some(failed) => Err(failed.clone()),
        }
    }

    /// What completes when everything that is here by now is safe; nothing if it is already.
    fn pending(&self) -> Result<Option<OwnedNotified>, JournalFailed> {
        let state = self.lock();
        if let Some(failed) = &state.failed {
            return Err(failed.clone());
        }
        // Made while the lock is held, it hears of every batch that ends from now on.
        Ok(if state.open.is_empty() {
            state.when_written.clone().map(Notify::notified_owned)
        } else {
            Some(state.when_open_is_safe.clone().notified_owned())
        })
    }

    /// Completes when the journal has failed.
    pub async fn failed(&self) -> JournalFailed {
        let mut failure = self.0.failure.subscribe();
        let outcome = match failure.wait_for(Option::is_some).await {
            Ok(failed) => failed.clone(),
            Err(_) => None,
        };
        match outcome {
            Some(failed) => failed,
            None => std::future::pending().await,
        }
    }

    /// Waits for something to do. What was being written before is safe.
    pub(super) fn next(&self) -> Work {
        let mut state = self.lock();
        if let Some(written) = state.when_written.take() {
            written.notify_waiters();
        }
        loop {
            if !state.open.is_empty() {
                let body = std::mem::take(&mut state.open);
                let records = std::mem::take(&mut state.records);
                state.when_written = Some(std::mem::take(&mut state.when_open_is_safe));
                return Work::Parcel(Parcel { body, records });
            }
            if state.is_stopping {
                return Work::End;
            }
            if std::mem::take(&mut state.is_called) {
                return Work::Nothing;
            }
            state = self.0.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Has the writer look up, though there is nothing to write.
    pub(super) fn call(&self) {
        self.lock().is_called = true;
        self.0.work.notify_one();
    }

    /// Has the writer end once everything is written.
    pub(super) fn stop(&self) {
        self.lock().is_stopping = true;
        self.0.work.notify_one();
    }

    /// Tells everybody that nothing more will be safe.
    pub(super) fn fail(&self, why: &str) {
        let failed = JournalFailed(why.into());
        let mut state = self.lock();
        state.failed = Some(failed.clone());
        if let Some(written) = state.when_written.take() {
            written.notify_waiters();
        }
        state.when_open_is_safe.notify_waiters();
        drop(state);
        self.0.failure.send_replace(Some(failed));
    }
}
