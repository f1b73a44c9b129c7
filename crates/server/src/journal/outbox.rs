//! The outbox: records on their way from the node to the writer, and the answers that wait until they are flushed.

use std::{
    error::Error,
    fmt,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    thread,
    time::Duration,
};

use tokio::sync::{Notify, futures::OwnedNotified, watch};

use throttle_journal::{AppendError, Record, encode};
use throttle_node::Offset;

/// The journal cannot be written, so nothing can be promised any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalFailed {
    /// In words.
    pub why: Arc<str>,
    /// Another server leads by now: nothing is wrong with the journal.
    pub is_superseded: bool,
}

impl fmt::Display for JournalFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl Error for JournalFailed {}

/// Where the engine leaves what happens. Cheap to clone.
#[derive(Clone)]
pub struct Outbox(Arc<Inner>);

struct Inner {
    state: Mutex<Queue>,
    /// Told when there is something to write.
    work: Condvar,
    bytes_max: usize,
    /// Everything up to here is safe.
    flushed: AtomicU64,
    /// How many bytes are open.
    open_bytes: AtomicUsize,
    batches: AtomicU64,
    failure: watch::Sender<Option<JournalFailed>>,
}

struct Queue {
    /// Records that no write has begun for.
    open: Vec<u8>,
    records: u64,
    /// How far the log reaches with the open records.
    open_upto: Offset,
    /// The same of what is being written now.
    written_upto: Offset,
    /// With the records up to here the next write begins, though it could wait for more.
    enough_upto: Option<Offset>,
    /// Tells those who wait for the open records.
    when_open_is_safe: Arc<Notify>,
    /// Tells those who wait for what is being written now.
    when_written: Option<Arc<Notify>>,
    is_stopping: bool,
    /// There is more for the writer to do than to write what is open.
    is_called: bool,
    /// Another server leads: what is not written will never be.
    is_given_up: bool,
    failed: Option<JournalFailed>,
}

/// What the writer finds.
pub(super) enum Work {
    /// Records to write, as one batch.
    Batch {
        /// The records.
        body: Vec<u8>,
        /// How many they are.
        records: u64,
        /// How many turns left them.
        turns: u64,
    },
    /// Nothing to write, but something else may be to be done.
    Nothing,
    /// Everything is written, and no more will come.
    End,
}

