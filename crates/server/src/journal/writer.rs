//! The thread that writes.

use std::{
    fs::File,
    io,
    thread::{self, JoinHandle},
    time::Duration,
};

use throttle_journal::{AppendError, LogError, SnapshotJob, SnapshotStep, Writer};
use tokio::{runtime::Handle, time::Instant};
use tracing::{debug, error, info};

use super::{
    compact::Steps,
    figures::Figures,
    outbox::{Outbox, Work},
    upkeep::{self, Upkeep},
};

/// How a write waits for more, so that there are fewer of them: what comes a moment later would else wait for a whole
/// write more.
#[derive(Clone, Copy, Debug)]
pub struct Gathering {
    /// How long the first record waits for others.
    pub first: Duration,
    /// A write waits for those whom the one before let go on, but no longer than that one took, divided by this.
    pub part: u32,
    /// Nor does it wait longer than this.
    pub most: Duration,
}

/// The thread that writes.
pub struct WriterThread {
    outbox: Outbox,
    thread: JoinHandle<()>,
}

impl WriterThread {
    /// Begins to write what is put into `outbox`. `lock`, if there is one, is held as long as the writer runs.
    pub fn start(
        writer: Writer,
        lock: Option<File>,
        figures: Figures,
        outbox: Outbox,
        gathering: Gathering,
    ) -> io::Result<Self> {
        let thread = thread::Builder::new().name("journal".to_owned()).spawn({
            let (outbox, runtime) = (outbox.clone(), Handle::current());
            move || {
                let steps = Steps::new(outbox.clone());
                let mut task = Task {
                    writer,
                    upkeep: Upkeep::new(figures.trouble.clone()),
                    figures,
                    outbox: outbox.clone(),
                    steps,
                    snapshot_begun: None,
                    gathering,
                    runtime,
                    _lock: lock,
                };
                if let Err(mut error) = task.run() {
                    if outbox.is_given_up() {
                        error = AppendError::Superseded;
                    }
                    if error != AppendError::Superseded {
                        error!("The journal cannot be written: {error}");
                    }
                    outbox.fail(&error);
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
    writer: Writer,
    upkeep: Upkeep,
    figures: Figures,
    outbox: Outbox,
    steps: Steps,
    /// When the snapshot was begun that is being made.
    snapshot_begun: Option<Instant>,
    gathering: Gathering,
    runtime: Handle,
    _lock: Option<File>,
}

impl Task {
    fn run(&mut self) -> Result<(), AppendError> {
        self.show_size();
        loop {
            if self.writer.is_to_trim() {
                self.outbox.call();
            }
            match self.outbox.next(self.gathering.first) {
                Work::End => return Ok(()),
                Work::Nothing => {}
                Work::Batch { body, records, turns } => {
                    let took = self.append(&body, records)?;
                    if turns > 1 {
                        let Gathering { part, most, .. } = self.gathering;
                        self.outbox.gather(turns, (took / part).min(most));
                    }
                }
            }
            if let Some(step) = self.steps.take() {
                self.take(step)?;
                // There may be more.
                self.outbox.call();
            } else if self.writer.is_to_trim() {
                self.writer.trim()?;
                self.show_size();
            }
            match self.writer.begin_snapshot() {
                Ok(None) => {}
                Ok(Some(job)) => self.make_snapshot(job)?,
                Err(error) => self.take(SnapshotStep::Failed(error))?,
            }
            self.keep_up();
        }
    }

    /// Sees to what nothing waits for.
    fn keep_up(&mut self) {
        let now = Instant::now();
        match self.writer.keep_up() {
            Ok(false) => {}
            Ok(true) => self.upkeep.done(upkeep::Work::Checkpoint),
            Err(error) => {
                self.upkeep.failed(upkeep::Work::Checkpoint, &error, now);
            }
        }
        self.upkeep.watch(self.snapshot_begun, now);
    }

    /// Writes a batch. Returns how long that took.
    fn append(&mut self, body: &[u8], records: u64) -> Result<Duration, AppendError> {
        let begun = Instant::now();
        self.writer.append(body)?;
        if let Some(waiting) = self.outbox.written() {
            // There may be thousands. Whoever is woken by the runtime itself costs it less, and this thread nothing.
            self.runtime.spawn(async move { waiting.notify_waiters() });
        }
        let took = begun.elapsed();
        self.figures.flush_seconds.observe(took.as_secs_f64());
        self.figures.batches.inc();
        self.figures.records.inc_by(records);
        self.figures.bytes.inc_by(body.len() as u64);
        Ok(took)
    }

    /// Starts a thread that makes a snapshot, which takes a while.
    fn make_snapshot(&mut self, job: SnapshotJob) -> Result<(), AppendError> {
        debug!("The journal is being made short, up to batch {}.", job.through());
        let steps = self.steps.clone();
        // Without randomness its tables are slower at worst.
        let seed = getrandom::u64().unwrap_or_default();
        self.snapshot_begun = Some(Instant::now());
        let started = thread::Builder::new()
            .name("snapshot".to_owned())
            .spawn(move || job.run(seed, || steps.is_stopping(), |step| steps.put(step)));
        match started {
            Ok(_) => Ok(()),
            Err(error) => self.take(SnapshotStep::Failed(error.into())),
        }
    }

    fn take(&mut self, step: SnapshotStep) -> Result<(), AppendError> {
        // What cannot be read now is there all the same, and may be read later. What is damaged is not there.
        let may_go_on = matches!(&step, SnapshotStep::Failed(LogError::Io(_) | LogError::Busy(_)));
        let made = match self.writer.take(step) {
            Err(error) if may_go_on => {
                self.snapshot_begun = None;
                let why = format!("a snapshot cannot be made ({error}): see whether the disk is failing");
                self.upkeep.failed(upkeep::Work::Snapshot, &why, Instant::now());
                return Ok(());
            }
            made => made?,
        };
        if let Some(bytes) = made
            && let Some(begun) = self.snapshot_begun.take()
        {
            self.upkeep.done(upkeep::Work::Snapshot);
            let took = begun.elapsed();
            self.figures.snapshot_seconds.observe(took.as_secs_f64());
            info!("The journal was made short in {took:.1?}: a snapshot of {bytes} bytes.");
        }
        Ok(())
    }

    fn show_size(&self) {
        self.figures.size_bytes.set(i64::try_from(self.writer.bytes()).unwrap_or(i64::MAX));
    }
}
