//! Following: the log is taken in as it comes, until this server leads.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use throttle_etcd::{Candidate, Etcd, EtcdReader, Leadership};
use throttle_journal::{End, Entry, LogError};
use throttle_node::Follower;
use tracing::{error, info, warn};

use super::{Cluster, Role, candidate};

/// How often the log and the key of the leader are read. Linearizable reads find what a silent watch would hide.
const READ_EVERY: Duration = Duration::from_millis(100);
/// The pause after something that only people can mend.
const DAMAGED_PAUSE: Duration = Duration::from_secs(5);

/// A server that follows.
pub(super) struct Standby {
    cluster: Arc<Cluster>,
    etcd: Etcd,
    candidate: Candidate<Etcd>,
    reader: EtcdReader<Etcd>,
    make: Box<dyn Fn() -> Follower + Send>,
    follower: Follower,
    /// How far it is, once it has read anything.
    end: Option<End>,
    /// What was last complained about.
    complaint: Option<String>,
}

/// A server that was elected, with all of the log.
pub(super) struct Elected {
    pub(super) etcd: Etcd,
    pub(super) follower: Follower,
    pub(super) end: End,
    pub(super) leadership: Leadership<Etcd>,
}

impl Standby {
    /// One that knows nothing. `make` makes a node that knows nothing.
    pub(super) fn new(
        cluster: Arc<Cluster>,
        etcd: Etcd,
        make: impl Fn() -> Follower + Send + 'static,
    ) -> Self {
        let config = &cluster.config;
        let candidate = candidate(config, &etcd);
        let reader = EtcdReader::new(etcd.clone(), &config.prefix, cluster.journal());
        let follower = make();
        // What held up a term before is over with it, once the log is read.
        let complaint = cluster.known().trouble;
        Self { cluster, etcd, candidate, reader, make: Box::new(make), follower, end: None, complaint }
    }

    /// Follows until this server is elected. Comes back with nothing if it is to stop.
    pub(super) fn run(mut self, is_stopping: &AtomicBool) -> Option<Elected> {
        while !is_stopping.load(Relaxed) {
            let elected = self.step();
            match elected {
                Ok(None) => {
                    if self.complaint.take().is_some() {
                        self.cluster.has_trouble(None);
                        info!("The log is read again.");
                    }
                    thread::sleep(READ_EVERY);
                }
                Ok(Some(leadership)) => match self.catch_up_as_leader(is_stopping) {
                    Some(end) => {
                        let Self { etcd, follower, .. } = self;
                        return Some(Elected { etcd, follower, end, leadership });
                    }
                    None => self.etcd.wait(leadership.resign()),
                },
                Err(error) => self.complain(&error),
            }
        }
        None
    }

    /// Takes in what is new; if nobody leads, tries to.
    fn step(&mut self) -> Result<Option<Leadership<Etcd>>, LogError> {
        self.catch_up()?;
        if self.reader.leader().is_some() {
            return Ok(None);
        }
        self.etcd.wait(self.candidate.try_lead())
    }

    /// Reads what the leader before has left: all that it acknowledged is there once the key of this one is. Meanwhile
    /// the lease is not renewed: whoever cannot read the log must not lead.
    fn catch_up_as_leader(&mut self, is_stopping: &AtomicBool) -> Option<End> {
        while !is_stopping.load(Relaxed) {
            match self.catch_up() {
                Ok(end) => return Some(end),
                Err(LogError::Trimmed) => {}
                Err(error) => {
                    self.complain(&error);
                    return None;
                }
            }
        }
        None
    }

    fn catch_up(&mut self) -> Result<End, LogError> {
        let Self { etcd, reader, follower, end: reached, cluster, .. } = self;
        let from = *reached;
        let outcome = etcd.wait(reader.read_from(from, None, &mut |entry| {
            let applied = follower.apply(entry.body());
            match (entry, &mut *reached, &applied) {
                (Entry::Batch { position, body }, Some(end), Ok(())) => {
                    (end.number, end.chain) = (position.number, end.chain.then(position, body));
                    end.batch_bytes += body.len() as u64;
                }
                // What was taken in only in part, or before it was known where it begins, is taken in anew.
                _ => *reached = None,
            }
            applied
        }));
        match outcome {
            Ok(end) => {
                *reached = Some(end);
                cluster.see(Role::Standby, reader.leader(), end.number);
                Ok(end)
            }
            Err(error) => {
                if reached.is_none() || error == LogError::Trimmed {
                    (self.follower, self.end) = ((self.make)(), None);
                }
                Err(error)
            }
        }
    }

    /// Says once what is wrong, and waits.
    fn complain(&mut self, error: &LogError) {
        let pause = match error {
            LogError::Trimmed => return,
            LogError::Io(_) | LogError::Busy(_) | LogError::Superseded => READ_EVERY,
            LogError::Damaged(_) | LogError::Foreign(_) | LogError::Newer(_) => DAMAGED_PAUSE,
        };
        let complaint = error.to_string();
        if self.complaint.as_ref() != Some(&complaint) {
            if pause == DAMAGED_PAUSE {
                error!("The log in etcd below {:?}: {complaint}.", self.cluster.config.prefix);
            } else {
                warn!("The log in etcd cannot be read now: {complaint}");
            }
            self.cluster.has_trouble(Some(complaint.clone()));
            self.complaint = Some(complaint);
        }
        thread::sleep(pause);
    }
}
