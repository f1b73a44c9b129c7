//! A server that leads: its node, what is written to the log, and which answers may leave.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use throttle_core::{Time, planted};
use throttle_etcd::{EtcdLog, EtcdReader, Kv as _, Leadership};
use throttle_journal::{
    AppendError, Entry, Epoch, LogError, SnapshotJob, SnapshotStep, Wall, WallTime, Writer,
};
use throttle_node::{Condition, Confirmation, Offset, Tenure};

use super::{
    following::{PAUSE, PREFIX},
    mirror::{Copied, Mirror},
};
use crate::{
    etcd::kv::SimKv,
    message::{Reply, Request, RequestId},
    shell::{Answered, Shell, When},
    time::Moment,
};

/// By how much the wall clock must have moved against the time of leases to be taken for set, as in the server.
const SET: Duration = Duration::from_millis(10);

/// A server that leads.
pub(super) struct Leading {
    pub(super) shell: Shell,
    pub(super) epoch: Epoch,
    pub(super) journal: u64,
    pub(super) leadership: Arc<Leadership<SimKv>>,
    pub(super) tenure: Tenure,
    /// When the last confirmation came, in true time.
    pub(super) confirmed_at: Moment,
    kv: SimKv,
    clock: Clock,
    writer: Writer,
    mirror: Mirror,
    /// Not here while something is done with it.
    log: Option<EtcdLog<SimKv>>,
    /// What is being appended, and how far the log reaches with it.
    writing: Option<(Vec<u8>, Offset)>,
    /// How far appends were begun.
    begun: Offset,
    held: Vec<Held>,
    /// What is to be done for the snapshot that is being made.
    steps: VecDeque<SnapshotStep>,
    /// The log is read for it.
    job: Option<SnapshotJob>,
    /// The last thing that was done with the log was an append.
    has_appended: bool,
    /// The servers that passed requests on.
    pub(super) via: BTreeMap<RequestId, usize>,
    pub(super) is_stopping: bool,
}

/// An answer that waits.
struct Held {
    flushed: Option<Offset>,
    confirmed: Option<Confirmation>,
    reply: Reply,
}

/// The time of leases, as far as it counts; and the wall clock, as it was last looked at.
struct Clock {
    base: Time,
    /// What counted when that was.
    began: Duration,
    wall: Wall,
}

/// Something that is done with the log, and then comes back with it.
pub(super) enum Work {
    Append(EtcdLog<SimKv>, Result<(), AppendError>),
    Step(EtcdLog<SimKv>, SnapshotStep, Result<(), LogError>),
    Trim(EtcdLog<SimKv>, Result<bool, LogError>),
    Copy(Result<Copied, LogError>),
}

/// Why a server leads no more, or nobody can go on.
#[derive(Debug)]
pub(super) enum Over {
    Deposed,
    Broken(String),
}

impl From<LogError> for Over {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Superseded => Self::Deposed,
            error => Self::Broken(error.to_string()),
        }
    }
}

impl From<AppendError> for Over {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Superseded => Self::Deposed,
            error => Self::Broken(error.to_string()),
        }
    }
}

/// A task that works with the log.
pub(super) type Job = std::pin::Pin<Box<dyn Future<Output = Work>>>;

/// What a leader begins with.
pub(super) struct Beginning {
    pub(super) shell: Shell,
    pub(super) journal: u64,
    pub(super) kv: SimKv,
    pub(super) leadership: Arc<Leadership<SimKv>>,
    pub(super) log: EtcdLog<SimKv>,
    pub(super) end: throttle_journal::End,
    pub(super) snapshot_bytes_min: u64,
    pub(super) base: Time,
    pub(super) wall: Wall,
    /// By the clock of the server, and in true time.
    pub(super) clock: Duration,
    pub(super) at: Moment,
}

