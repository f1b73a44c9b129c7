//! The durable mode: from a data directory to a state, and from then on whatever happens into that directory.

use std::{
    error::Error,
    path::{Path, PathBuf},
    time::Duration,
};

use throttle_core::{Settings, counted};
use throttle_journal::{
    Epoch, LogError, Writer,
    sqlite::{Directory, Found},
};
use throttle_node::Follower;
use tokio::time::Instant;
use tracing::info;

use crate::{
    begin::settings,
    config::{Config, Durability},
    journal::{Figures, Outbox, WriterThread},
    metrics::Metrics,
};

/// How long the last write may take at the end.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// A data directory in use.
pub(crate) struct Durable {
    path: PathBuf,
    journal: u64,
    outbox: Outbox,
    snapshot_bytes: usize,
    settings: Settings,
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
        settings: settings(config),
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
        let (settings, snapshot_bytes) = (self.settings.clone(), self.snapshot_bytes as u64);
        let writer = Writer::new(self.journal, epoch, end, log, settings, snapshot_bytes);
        let thread =
            WriterThread::start(writer, Some(lock), self.figures.clone(), self.outbox(), Duration::ZERO)?;
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
            return Err(about(&self.path, &"the disk does not answer; what was acknowledged is on it").into());
        }
        match self.outbox.failure() {
            Some(failed) => Err(about(&self.path, &failed).into()),
            None => Ok(()),
        }
    }
}

fn about(path: &Path, what: &impl ToString) -> String {
    format!("The data directory {}: {}.", path.display(), what.to_string().trim_end_matches('.'))
}
