//! Moving what a data directory has into a cluster, and what a cluster has into a data directory.

use std::path::Path;

use throttle_etcd::{Deployment, Etcd, EtcdLog, EtcdReader, Leadership};
use throttle_journal::{
    Epoch, Log, LogError, SnapshotJob, SnapshotStep,
    sqlite::{self, Directory},
};

use super::{about_log, candidate, new_deployment};
use crate::{begin::rules, config, config::Config};

/// Moves what a data directory has into a cluster that has nothing yet. Returns the number of the last batch.
///
/// # Errors
///
/// In one line. Then the cluster has nothing, or what was moved is not counted.
pub fn import(config: &Config, from: &Path) -> Result<u64, String> {
    let cluster = section(config)?;
    let about = |error: &LogError| format!("The data directory {}: {error}.", from.display());
    if !from.join("journal.db").exists() {
        return Err(format!("The data directory {}: there is no journal in it.", from.display()));
    }
    let directory = Directory::open(from).map_err(|error| about(&error))?;
    let journal = directory.journal();
    let found = directory.read(&mut |_| Ok(())).map_err(|error| about(&error))?;
    let (number, reader) = (found.end.number, found.log.reader().map_err(|error| about(&error))?);
    let job = SnapshotJob::new(reader, journal, number, rules(config));
    let about = |error: LogError| about_log(cluster, error);
    let etcd = Etcd::new(cluster.etcd()).map_err(about)?;
    let candidate = candidate(cluster, &etcd);
    let new = new_deployment(journal).map_err(|error| error.to_string())?;
    let deployment = etcd.wait(candidate.deployment(new)).map_err(about)?;
    let not_empty = || {
        let prefix = &cluster.prefix;
        format!(
            "Below {prefix:?} etcd has the state of another cluster already. Name another cluster.prefix."
        )
    };
    if deployment.journal != journal {
        return Err(not_empty());
    }
    let Some(leadership) = etcd.wait(candidate.try_lead()).map_err(about)? else {
        return Err("A server of the cluster leads. Stop all of them first.".to_owned());
    };
    let outcome = import_as_leader(&etcd, cluster, &leadership, job, journal);
    etcd.wait(leadership.resign());
    match outcome {
        Ok(true) => Ok(number),
        Ok(false) => Err(not_empty()),
        Err(error) => Err(about(error)),
    }
}

/// Tells whether there was nothing in the way.
fn import_as_leader(
    etcd: &Etcd,
    cluster: &config::Cluster,
    leadership: &Leadership<Etcd>,
    job: SnapshotJob,
    journal: u64,
) -> Result<bool, LogError> {
    let mut reader = EtcdReader::new(etcd.clone(), &cluster.prefix, journal);
    let term = leadership.term().clone();
    let importing = || {
        let found = etcd.wait(reader.read_from(None, None, &mut |_| Ok(())))?;
        if found.number > 0 {
            return Ok(false);
        }
        let opened = EtcdLog::open(etcd.clone(), &cluster.prefix, journal, term, cluster.compact);
        let mut log = etcd.wait(opened)?;
        write(job, &mut log)?;
        // What cannot be read is found out now, not when it is needed.
        etcd.wait(reader.read_from(None, None, &mut |_| Ok(())))?;
        Ok(true)
    };
    // The lease is kept alive for as long as that takes.
    std::thread::scope(|scope| {
        let (done, is_done) = tokio::sync::oneshot::channel::<()>();
        scope.spawn(|| {
            etcd.wait(async {
                tokio::select! {
                    () = leadership.keep_alive(|| true) => {}
                    _ = is_done => {}
                }
            });
        });
        let outcome = importing();
        drop(done);
        outcome
    })
}

/// Copies what a cluster has into a new data directory; its servers may go on meanwhile. Returns the number of the last
/// batch.
///
/// # Errors
///
/// In one line.
pub fn export(config: &Config, to: &Path) -> Result<u64, String> {
    let cluster = section(config)?;
    let about = |error: LogError| about_log(cluster, error);
    let etcd = Etcd::new(cluster.etcd()).map_err(about)?;
    let found = etcd.wait(candidate(cluster, &etcd).found()).map_err(about)?;
    let Some(Deployment { journal, .. }) = found else {
        return Err(format!("Below {:?} etcd has no state of a cluster.", cluster.prefix));
    };
    let reader = || EtcdReader::new(etcd.clone(), &cluster.prefix, journal);
    let mut last = LogError::Trimmed;
    // A snapshot that is made meanwhile takes away what was to be read.
    for _ in 0..ATTEMPTS {
        let mut first = reader();
        let end = etcd.wait(first.read_from(None, None, &mut |_| Ok(())));
        let copied = end.and_then(|end| {
            let epoch = first.leader().map_or(Epoch(end.number), |leader| leader.epoch);
            let job = SnapshotJob::new(Box::new(reader()), journal, end.number, rules(config));
            sqlite::create_from(to, journal, epoch, |log| write(job, log))?;
            Ok(end.number)
        });
        match copied {
            Ok(number) => return Ok(number),
            Err(LogError::Trimmed) => {}
            Err(error) => {
                last = error;
                break;
            }
        }
    }
    Err(format!("{}: {last}.", to.display()))
}

const ATTEMPTS: usize = 5;

/// Writes a snapshot into a log that has nothing yet.
fn write(job: SnapshotJob, log: &mut dyn Log) -> Result<(), LogError> {
    if job.through() == 0 {
        return Ok(());
    }
    let mut outcome = Ok(());
    job.run(
        getrandom::u64().unwrap_or_default(),
        || false,
        |step| {
            outcome = match step {
                SnapshotStep::Piece { through, index, body } => log.put_piece(through, index, &body),
                SnapshotStep::Finish { snapshot, bytes: _ } => log.finish_snapshot(&snapshot),
                SnapshotStep::Failed(error) => Err(error),
            };
            outcome.is_ok()
        },
    );
    outcome
}

fn section(config: &Config) -> Result<&config::Cluster, String> {
    config.cluster.as_ref().ok_or_else(|| "The configuration file has no [cluster].".to_owned())
}