impl Leading {
    pub(super) fn new(beginning: Beginning, rules: throttle_journal::Rules) -> Self {
        let Beginning { shell, journal, kv, leadership, log, end, snapshot_bytes_min, base, wall, clock, at } =
            beginning;
        let (epoch, tenure, mirror) = (leadership.term().epoch, Tenure::new(clock), Mirror::default());
        let writer = Writer::new(journal, epoch, end, Box::new(mirror.clone()), rules, snapshot_bytes_min);
        Self {
            kv,
            clock: Clock { base, began: tenure.counted(clock), wall },
            shell,
            epoch,
            journal,
            leadership,
            tenure,
            confirmed_at: at,
            writer,
            mirror,
            log: Some(log),
            writing: None,
            begun: Offset::default(),
            held: Vec::new(),
            steps: VecDeque::new(),
            job: None,
            has_appended: false,
            via: BTreeMap::new(),
            is_stopping: false,
        }
    }

    /// What time it is for leases, and where the wall clock is.
    pub(super) fn when(&mut self, clock: Duration, wall_now: WallTime) -> When {
        let counted = self.tenure.counted(clock);
        let Clock { base, began, wall } = &mut self.clock;
        let now = *base + counted.saturating_sub(*began);
        let seen = Wall::between(now, wall_now);
        if seen.distance(*wall) > SET {
            *wall = seen;
        }
        When { now, wall: *wall }
    }

    /// Whether everything that happened is safe.
    pub(super) fn is_settled(&self) -> bool {
        self.writing.is_none() && self.shell.open.is_empty()
    }

    /// An answer that leaves once its condition holds, and this server led when its command ran.
    pub(super) fn answer(&mut self, request: Arc<Request>, (answer, condition): Answered, has_waited: bool) {
        let reply = Reply { request, answer, instance: self.journal, epoch: self.epoch.0, has_waited };
        let (flushed, is_to_confirm) = match condition {
            Condition::Now => (None, false),
            Condition::Confirmed if planted!(LookNotConfirmed) => (None, false),
            Condition::Confirmed => (None, true),
            // An append that is sent from now on proves it; one that was sent before does not.
            Condition::Committed(upto) => {
                let is_to_confirm = upto <= self.begun && !planted!(EarlierAppendCounts);
                let is_to_confirm = is_to_confirm && !planted!(LookNotConfirmed);
                (Some(upto).filter(|upto| *upto > self.shell.flushed), is_to_confirm)
            }
        };
        let confirmed = is_to_confirm.then(|| self.tenure.ask());
        self.held.push(Held { flushed, confirmed, reply });
    }

    /// The answers that may leave by now.
    pub(super) fn leaving(&mut self) -> Vec<Reply> {
        let (flushed, succeeded) = (self.shell.flushed, self.tenure.succeeded());
        let mut leaving = Vec::new();
        self.held.retain(|held| {
            let holds = held.flushed.is_none_or(|upto| upto <= flushed)
                && held.confirmed.is_none_or(|confirmation| confirmation <= succeeded);
            if holds {
                leaving.push(held.reply.clone());
            }
            !holds
        });
        leaving
    }

    /// The client of a request is gone.
    pub(super) fn forget(&mut self, id: RequestId) {
        self.held.retain(|held| held.reply.request.id != id);
        self.via.remove(&id);
    }

    /// The answers that wait, with the server that each request came by.
    pub(super) fn held(&self) -> Vec<(Reply, Option<usize>)> {
        let via = |reply: &Reply| self.via.get(&reply.request.id).copied();
        self.held.iter().map(|held| (held.reply.clone(), via(&held.reply))).collect()
    }

    /// Ends the time in which it leads. Returns those who get no answer, with the server that each came by.
    pub(super) fn demote(self) -> Vec<(Arc<Request>, Option<usize>)> {
        let Self { shell, held, via, .. } = self;
        let waiting: Vec<_> = shell.waiting().cloned().collect();
        drop(shell.node.demote());
        let held = held.into_iter().map(|held| held.reply.request);
        waiting
            .into_iter()
            .chain(held)
            .map(|request| (request.clone(), via.get(&request.id).copied()))
            .collect()
    }

