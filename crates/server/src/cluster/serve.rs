//! From following to leading and back, for as long as the server runs.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use throttle_etcd::{Etcd, Registry};
use tracing::{info, warn};

use super::{
    Cluster, about_log,
    standby::{Elected, Standby},
    term::{Over, Term},
};
use crate::{
    begin::{Begun, empty, rules},
    http::Several,
    journal::Outbox,
    serve::{Ground, Running, Surroundings},
};

/// Serves as one of several, until it is asked to stop.
pub(crate) async fn serve<N: Future<Output = ()>, A: Future<Output = ()>>(
    ground: &Ground<'_>,
    cluster: Arc<Cluster>,
    several: Arc<Several>,
    mut around: Surroundings<'_, N, A>,
) -> Result<(), Box<dyn Error>> {
    let registry = Registry::new(cluster.etcd.clone(), &cluster.config.prefix);
    let name = cluster.config.advertise.clone();
    let listed = cluster.etcd.spawn(async move { registry.stay_listed(&name).await });
    ground.announce();
    let (outcome, leading) = loop {
        let is_stopping = Arc::new(AtomicBool::new(false));
        let etcd = Etcd::new(cluster.config.etcd())?;
        let standby = {
            let config = ground.loaded.config.clone();
            Standby::new(cluster.clone(), etcd.clone(), move || empty(&config))
        };
        let following = tokio::task::spawn_blocking({
            let is_stopping = is_stopping.clone();
            move || standby.run(&is_stopping)
        });
        let elected = tokio::select! {
            () = &mut around.network => None,
            () = &mut around.asked_to_stop => None,
            elected = following => elected?,
        };
        let Some(elected) = elected else {
            is_stopping.store(true, Relaxed);
            etcd.stop();
            break (Ok(()), None);
        };
        let leading = Leading::begin(ground, &cluster, elected).await?;
        several.lead(leading.running.app.clone());
        info!("This server leads, in epoch {}.", leading.term.epoch.0);
        let over = tokio::select! {
            () = &mut around.network => None,
            () = &mut around.asked_to_stop => None,
            over = leading.term.over() => Some(over),
        };
        let Some(over) = over else { break (Ok(()), Some(leading)) };
        if let Over::Deposed = over {
            warn!("Another server leads by now. This one follows.");
        }
        several.follow();
        leading.end(true).await;
        if let Over::Failed(why) = over {
            break (Err(about_log(&cluster.config, why).into()), None);
        }
    };
    around.shut_down(leading.as_ref().map(|leading| &*leading.running.app)).await;
    if let Some(leading) = leading {
        leading.end(false).await;
    }
    listed.abort();
    outcome
}

/// A server that leads.
struct Leading {
    term: Term,
    running: Running,
}

impl Leading {
    async fn begin(
        ground: &Ground<'_>,
        cluster: &Arc<Cluster>,
        elected: Elected,
    ) -> Result<Self, Box<dyn Error>> {
        let config = &ground.loaded.config;
        let metrics = ground.metrics()?;
        let (outbox, figures) = (Outbox::new(config.durability.pending_bytes), metrics.journal(true)?);
        let snapshot_bytes = config.durability.snapshot_bytes;
        let begun = Term::begin(cluster, elected, rules(config), snapshot_bytes, outbox, figures).await?;
        let (term, follower, is_known) = begun;
        let log = Some((term.epoch, term.outbox.clone()));
        let begun = Begun { follower, log, lead: Some(term.lead.clone()), adopts: !is_known };
        let running = ground.run(metrics, begun, is_known)?;
        Ok(Self { term, running })
    }

    async fn end(self, is_over: bool) {
        // First of all, so that whoever is woken now is told that this server does not lead.
        self.term.lead.end();
        self.running.app.engine.drain();
        self.running.end();
        self.term.stop(is_over).await;
    }
}
