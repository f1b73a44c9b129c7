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

/// A batch of so many bytes leaves its room to a later one.
const ROOM_BYTES_MAX: usize = 1 << 20;

/// How a write waits for more, so that there are fewer of them: each takes processor time from those who are to come,
/// and what comes a moment later would wait for a whole write more.
///
/// A write waits for three quarters of as many as the one before let go on. The rest comes while it is written, so that
/// nobody is idle.
#[derive(Clone, Copy, Debug)]
pub struct Gathering {
    /// How long the first record waits for others.
    pub first: Duration,
    /// Others wait only while so many come in the time that a write takes.
    pub busy: u32,
    /// They wait no longer than so many writes take.
    pub writes: u32,
    /// Nor longer than this.
    pub most: Duration,
}

impl Gathering {
    /// For how many turns a write waits, and how long at most. The one before took `took` and let `turns` go on; it
    /// ended `round` after the one before that.
    fn after(self, turns: u64, took: Duration, round: Duration) -> Option<(u64, Duration)> {
        let came = took.as_nanos().saturating_mul(turns.into());
        let is_busy = came >= round.as_nanos().saturating_mul(self.busy.into());
        let wanted = turns - turns / 4;
        (turns > 1 && is_busy).then(|| (wanted, took.saturating_mul(self.writes).min(self.most)))
    }
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
                    written_at: Instant::now(),
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
    /// When the last batch was safe.
    written_at: Instant,
    runtime: Handle,
    _lock: Option<File>,
}

impl Task {
    fn run(&mut self) -> Result<(), AppendError> {
        self.show_size();
        let mut room = Vec::new();
        loop {
            if self.writer.is_to_trim() {
                self.outbox.call();
            }
            match self.outbox.next(self.gathering.first, &mut room) {
                Work::End => return Ok(()),
                Work::Nothing => {}
                Work::Batch { mut body, records, turns } => {
                    let (took, round) = self.append(&body, records)?;
                    if body.capacity() <= ROOM_BYTES_MAX {
                        body.clear();
                        room = body;
                    }
                    if let Some((turns, at_most)) = self.gathering.after(turns, took, round) {
                        self.outbox.gather(turns, at_most);
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

    /// Writes a batch. Returns how long that took, and how long it is since the one before was safe.
    fn append(&mut self, body: &[u8], records: u64) -> Result<(Duration, Duration), AppendError> {
        let begun = Instant::now();
        self.writer.append(body)?;
        if let Some(waiting) = self.outbox.written() {
            // There may be thousands. Whoever is woken by the runtime itself costs it less, and this thread nothing.
            self.runtime.spawn(async move { waiting.notify_waiters() });
        }
        let now = Instant::now();
        let (took, round) = (now - begun, now - self.written_at);
        self.written_at = now;
        self.figures.flush_seconds.observe(took.as_secs_f64());
        self.figures.batches.inc();
        self.figures.records.inc_by(records);
        self.figures.bytes.inc_by(body.len() as u64);
        Ok((took, round))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_waits_while_many_come() {
        let us = Duration::from_micros;
        let busy = Gathering { first: Duration::ZERO, busy: 4, writes: 6, most: us(1000) };
        assert_eq!(busy.after(64, us(100), us(900)), Some((48, us(600))));
        assert_eq!(busy.after(10, us(100), us(250)), Some((8, us(600))), "four come in the time of a write");
        assert_eq!(busy.after(10, us(100), us(251)), None, "fewer");
        assert_eq!(busy.after(64, us(300), us(900)), Some((48, us(1000))), "no longer than it may");
        let always = Gathering { busy: 0, ..busy };
        assert_eq!(always.after(2, us(100), us(10_000)), Some((2, us(600))));
        assert_eq!(always.after(1, us(100), us(100)), None, "nobody else comes");
        assert_eq!(
            always.after(u64::MAX, Duration::MAX / 100, Duration::MAX).map(|(_, most)| most),
            Some(us(1000))
        );
    }
}
