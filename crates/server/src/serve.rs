//! Puts the parts together, and runs the server until it is asked to stop.

use std::{env, error::Error, sync::Arc, time::Duration};

use hyper_util::service::TowerToHyperService;
use throttle_core::{Limits, RestorePolicy, Settings};
use tracing::{info, warn};

use crate::{
    cli::{DEFAULT_ADDRESS, DEFAULT_PORT, Serve},
    config::{self, Config},
    engine::{Bounds, Engine},
    history::History,
    http::{self, App, INSTANCE},
    metrics::Metrics,
    net, platform,
    reload::{self, Difference, Reloader},
    telemetry,
};

/// How long messages on their way to Graylog may hold up the end of the process.
const FLUSH_PATIENCE: Duration = Duration::from_millis(100);

/// Serves until Ctrl+C or SIGTERM. The error, if it cannot start, is one clear line.
pub fn run(arguments: &Serve) -> Result<(), Box<dyn Error>> {
    let loaded = config::load(&arguments.configuration)?;
    let mut config = loaded.config;
    arguments.apply(&mut config);
    let telemetry = telemetry::init(&config.logging, env::var(telemetry::ENVIRONMENT).ok().as_deref())?;
    if !loaded.found {
        info!("There is no file {}; the defaults apply.", arguments.configuration.display());
    }
    remark(&config);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(serve(arguments, &config));
    runtime.shutdown_background();
    telemetry.flush(FLUSH_PATIENCE);
    outcome
}

/// What the operator should know of the configuration.
fn remark(config: &Config) {
    if config.litter_collection_interval.is_some() {
        info!("litter_collection_interval is accepted, but changes nothing: expiry is exact.");
    }
    if config.semaphores.is_empty() {
        warn!("No semaphores configured.");
    }
}

async fn serve(arguments: &Serve, config: &Config) -> Result<(), Box<dyn Error>> {
    let metrics = Metrics::new()?;
    let limits = &config.limits;
    let settings = Settings {
        margin_max: config.expiry.margin,
        ageing_step: config.queue.ageing_step,
        restore: RestorePolicy::Allow,
        limits: Limits {
            peers: limits.peers,
            waiters_per_semaphore: limits.waiters_per_semaphore,
            locks_per_peer: limits.locks_per_peer,
            semaphores: limits.semaphores,
            deadlock_walk: limits.deadlock_walk,
        },
    };
    let bounds = Bounds {
        blocked_requests: limits.blocked_requests,
        remembered_peers: limits.remembered_peers,
        idempotency_keys: limits.idempotency_keys,
        events: limits.events,
        event_streams: limits.event_streams,
    };
    let engine = Engine::new(settings, bounds, metrics.recorder())?;
    engine.declare(&Difference { added: reload::declared(config), ..Difference::default() });
    let reloader = Arc::new(Reloader::new(arguments.clone(), config.clone(), engine.clone()));
    let history = Arc::new(History::new(limits.histories, limits.history_step));
    let app = App::new(engine.clone(), metrics, config, history.clone(), reloader.clone())?;

    // From before anybody can know that the server is there, so that none of these signals just kills it.
    let asked_to_stop =
        platform::shutdown_signal().map_err(|error| format!("Signals cannot be received: {error}"))?;
    let reload_signal = platform::on_reload_signal(move || {
        let reloader = reloader.clone();
        // It reads a file.
        tokio::task::spawn_blocking(move || reloader.reload_and_log());
    })
    .map_err(|error| format!("Signals cannot be received: {error}"))?;
    let address = config.address.as_deref().unwrap_or(DEFAULT_ADDRESS);
    let listener = net::bind(address, config.port.unwrap_or(DEFAULT_PORT)).await?;
    info!("Listening on http://{}", listener.local_addr()?);
    let mut network = net::Settings::from(limits);
    network.connections = net::capacity(limits.connections, platform::raise_open_files());
    network.headers.insert(INSTANCE, app.instance.clone());

    let deadlines = tokio::spawn({
        let engine = engine.clone();
        async move { engine.run_deadlines().await }
    });
    let feed = tokio::spawn({
        let engine = engine.clone();
        async move { engine.run_event_feed().await }
    });
    let samples = tokio::spawn({
        let engine = engine.clone();
        async move { history.run(&engine).await }
    });
    let reloads = tokio::spawn(reload_signal);
    let shutdown = async {
        asked_to_stop.await;
        info!("Shutting down.");
        engine.drain();
    };
    net::serve(listener, TowerToHyperService::new(http::service(app)), network, shutdown).await;
    deadlines.abort();
    feed.abort();
    samples.abort();
    reloads.abort();
    Ok(())
}
