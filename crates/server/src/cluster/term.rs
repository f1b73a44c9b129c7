//! Leading: what a leader has around its node.

use std::{error::Error, sync::Arc, time::Duration};

use throttle_etcd::{Confirmed as Answer, Etcd, EtcdLog, Leader, Leadership};
use throttle_journal::{Epoch, Rules, Writer};
use throttle_node::Follower;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};

use super::{Cluster, Leading, Role, standby::Elected};
use crate::{
    journal::{Figures, Gathering, Outbox, WriterThread},
    runtime::{Confirmed, Lead, wall_now},
};

/// How long the last write may take at the end.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// It is little beside the write itself, and an answer whose write has begun before anybody waited for it needs a
/// confirmation of its own.
const GATHERING: Gathering =
    Gathering { first: Duration::from_micros(100), busy: 0, writes: 1, most: Duration::from_millis(2) };
/// How often it is told how far the log is.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// The term of a leader.
pub(super) struct Term {
    pub(super) lead: Arc<Lead>,
    pub(super) outbox: Outbox,
    pub(super) epoch: Epoch,
    etcd: Etcd,
    leadership: Arc<Leadership<Etcd>>,
    writer: WriterThread,
    tasks: Vec<JoinHandle<()>>,
}

/// Why a term is over.
pub(super) enum Over {
    /// Another server leads, or nobody.
    Deposed,
    /// Something is wrong that only people can mend, in one line.
    Failed(String),
}

impl Term {
    /// Begins to lead. Returns what is known, and whether anything is.
    pub(super) async fn begin(
        cluster: &Arc<Cluster>,
        elected: Elected,
        rules: Rules,
        snapshot_bytes: usize,
        outbox: Outbox,
        figures: Figures,
    ) -> Result<(Self, Follower, bool), Box<dyn Error>> {
        let Elected { etcd, follower, end, leadership } = elected;
        let (config, journal) = (&cluster.config, cluster.journal());
        let leadership = Arc::new(leadership);
        let lead = Lead::new(config.lease);
        let (kept, confirmed, lease) = (leadership.clone(), lead.clone(), config.lease);
        let kept = async move { kept.keep_alive(|| confirmed.unconfirmed() < lease).await };
        let mut tasks = vec![etcd.spawn(kept)];
        let term = leadership.term().clone();
        let epoch = term.epoch;
        let opened = EtcdLog::open(etcd.clone(), &config.prefix, journal, term, config.compact);
        let log = Box::new(opened.await?);
        let writer = Writer::new(journal, epoch, end, log, rules, snapshot_bytes as u64);
        let writer = WriterThread::start(writer, None, figures, outbox.clone(), GATHERING)?;
        tasks.push(tokio::spawn({
            let (lead, leadership) = (lead.clone(), leadership.clone());
            async move { lead.run(|| confirm(&leadership)).await }
        }));
        let own = Leader { name: config.advertise.clone(), epoch };
        let told =
            Told { cluster: cluster.clone(), etcd: etcd.clone(), outbox: outbox.clone(), lead: lead.clone() };
        cluster.see(Role::Leader, Some(&own), end.number);
        tasks.push(tokio::spawn(told.tell(own, end.number)));
        let term = Self { lead, outbox, epoch, etcd, leadership, writer, tasks };
        Ok((term, follower, end.number > 0))
    }

    /// Completes when it is over.
    pub(super) async fn over(&self) -> Over {
        tokio::select! {
            _ = self.lead.over() => Over::Deposed,
            failed = self.outbox.failed() => {
                if failed.is_superseded { Over::Deposed } else { Over::Failed(failed.why.to_string()) }
            }
        }
    }

    /// Ends it: unless it is over already, writes what is left, and lets another server lead at once.
    pub(super) async fn stop(self, is_over: bool) {
        self.lead.end();
        for task in self.tasks.iter().skip(1) {
            task.abort();
        }
        if is_over {
            self.outbox.give_up();
            self.etcd.stop();
        }
        let stopped = tokio::task::spawn_blocking(move || self.writer.stop());
        if timeout(STOP_PATIENCE, stopped).await.is_err() {
            self.etcd.stop();
        }
        for task in self.tasks {
            task.abort();
        }
        // Also where it is over by something else than the key of another one: nobody is to wait for the lease.
        let _ = timeout(STOP_PATIENCE, self.leadership.resign()).await;
    }
}

async fn confirm(leadership: &Leadership<Etcd>) -> Confirmed {
    match leadership.confirm().await {
        Answer::Yes => Confirmed::Yes,
        Answer::Deposed => Confirmed::Deposed,
        Answer::Unknown(_) => Confirmed::Unknown,
    }
}

/// What is told of a term while it lasts.
struct Told {
    cluster: Arc<Cluster>,
    etcd: Etcd,
    outbox: Outbox,
    lead: Arc<Lead>,
}

impl Told {
    /// Tells how far the log is, whether the term is confirmed, and why the log is held up.
    async fn tell(self, own: Leader, begin: u64) {
        let Self { cluster, etcd, outbox, lead } = self;
        let since = wall_now();
        let mut before = None;
        loop {
            cluster.see(Role::Leader, Some(&own), begin + outbox.batches());
            let now = Instant::now();
            let confirmed_at = now.checked_sub(lead.unconfirmed()).unwrap_or(now);
            cluster.leads(Leading { since, confirmed_at });
            let trouble = etcd.why_held();
            match (&before, &trouble) {
                (None, Some(why)) => warn!("Nothing can be promised for now: {why}"),
                (Some(_), None) => info!("Promises can be made again."),
                _ => {}
            }
            cluster.has_trouble(trouble.clone());
            before = trouble;
            sleep(TELL_EVERY).await;
        }
    }
}
