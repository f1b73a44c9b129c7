//! The thread that writes.

use std::{
    fs::File,
    io,
    thread::{self, JoinHandle},
};

use throttle_core::Settings;
use throttle_journal::{Batch, End, Store, StoreError};
use tokio::time::Instant;
use tracing::{debug, error, info};

use super::{
    compact::{self, Step, Steps},
    figures::Figures,
    outbox::{Outbox, Work},
};

/// What the writer begins with.
pub struct Beginning {
    /// Identifies the journal.
    pub journal: u64,
    /// Where it goes on.
    pub end: End,
    /// What keeps it.
    pub store: Box<dyn Store>,
    /// Held as long as the writer runs.
    pub lock: File,
    /// The rules by which the journal is played.
    pub settings: Settings,
    /// A snapshot is made once the batches behind the last one have this many bytes, and as many as it has itself.
    pub snapshot_bytes_min: u64,
    /// What it does is counted here.
    pub figures: Figures,
}

/// The thread that writes.
pub struct Writer {
    outbox: Outbox,
    thread: JoinHandle<()>,
}

impl Writer {
    /// Begins to write what is put into `outbox`.
    pub fn start(beginning: Beginning, outbox: Outbox) -> io::Result<Self> {
        let thread = thread::Builder::new().name("journal".to_owned()).spawn({
            let outbox = outbox.clone();
            move || {
                let mut task = Task::new(beginning, outbox.clone());
                if let Err(error) = task.run() {
                    error!("The journal cannot be written: {error}");
                    outbox.fail(&error.to_string());
                }
                task.steps.stop();
            }
        })?;
        Ok(Self { outbox, thread })
    }

    /// Writes what is left, and ends.
    pub fn stop(self) {
        self.outbox.stop();
        let _ = self.thread.join();
    }
}

struct Task {
    beginning: Beginning,
    outbox: Outbox,
    steps: Steps,
    /// When the snapshot was begun that is being made.
    snapshot_begun: Option<Instant>,
    is_to_trim: bool,
}

impl Task {
    fn new(beginning: Beginning, outbox: Outbox) -> Self {
        let steps = Steps::new(outbox.clone());
        // An earlier run may have ended before it had removed all that was superfluous.
        Self { beginning, outbox, steps, snapshot_begun: None, is_to_trim: true }
    }

    fn run(&mut self) -> Result<(), StoreError> {
        self.beginning.figures.size_bytes.set(size(&*self.beginning.store));
        loop {
            if self.is_to_trim {
                self.outbox.call();
            }
            match self.outbox.next() {
                Work::End => return Ok(()),
                Work::Nothing => {}
                Work::Parcel(parcel) => {
                    self.append(parcel.body)?;
                    self.beginning.figures.records.inc_by(parcel.records);
                }
            }
            if let Some(step) = self.steps.take() {
                self.take_step(step)?;
                // There may be more.
                self.outbox.call();
            } else if self.is_to_trim && self.snapshot_begun.is_none() {
                self.is_to_trim = self.beginning.store.trim()?;
                self.beginning.figures.size_bytes.set(size(&*self.beginning.store));
            }
            self.begin_snapshot_if_due()?;
        }
    }

    fn append(&mut self, body: Vec<u8>) -> Result<(), StoreError> {
        let Beginning { end, store, figures, .. } = &mut self.beginning;
        let (number, bytes) = (end.number + 1, body.len() as u64);
        let batch = Batch { number, chain: end.chain.with(number, &body), body };
        let begun = Instant::now();
        store.append(&batch)?;
        self.outbox.written();
        figures.flush_seconds.observe(begun.elapsed().as_secs_f64());
        figures.batches.inc();
        figures.bytes.inc_by(bytes);
        (end.number, end.chain) = (number, batch.chain);
        end.batch_bytes += bytes;
        Ok(())
    }

    fn begin_snapshot_if_due(&mut self) -> Result<(), StoreError> {
        let Beginning { journal, end, store, settings, snapshot_bytes_min, .. } = &self.beginning;
        let is_due = end.batch_bytes >= end.snapshot_bytes.max(*snapshot_bytes_min);
        if !is_due || self.snapshot_begun.is_some() || self.is_to_trim {
            return Ok(());
        }
        let (journal, through, settings, steps) =
            (*journal, end.number, settings.clone(), self.steps.clone());
        let mut source = store.source()?;
        thread::Builder::new()
            .name("snapshot".to_owned())
            .spawn(move || compact::run(&mut *source, journal, through, settings, &steps))?;
        debug!("The journal is being made short, up to batch {through}.");
        self.snapshot_begun = Some(Instant::now());
        // From now on, what is written will be behind it.
        self.beginning.end.batch_bytes = 0;
        Ok(())
    }

    fn take_step(&mut self, step: Step) -> Result<(), StoreError> {
        let Beginning { end, store, figures, .. } = &mut self.beginning;
        match step {
            Step::Piece { through, index, body } => store.put_piece(through, index, &body),
            Step::Finish { snapshot, bytes } => {
                store.finish_snapshot(&snapshot)?;
                end.snapshot_bytes = bytes;
                self.is_to_trim = true;
                if let Some(begun) = self.snapshot_begun.take() {
                    let took = begun.elapsed();
                    figures.snapshot_seconds.observe(took.as_secs_f64());
                    info!("The journal was made short in {took:.1?}: a snapshot of {bytes} bytes.");
                }
                Ok(())
            }
            Step::Failed(error) => Err(error),
        }
    }
}

fn size(store: &dyn Store) -> i64 {
    i64::try_from(store.bytes()).unwrap_or(i64::MAX)
}
