//! Puts the parts together, and runs the server until it is asked to stop.

use std::{env, error::Error, sync::Arc, time::Duration};

use hyper_util::service::TowerToHyperService;
use throttle_core::{Limits, RestorePolicy, Settings};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::{
    cli::{DEFAULT_ADDRESS, DEFAULT_PORT, Serve},
    config::{self, Config},
    engine::{Bounds, Engine},
    http::{self, App, INSTANCE},
    metrics::Metrics,
    net, platform,
    reload::{self, Difference, Reloader},
    telemetry::{self, Telemetry},
};

/// How long messages on their way to Graylog may hold up the end of the process; traces at least as long.
const FLUSH_PATIENCE: Duration = Duration::from_millis(100);
/// The time for everything at shutdown, if requests leave any of it to the traces.
const SHUTDOWN_TIME: Duration = Duration::from_millis(700);

/// Serves until Ctrl+C or SIGTERM. The error, if it cannot start, is one clear line.
pub fn run(arguments: &Serve) -> Result<(), Box<dyn Error>> {
    let loaded = config::load(&arguments.configuration)?;
    let mut config = loaded.config;
    arguments.apply(&mut config);
    let filter = env::var(telemetry::ENVIRONMENT).ok();
    let telemetry = telemetry::init(&config.logging, &config.telemetry, filter.as_deref())?;
    if !loaded.found {
        info!("There is no file {}; the defaults apply.", arguments.configuration.display());
    }
    remark(&config);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(serve(arguments, &config, &telemetry));
    runtime.shutdown_background();
    let for_traces = outcome.as_ref().map_or(FLUSH_PATIENCE, |asked_at| {
        SHUTDOWN_TIME.saturating_sub(asked_at.elapsed()).max(FLUSH_PATIENCE)
    });
    telemetry.shut_down(FLUSH_PATIENCE, for_traces);
    outcome.map(drop)
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

/// Serves until it is asked to stop, and returns when that was.
async fn serve(arguments: &Serve, config: &Config, telemetry: &Telemetry) -> Result<Instant, Box<dyn Error>> {
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
    let mut network = net::Settings::from(limits);
    metrics.watch(&network.stats, telemetry.gelf().as_ref(), telemetry.otlp().as_ref())?;
    let engine = Engine::new(settings, bounds, metrics.recorder())?;
    engine.declare(&Difference { added: reload::declared(config), ..Difference::default() });
    let reloader = Arc::new(Reloader::new(arguments.clone(), config.clone(), engine.clone()));
    let app = App::new(engine.clone(), metrics, limits, reloader.clone())?;

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
    let reloads = tokio::spawn(reload_signal);
    let mut asked_at = Instant::now();
    let shutdown = async {
        asked_to_stop.await;
        asked_at = Instant::now();
        info!("Shutting down.");
        engine.drain();
    };
    let service = http::service(app, telemetry.tracer(), telemetry::trace::is_on());
    net::serve(listener, TowerToHyperService::new(service), network, shutdown).await;
    deadlines.abort();
    feed.abort();
    reloads.abort();
    Ok(asked_at)
}
