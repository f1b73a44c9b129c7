//! The engine of a server: what it begins with, and what goes on beside the requests.

use std::{error::Error, sync::Arc, time::Duration};

use prometheus::IntCounter;
use throttle_core::{Core, Limits, Settings};
use throttle_journal::{Epoch, Rules};
use throttle_node::{Bounds, Declared, Difference, Follower};
use tokio::{task::JoinHandle, time::sleep};
use tracing::warn;

use crate::{
    config::{Config, Loaded, Start},
    history::{Grants, History},
    journal::Outbox,
    metrics::Metrics,
    platform,
    reload::{self, BY_FILE, Current, Reloaded},
    runtime::{Engine, Lead, Parts, wall_now},
};

/// The pause between two lines about peers that expired.
const EXPIRED_PAUSE: Duration = Duration::from_secs(1);

/// A node that knows nothing.
pub(crate) fn empty(config: &Config) -> Follower {
    // Without randomness its tables are slower at worst.
    let seed = getrandom::u64().unwrap_or_default();
    // Microseconds of the wall clock exceed what any earlier run can have counted up to.
    let Rules { core, idempotency_keys } = rules(config);
    Follower::new(Core::new(core, wall_now().as_micros(), seed), idempotency_keys)
}

/// The rules.
pub(crate) fn rules(config: &Config) -> Rules {
    Rules { core: settings(config), idempotency_keys: config.limits.idempotency_keys }
}

fn settings(config: &Config) -> Settings {
    let limits = &config.limits;
    Settings {
        margin_max: config.expiry.margin,
        ageing_step: config.queue.ageing_step,
        absent_after: config.queue.absent_after,
        pass_within: config.queue.pass_within,
        restore: config.restore_policy(),
        limits: Limits {
            peers: limits.peers,
            waiters_per_semaphore: limits.waiters_per_semaphore,
            locks_per_peer: limits.locks_per_peer,
            locks_per_request: limits.locks_per_request,
            locks_per_queue: limits.locks_per_queue,
            semaphores: limits.semaphores,
            members_per_pattern: limits.members_per_pattern,
            deadlock_walk: limits.deadlock_walk,
        },
        ..Settings::default()
    }
}

/// What an engine begins with.
pub(crate) struct Begun {
    /// What is known so far.
    pub(crate) follower: Follower,
    /// Where what happens is left to be written down, if it is.
    pub(crate) log: Option<(Epoch, Outbox)>,
    /// By which it is known that this server leads, if it is one of several.
    pub(crate) lead: Option<Arc<Lead>>,
    /// Whether what the file declares comes into force; else it does so only when somebody reloads it.
    pub(crate) adopts: bool,
}

/// The engine, with what the configuration declares.
pub(crate) fn begin(
    start: &Start,
    loaded: &Loaded,
    metrics: &Metrics,
    grants: Arc<Grants>,
    begun: Begun,
) -> Result<(Arc<Engine>, Current), Box<dyn Error>> {
    let Begun { follower, log, lead, adopts } = begun;
    let limits = &loaded.config.limits;
    let bounds = Bounds {
        waits: limits.blocked_requests,
        endings: limits.remembered_peers,
        idempotency_keys: limits.idempotency_keys,
        events: limits.events,
    };
    let declared = follower.state().declared.iter();
    let before: Declared = declared.map(|(name, spec)| (name.to_string(), *spec)).collect();
    let is_durable = log.is_some();
    let (event_streams, observer) = (limits.event_streams, Box::new(metrics.recorder(grants)));
    let engine = Engine::new(Parts { follower, bounds, event_streams, observer, log, lead })?;
    let mut current = Current::at_start(loaded.clone(), &before, start);
    let difference = Difference::between(&before, &current.declared);
    if !adopts {
        reload::warn_of_other_file(&difference);
        current.declared = before;
    } else if !is_durable || difference != Difference::default() {
        Reloaded::apply(&engine, difference, before.len(), &current.declared, BY_FILE);
    }
    Ok((engine, current))
}

/// What goes on beside the requests for as long as the server runs.
pub(crate) fn background(
    engine: &Arc<Engine>,
    history: Arc<History>,
    expired_peers: IntCounter,
) -> Vec<JoinHandle<()>> {
    let sampled = engine.clone();
    vec![
        tokio::spawn(run_forever(engine.clone(), async |engine| engine.run_deadlines().await)),
        tokio::spawn(run_forever(engine.clone(), async |engine| engine.run_event_notifier().await)),
        tokio::spawn(async move { history.run(&sampled).await }),
        tokio::spawn(give_signs_of_life(engine.clone())),
        tokio::spawn(tell_of_expired(expired_peers)),
    ]
}

/// Logs how many peers expired, at most once in a while.
async fn tell_of_expired(expired_peers: IntCounter) {
    let mut told = expired_peers.get();
    loop {
        sleep(EXPIRED_PAUSE).await;
        let now = expired_peers.get();
        if now > told {
            // In the words of earlier releases, by which alerts know it.
            warn!(target: "throttle", "Removed {} peers due to expiration", now - told);
        }
        told = now;
    }
}

async fn run_forever(engine: Arc<Engine>, task: impl AsyncFnOnce(&Engine)) {
    task(&engine).await;
}

/// Tells whoever started this process that it lives, if he asks for that: as long as requests can be answered.
async fn give_signs_of_life(engine: Arc<Engine>) {
    let Some((pause, tell)) = platform::watchdog() else { return };
    loop {
        engine.view(|_| ());
        tell();
        sleep(pause).await;
    }
}