    /// Begins what is to be done with the log next, if it is free: what waits to be appended, and in turn with it
    /// snapshots and what they make superfluous.
    pub(super) fn next_work(&mut self) -> Result<Option<Job>, Over> {
        if let Some(job) = self.begin_snapshot()? {
            return Ok(Some(job));
        }
        let Some(log) = self.log.take() else { return Ok(None) };
        let has_open = !self.shell.open.is_empty();
        let is_upkeep = !self.steps.is_empty() || self.writer.is_to_trim();
        Ok(match (has_open, is_upkeep) {
            (false, false) => {
                self.log = Some(log);
                None
            }
            (true, true) if self.has_appended => Some(self.keep_short(log)),
            (true, _) => Some(self.append(log)),
            (false, true) => Some(self.keep_short(log)),
        })
    }

    fn append(&mut self, mut log: EtcdLog<SimKv>) -> Job {
        self.has_appended = true;
        let body = std::mem::take(&mut self.shell.open);
        let (position, chain) = self.writer.next(&body);
        self.begun = self.shell.open_upto;
        self.writing = Some((body.clone(), self.shell.open_upto));
        Box::pin(async move {
            let outcome = log.append(position, chain, &body).await;
            Work::Append(log, outcome)
        })
    }

    fn keep_short(&mut self, mut log: EtcdLog<SimKv>) -> Job {
        self.has_appended = false;
        let Some(step) = self.steps.pop_front() else {
            return Box::pin(async move {
                let outcome = log.trim().await;
                Work::Trim(log, outcome)
            });
        };
        Box::pin(async move {
            let outcome = match &step {
                SnapshotStep::Piece { through, index, body } => log.put_piece(*through, *index, body).await,
                SnapshotStep::Finish { snapshot, .. } => log.finish_snapshot(snapshot).await,
                SnapshotStep::Failed(error) => Err(error.clone()),
            };
            Work::Step(log, step, outcome)
        })
    }

    /// Begins a snapshot, if one is due: the log is read for it, beside what is done with it meanwhile.
    fn begin_snapshot(&mut self) -> Result<Option<Job>, Over> {
        if self.job.is_some() || !self.steps.is_empty() {
            return Ok(None);
        }
        let Some(job) = self.writer.begin_snapshot()? else { return Ok(None) };
        let (kv, through) = (self.kv.clone(), job.through());
        let mut reader = EtcdReader::new(kv.clone(), PREFIX, self.journal);
        self.job = Some(job);
        Ok(Some(Box::pin(async move {
            loop {
                let mut copied = Copied::default();
                let mut visit = |entry: Entry<'_>| {
                    copied.take(entry);
                    Ok(())
                };
                match reader.read_from(None, Some(through), &mut visit).await {
                    Ok(end) => return Work::Copy(Ok(copied.until(end))),
                    Err(LogError::Io(_) | LogError::Trimmed) => kv.pause(PAUSE).await,
                    Err(error) => return Work::Copy(Err(error)),
                }
            }
        })))
    }

    /// Something was done with the log.
    pub(super) fn done(&mut self, work: Work, hash_seed: u64) -> Result<(), Over> {
        match work {
            Work::Append(log, Err(AppendError::Failed(LogError::Busy(_)))) => {
                // Only planted faults come here.
                self.log = Some(log);
                let Some((mut body, upto)) = self.writing.take() else { return Ok(()) };
                if planted!(RepeatedWithMore) {
                    // Behind the version, with which every batch begins.
                    body.extend_from_slice(self.shell.open.get(1..).unwrap_or_default());
                    self.shell.open = body;
                } else {
                    self.held.retain(|held| held.flushed.is_none_or(|of| of > upto));
                }
            }
            Work::Append(log, outcome) => {
                outcome?;
                self.log = Some(log);
                let Some((body, upto)) = self.writing.take() else { return Ok(()) };
                self.writer.append(&body)?;
                self.shell.flushed = upto;
            }
            Work::Step(log, step, outcome) => {
                outcome?;
                self.log = Some(log);
                self.writer.take(step)?;
            }
            Work::Trim(log, outcome) => {
                self.mirror.set_has_more(outcome?);
                self.log = Some(log);
                self.writer.trim()?;
            }
            Work::Copy(copied) => {
                let Some(job) = self.job.take() else { return Ok(()) };
                self.mirror.set_copied(copied?);
                self.steps = job.steps(hash_seed).into();
            }
        }
        Ok(())
    }
}