impl Outbox {
    /// An outbox that is full when `bytes_max` are on their way.
    pub fn new(bytes_max: usize) -> Self {
        let state = Queue {
            open: Vec::new(),
            records: 0,
            open_upto: Offset::default(),
            written_upto: Offset::default(),
            enough_upto: None,
            when_open_is_safe: Arc::default(),
            when_written: None,
            is_stopping: false,
            is_called: false,
            is_given_up: false,
            failed: None,
        };
        Self(Arc::new(Inner {
            state: Mutex::new(state),
            work: Condvar::new(),
            bytes_max,
            flushed: AtomicU64::new(0),
            open_bytes: AtomicUsize::new(0),
            batches: AtomicU64::new(0),
            failure: watch::Sender::new(None),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the records of one turn, all of which become safe together. The log then reaches `upto`.
    pub fn put(&self, records: &[Record], upto: Offset) {
        let mut state = self.lock();
        let was_empty = state.open.is_empty();
        for record in records {
            encode(&mut state.open, record);
            state.records += 1;
        }
        state.open_upto = upto;
        self.0.open_bytes.store(state.open.len(), Relaxed);
        let is_enough = state.enough_upto.is_none_or(|enough| enough <= upto);
        if (was_empty || state.enough_upto.is_some()) && is_enough && !state.open.is_empty() {
            drop(state);
            self.0.work.notify_one();
        }
    }

    /// How far the log is safe.
    pub fn flushed_upto(&self) -> Offset {
        Offset(self.0.flushed.load(Acquire))
    }

    /// How many batches were written.
    pub fn batches(&self) -> u64 {
        self.0.batches.load(Acquire)
    }

    /// Whether so much waits to be written that nothing should be added.
    pub fn is_full(&self) -> bool {
        self.0.open_bytes.load(Relaxed) >= self.0.bytes_max
    }

    /// How far what was put here reaches.
    pub fn put_upto(&self) -> Offset {
        self.lock().open_upto
    }

    /// How many turns left records that are not safe yet.
    pub fn unsafe_turns(&self) -> u64 {
        self.put_upto().0.saturating_sub(self.flushed_upto().0)
    }

    /// Whether no write has begun for what is at this place.
    pub fn is_open(&self, upto: Offset) -> bool {
        self.lock().written_upto < upto
    }

    /// Waits until everything up to `upto` outlives a power cut.
    ///
    /// # Errors
    ///
    /// If that will never be so.
    pub async fn flushed(&self, upto: Offset) -> Result<(), JournalFailed> {
        if self.flushed_upto() >= upto {
            return Ok(());
        }
        self.reached(|_| upto).await
    }

    /// Waits until everything that was put here before this call outlives a power cut.
    ///
    /// # Errors
    ///
    /// If that will never be so.
    pub async fn all_flushed(&self) -> Result<(), JournalFailed> {
        self.reached(|state| state.open_upto).await
    }

    async fn reached(&self, upto: impl FnOnce(&Queue) -> Offset) -> Result<(), JournalFailed> {
        let Some((upto, written)) = self.pending(upto)? else { return Ok(()) };
        written.await;
        if self.flushed_upto() >= upto { Ok(()) } else { self.outcome() }
    }

    /// What completes when everything up to a place is safe; nothing if it is already.
    fn pending(
        &self,
        upto: impl FnOnce(&Queue) -> Offset,
    ) -> Result<Option<(Offset, OwnedNotified)>, JournalFailed> {
        let state = self.lock();
        if let Some(failed) = &state.failed {
            return Err(failed.clone());
        }
        let upto = upto(&state);
        // Made while the lock is held, it hears of every batch that ends from now on.
        let written = if upto <= state.written_upto {
            state.when_written.clone()
        } else {
            Some(state.when_open_is_safe.clone())
        };
        Ok(written.map(|written| (upto, written.notified_owned())))
    }

    fn outcome(&self) -> Result<(), JournalFailed> {
        match &self.lock().failed {
            None => Ok(()),
            Some(failed) => Err(failed.clone()),
        }
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

    /// Why nothing more will be safe, if that is so.
    pub fn failure(&self) -> Option<JournalFailed> {
        self.lock().failed.clone()
    }

    /// What was being written is safe. Returns what tells those who wait for it.
    pub(super) fn written(&self) -> Option<Arc<Notify>> {
        let mut state = self.lock();
        self.0.flushed.store(state.written_upto.0, Release);
        self.0.batches.fetch_add(1, Release);
        state.when_written.take()
    }

    /// Waits for something to do, and after the first record as long as `gathering` for more. `room` is for the records
    /// that come after it.
    pub(super) fn next(&self, gathering: Duration, room: &mut Vec<u8>) -> Work {
        let mut state = self.lock();
        let mut is_gathered = gathering.is_zero() || !state.open.is_empty();
        loop {
            if !state.open.is_empty() {
                if !std::mem::replace(&mut is_gathered, true) {
                    drop(state);
                    thread::sleep(gathering);
                    state = self.lock();
                }
                let body = std::mem::replace(&mut state.open, std::mem::take(room));
                self.0.open_bytes.store(0, Relaxed);
                let records = std::mem::take(&mut state.records);
                state.when_written = Some(std::mem::take(&mut state.when_open_is_safe));
                let turns = state.open_upto.0.saturating_sub(state.written_upto.0);
                state.written_upto = state.open_upto;
                return Work::Batch { body, records, turns };
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

    /// Waits for so many turns more: most of those whom a write lets go on come again at once.
    pub(super) fn gather(&self, turns: u64, at_most: Duration) {
        let mut state = self.lock();
        let enough = Offset(state.open_upto.0.saturating_add(turns));
        state.enough_upto = Some(enough);
        let is_to_wait =
            |state: &mut Queue| state.open_upto < enough && !state.is_stopping && !state.is_called;
        let waited = self.0.work.wait_timeout_while(state, at_most, is_to_wait);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.enough_upto = None;
    }

    /// Wakes the writer, though there is nothing to write.
    pub(super) fn call(&self) {
        self.lock().is_called = true;
        self.0.work.notify_one();
    }

    /// Ends the writer once everything is written.
    pub(super) fn stop(&self) {
        self.lock().is_stopping = true;
        self.0.work.notify_one();
    }

    /// Another server leads: from now on, a write that fails is no fault of the journal.
    pub fn give_up(&self) {
        self.lock().is_given_up = true;
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.lock().is_given_up
    }

    /// Tells everybody that nothing more will be safe.
    pub(super) fn fail(&self, error: &AppendError) {
        let is_superseded = *error == AppendError::Superseded;
        let failed = JournalFailed { why: error.to_string().into(), is_superseded };
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

#[cfg(test)]
mod tests {

    use futures_util::FutureExt as _;

    use super::*;
    use throttle_journal::format::record::CauseRecord;

    /// Ends a peer, whose number is the place in the log too.
    fn put(outbox: &Outbox, peer: u64) {
        outbox.put(&[Record::PeerEnded { peer, cause: CauseRecord::Released }], Offset(peer));
    }

    fn written(outbox: &Outbox) {
        outbox.written().expect("something was").notify_waiters();
    }

    /// Takes what there is to write, and returns how many records that are.
    fn begin_batch(outbox: &Outbox) -> u64 {
        match outbox.next(Duration::ZERO, &mut Vec::new()) {
            Work::Batch { records, .. } => records,
            Work::Nothing | Work::End => panic!("there is something to write"),
        }
    }

    #[test]
    fn who_waits_is_told_when_all_before_is_written() {
        let outbox = Outbox::new(100);
        assert_eq!(outbox.all_flushed().now_or_never(), Some(Ok(())), "there is nothing to wait for");
        put(&outbox, 1);
        put(&outbox, 2);
        let mut first = Box::pin(outbox.all_flushed());
        assert_eq!(first.as_mut().now_or_never(), None);
        assert_eq!(begin_batch(&outbox), 2, "all that is there goes into one batch");
        assert_eq!(outbox.unsafe_turns(), 2);
        assert_eq!(first.as_mut().now_or_never(), None, "it is being written");
        let mut second = Box::pin(outbox.all_flushed());
        assert_eq!(second.as_mut().now_or_never(), None);
        put(&outbox, 3);
        let mut third = Box::pin(outbox.all_flushed());
        assert_eq!(third.as_mut().now_or_never(), None);
        written(&outbox);
        assert_eq!(begin_batch(&outbox), 1);
        assert_eq!(first.now_or_never(), Some(Ok(())));
        assert_eq!(second.now_or_never(), Some(Ok(())));
        assert_eq!(third.as_mut().now_or_never(), None, "its record came later");
        written(&outbox);
        outbox.stop();
        assert!(matches!(outbox.next(Duration::ZERO, &mut Vec::new()), Work::End));
        assert_eq!(third.now_or_never(), Some(Ok(())));
        assert_eq!(outbox.unsafe_turns(), 0);
    }

    #[test]
    fn who_waits_is_told_of_a_failure() {
        let outbox = Outbox::new(100);
        put(&outbox, 1);
        let mut written = Box::pin(outbox.all_flushed());
        assert_eq!(written.as_mut().now_or_never(), None);
        begin_batch(&outbox);
        put(&outbox, 2);
        let mut open = Box::pin(outbox.all_flushed());
        assert_eq!(open.as_mut().now_or_never(), None);
        assert_eq!(outbox.failed().now_or_never(), None);
        outbox.fail(&AppendError::Unknown("the disk is full".to_owned()));
        let failed = JournalFailed {
            why: "whether the batch is there is not known: the disk is full".into(),
            is_superseded: false,
        };
        for told in [written, open, Box::pin(outbox.all_flushed())] {
            assert_eq!(told.now_or_never(), Some(Err(failed.clone())));
        }
        assert_eq!(outbox.failed().now_or_never(), Some(failed));
    }

    #[test]
    fn an_answer_waits_for_its_own_place_in_the_log() {
        let outbox = Outbox::new(100);
        put(&outbox, 1);
        begin_batch(&outbox);
        put(&outbox, 2);
        let mut both = [1, 2].map(|upto| Box::pin(outbox.flushed(Offset(upto))));
        assert!(both.iter_mut().all(|flushed| flushed.as_mut().now_or_never().is_none()));
        written(&outbox);
        assert_eq!(outbox.flushed_upto(), Offset(1));
        let [first, second] = both;
        assert_eq!(
            (first.now_or_never(), outbox.flushed(Offset(1)).now_or_never()),
            (Some(Ok(())), Some(Ok(())))
        );
        assert_eq!(second.now_or_never(), None);
    }

    #[test]
    fn a_write_waits_for_as_many_as_the_last_one_let_go_on() {
        let outbox = Outbox::new(100);
        put(&outbox, 1);
        let (sender, receiver) = std::sync::mpsc::channel();
        let gathering = outbox.clone();
        let thread = thread::spawn(move || {
            gathering.gather(2, Duration::from_mins(1));
            sender.send(gathering.put_upto()).expect("somebody waits");
        });
        // Whichever of them comes first: two turns more are enough.
        while outbox.lock().enough_upto.is_none() {
            thread::yield_now();
        }
        put(&outbox, 2);
        assert_eq!(receiver.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty));
        put(&outbox, 3);
        assert_eq!(receiver.recv(), Ok(Offset(3)));
        thread.join().expect("it ends");
        outbox.gather(2, Duration::ZERO);
        assert_eq!(begin_batch(&outbox), 3);
    }

    #[test]
    fn it_has_a_bound() {
        let outbox = Outbox::new(6);
        put(&outbox, 1);
        assert!(!outbox.is_full());
        put(&outbox, 1 << 40);
        assert!(outbox.is_full());
        begin_batch(&outbox);
        assert!(!outbox.is_full());
    }

    #[test]
    fn the_writer_can_be_called_without_anything_to_write() {
        let outbox = Outbox::new(6);
        outbox.call();
        assert!(matches!(outbox.next(Duration::ZERO, &mut Vec::new()), Work::Nothing));
        outbox.call();
        put(&outbox, 1);
        begin_batch(&outbox);
        assert!(matches!(outbox.next(Duration::ZERO, &mut Vec::new()), Work::Nothing));
    }
}
