//! From following to leading and back, for as long as the server runs.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use throttle_etcd::{Etcd, Registry};
use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    Cluster,
    standby::{Elected, Standby},
    term::{Over, Term},
};
use crate::{
    begin::{Begun, background, begin, empty, settings},
    history::History,
    http::{App, Around, Several},
    journal::Outbox,
    platform,
    reload::Reloader,
    serve::{Ground, Surroundings},
};

/// Serves as one of several, until it is asked to stop.
pub(crate) async fn serve<N: Future<Output = ()>, A: Future<Output = ()>>(
    ground: &Ground<'_>,
    cluster: Arc<Cluster>,
    several: Arc<Several>,
    around: Surroundings<'_, N, A>,
) -> Result<(), Box<dyn Error>> {
    let Surroundings { mut network, stop, mut asked_to_stop, asked_at } = around;
    let config = &ground.loaded.config;
    let registry = Registry::new(cluster.etcd.clone(), &cluster.config.prefix);
    let name = cluster.config.advertise.clone();
    let listed = cluster.etcd.spawn(async move { registry.stay_listed(&name).await });
    ground.announce();
    let failed = loop {
        let is_stopping = Arc::new(AtomicBool::new(false));
        let etcd = Etcd::new(cluster.config.etcd())?;
        let standby = {
            let config = config.clone();
            Standby::new(cluster.clone(), etcd.clone(), move || empty(&config))
        };
        let following = tokio::task::spawn_blocking({
            let is_stopping = is_stopping.clone();
            move || standby.run(&is_stopping)
        });
        let elected = tokio::select! {
            () = &mut network => None,
            () = &mut asked_to_stop => None,
            elected = following => elected?,
        };
        let Some(elected) = elected else {
            is_stopping.store(true, Relaxed);
            etcd.stop();
            break None;
        };
        let leading = Leading::begin(ground, &cluster, elected).await?;
        several.lead(leading.app.clone());
        info!("This server leads, in epoch {}.", leading.term.epoch.0);
        let over = tokio::select! {
            () = &mut network => None,
            () = &mut asked_to_stop => None,
            over = leading.term.over() => Some(over),
        };
        match over {
            None => {
                *asked_at = Some(Instant::now());
                info!("Shutting down.");
                platform::tell_stopping();
                leading.app.engine.drain();
                let _ = stop.send(());
                network.await;
                leading.end(false).await;
                listed.abort();
                return Ok(());
            }
            Some(Over::Deposed) => {
                warn!("Another server leads by now. This one follows.");
                several.follow();
                leading.end(true).await;
            }
            Some(Over::Failed(why)) => {
                several.follow();
                leading.end(true).await;
                break Some(why);
            }
        }
    };
    *asked_at = Some(Instant::now());
    info!("Shutting down.");
    platform::tell_stopping();
    let _ = stop.send(());
    network.await;
    listed.abort();
    match failed {
        Some(why) => {
            let prefix = &cluster.config.prefix;
            Err(format!("The log in etcd below {prefix:?}: {}.", why.trim_end_matches('.')).into())
        }
        None => Ok(()),
    }
}

/// A server that leads.
struct Leading {
    term: Term,
    app: Arc<App>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
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
        let begun = Term::begin(cluster, elected, settings(config), snapshot_bytes, outbox, figures).await?;
        let (term, follower, is_known) = begun;
        let log = Some((term.epoch, term.outbox.clone()));
        let begun = Begun { follower, log, lead: Some(term.lead.clone()), adopts: !is_known };
        let (engine, current) = begin(ground.start, ground.loaded, &metrics, begun)?;
        if !is_known {
            ground.hold_grants(&engine);
        }
        let (guard, audit) = (ground.guard.clone(), ground.audit.clone());
        let reloader = Arc::new(Reloader::new(ground.start.clone(), current, engine.clone(), guard, audit));
        ground.reload_with(&reloader);
        let limits = &config.limits;
        let history = Arc::new(History::new(limits.histories, limits.history_step));
        let (instance, buffers) = (ground.instance.clone(), ground.buffers.clone());
        let tasks = background(&engine, history.clone());
        let around = Around { instance, history, reloader, buffers, cluster: Some(cluster.clone()) };
        let app = App::new(engine, metrics, config, around);
        Ok(Self { term, app, tasks })
    }

    async fn end(self, is_over: bool) {
        // First of all, so that whoever is woken now is told that this server does not lead.
        self.term.lead.end();
        self.app.engine.drain();
        for task in self.tasks {
            task.abort();
        }
        self.term.stop(is_over).await;
    }
}
