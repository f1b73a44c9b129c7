//! The durable mode: from a data directory to a state, and from then on whatever happens into that directory.

use std::{
    error::Error,
    path::{Path, PathBuf},
    time::Duration,
};

use throttle_core::counted;
use throttle_journal::{
    Epoch, LogError, Rules, Writer,
    sqlite::{Directory, Found},
};
use throttle_node::Follower;
use tokio::time::Instant;
use tracing::info;

use crate::{
    begin::rules,
    config::{Config, Durability},
    journal::{Figures, Gathering, Outbox, WriterThread},
    metrics::Metrics,
};

/// How long the last write may take at the end.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// A disk that is quick makes writes that are small, and each of them costs as much as some requests.
const GATHERING: Gathering =
    Gathering { first: Duration::ZERO, busy: 4, writes: 6, most: Duration::from_millis(1) };

/// A data directory in use.
pub(crate) struct Durable {
    path: PathBuf,
    journal: u64,
    outbox: Outbox,
    snapshot_bytes: usize,
    rules: Rules,
    figures: Figures,
    /// The epoch in which this server leads, once it does.
    epoch: Epoch,
    stage: Stage,
}

enum Stage {
    Found(Directory),
    Writing(WriterThread),
    Over,
}

/// The data directory that is configured, if one is, locked and with a journal in it.
pub(crate) fn find(config: &Config, metrics: &Metrics) -> Result<Option<Durable>, Box<dyn Error>> {
    let Durability { data_dir: Some(path), snapshot_bytes, pending_bytes } = &config.durability else {
        return Ok(None);
    };
    let directory = Directory::open(path).map_err(|error| about(path, &error))?;
    Ok(Some(Durable {
        path: path.clone(),
        journal: directory.journal(),
        outbox: Outbox::new(*pending_bytes),
        snapshot_bytes: *snapshot_bytes,
        rules: rules(config),
        figures: metrics.journal(false)?,
        epoch: Epoch::default(),
        stage: Stage::Found(directory),
    }))
}

impl Durable {
    /// Identifies the state that is kept here.
    pub(crate) fn journal(&self) -> u64 {
        self.journal
    }

    /// Where the node leaves what happens.
    pub(crate) fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    /// The epoch in which this server leads.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Completes when the journal cannot be written, with one clear line.
    pub(crate) async fn failed(&self) -> String {
        about(&self.path, &self.outbox.failed().await)
    }

    /// Plays what is kept to `follower`, and begins to write. Tells whether anything was kept.
    pub(crate) async fn recover(
        &mut self,
        mut follower: Follower,
        metrics: &Metrics,
    ) -> Result<(Follower, bool), Box<dyn Error>> {
        let Stage::Found(directory) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return Ok((follower, false));
        };
        let begun = Instant::now();
        // It reads files, for a while.
        let read = tokio::task::spawn_blocking(move || {
            let found = directory.read(&mut |entry| follower.apply(entry.body()))?;
            Ok::<_, LogError>((follower, found))
        });
        let (follower, found) = read.await?.map_err(|error| about(&self.path, &error))?;
        let Found { end, epoch, log, lock } = found;
        metrics.recovered_in(begun.elapsed())?;
        let (rules, snapshot_bytes) = (self.rules.clone(), self.snapshot_bytes as u64);
        let writer = Writer::new(self.journal, epoch, end, log, rules, snapshot_bytes);
        let thread = WriterThread::start(writer, Some(lock), self.figures.clone(), self.outbox(), GATHERING)?;
        (self.stage, self.epoch) = (Stage::Writing(thread), epoch);
        let is_known = end.number > 0;
        if is_known {
            info!(
                "The state of {} is back after {:.1?}: {}.",
                self.path.display(),
                begun.elapsed(),
                counted(follower.state().core.peer_count(), "peer")
            );
        }
        Ok((follower, is_known))
    }

    /// Writes what is left, and ends. Nobody was told of what is left, so it need not be there.
    pub(crate) async fn stop(self) -> Result<(), Box<dyn Error>> {
        let Stage::Writing(writer) = self.stage else { return Ok(()) };
        let stopped = tokio::task::spawn_blocking(move || writer.stop());
        if tokio::time::timeout(STOP_PATIENCE, stopped).await.is_err() {
            return Err(about(&self.path, &not_answered(self.outbox.unsafe_turns())).into());
        }
        match self.outbox.failure() {
            Some(failed) => Err(about(&self.path, &failed).into()),
            None => Ok(()),
        }
    }
}

/// What a disk that does not answer means for whoever stops the server.
fn not_answered(unsafe_turns: u64) -> String {
    let may_be_lost = |last: &str, them: &str, they_had: &str| {
        format!(
            "What was acknowledged is on it. {last} may not be: nobody was told of {them}, and whether {they_had} an \
             effect shows after the next start"
        )
    };
    let rest = match unsafe_turns {
        0 => "All that happened is on it".to_owned(),
        1 => may_be_lost("The last change", "it", "it had"),
        turns => may_be_lost(&format!("The last {turns} changes"), "them", "they had"),
    };
    let patience = humantime::format_duration(STOP_PATIENCE);
    format!("the disk did not answer for {patience}, so the server ended without it. {rest}")
}

fn about(path: &Path, what: &impl ToString) -> String {
    format!("The data directory {}: {}.", path.display(), what.to_string().trim_end_matches('.'))
}
