//! Puts the parts together, and runs the server until it is asked to stop.

use std::{
    env,
    error::Error,
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::http::HeaderValue;
use throttle_core::{Core, Limits, Settings};
use throttle_node::{Bounds, Declared, Difference, Follower};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tracing::{info, warn};

use crate::{
    audit::Audit,
    config::{AuditLog, Config, Content, DEFAULT_ADDRESS, DEFAULT_PORT, Encryption, Loaded, Security, Start},
    durable::{self, Durable},
    history::History,
    http::{self, App, INSTANCE, Stage},
    metrics::Metrics,
    net::{self, Budget, Local, Tls},
    platform,
    reload::{Current, Reloaded, Reloader},
    runtime::{Engine, Parts, wall_now},
    security::Guard,
    telemetry::{self, Telemetry},
};

/// How long messages on their way to Graylog may hold up the end of the process; traces at least as long.
const FLUSH_PATIENCE: Duration = Duration::from_millis(100);
/// The time for everything at shutdown, if requests leave any of it to the traces.
const SHUTDOWN_TIME: Duration = Duration::from_millis(700);

/// Serves until Ctrl+C or SIGTERM. The error, if it cannot start or go on, is one clear line.
pub fn run(start: &Start) -> Result<(), Box<dyn Error>> {
    let loaded = start.load()?;
    let config = &loaded.config;
    let filter = env::var(telemetry::ENVIRONMENT).ok();
    let telemetry = telemetry::init(&config.logging, &config.telemetry, filter.as_deref())?;
    if loaded.content == Content::Missing {
        info!("There is no file {}; the defaults apply.", start.file().display());
    }
    remark(config);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut asked_at = None;
    let outcome = runtime.block_on(serve(start, &loaded, &telemetry, &mut asked_at));
    runtime.shutdown_background();
    let for_traces = asked_at
        .map_or(FLUSH_PATIENCE, |at: Instant| SHUTDOWN_TIME.saturating_sub(at.elapsed()).max(FLUSH_PATIENCE));
    telemetry.shut_down(FLUSH_PATIENCE, for_traces);
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

/// Serves until it is asked to stop, and tells when that was.
async fn serve(
    start: &Start,
    loaded: &Loaded,
    telemetry: &Telemetry,
    asked_at: &mut Option<Instant>,
) -> Result<(), Box<dyn Error>> {
    let config = &loaded.config;
    let limits = &config.limits;
    let metrics = Metrics::new(limits.metric_series)?;
    // From before anybody can know that the server is there, so that none of these signals just kills it.
    let asked_to_stop =
        platform::shutdown_signal().map_err(|error| format!("Signals cannot be received: {error}"))?;
    let reloader = Arc::new(OnceLock::<Arc<Reloader>>::new());
    let reload_signal = platform::on_reload_signal(reload(reloader.clone()))
        .map_err(|error| format!("Signals cannot be received: {error}"))?;
    let (guard, tls, audit) = (guard(config)?, encryption(config)?, audit(config)?);
    let mut durable = durable::find(config, &metrics)?;
    let instance = match &durable {
        Some(durable) => durable.journal(),
        None => getrandom::u64()?,
    };
    let instance = HeaderValue::try_from(format!("{instance:016x}"))?;

    let address = config.address.as_deref().unwrap_or(DEFAULT_ADDRESS);
    let port = config.port.unwrap_or(DEFAULT_PORT);
    let listener = net::bind(address, port, config.http.socket_mode).await?;
    let local = listener.local()?;
    let mut network = net::Settings::from(limits);
    let buffers = network.buffers.clone();
    if !local.is_of_this_machine() {
        guard.is_reached();
    }
    metrics.watch(
        guard.is_exposed(),
        audit.as_deref(),
        &network.stats,
        telemetry.gelf().as_ref(),
        telemetry.otlp().as_ref(),
    )?;
    network.connections = net::capacity(limits.connections, platform::raise_open_files());
    network.is_probe = http::is_answered_when_full;
    network.tls.clone_from(&tls);
    network.tells_address = audit.is_some() || guard.counts_addresses();
    network.headers.insert(INSTANCE, instance.clone());
    let stage = Stage::default();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let service = http::service(stage.clone(), instance.clone());
    // Polled from the recovery on, which takes a while; without one, nobody sees a server that is not ready.
    let mut network = pin!(net::serve(listener, service, network, async { drop(stopped.await) }));
    let mut asked_to_stop = pin!(asked_to_stop);
    let follower = empty(config)?;
    let (follower, is_known) = match &mut durable {
        None => (follower, false),
        Some(durable) => tokio::select! {
            () = &mut network => return Ok(()),
            () = &mut asked_to_stop => return Ok(()),
            recovered = durable.recover(follower, &metrics) => recovered?,
        },
    };
    let (engine, current) = begin(start, loaded, &metrics, follower, durable.as_ref())?;
    if !is_known && !config.recovery.hold_grants.is_zero() {
        engine.hold_grants(config.recovery.hold_grants);
        info!(
            "Nothing is granted anew for {}, so that peers can come back first.",
            humantime::format_duration(config.recovery.hold_grants)
        );
    }
    let make =
        || Arc::new(Reloader::new(start.clone(), current, engine.clone(), guard.clone(), audit.clone()));
    let reloader = reloader.get_or_init(make).clone();
    let history = Arc::new(History::new(limits.histories, limits.history_step));
    let app = App::new(engine.clone(), metrics, config, instance, history.clone(), reloader, buffers);
    let mut tasks = background(&engine, history);
    tasks.push(tokio::spawn(reload_signal));
    tasks.push(tokio::spawn(watch_files(guard, tls.clone())));
    stage.open(app.clone(), telemetry.tracer());
    announce(&local, tls.is_some(), app.guard.is_exposed());
    platform::tell_ready();

    let failed = tokio::select! {
        () = &mut network => None,
        () = &mut asked_to_stop => None,
        failed = async {
            match &durable {
                Some(durable) => durable.failed().await,
                None => std::future::pending().await,
            }
        } => Some(failed),
    };
    *asked_at = Some(Instant::now());
    info!("Shutting down.");
    platform::tell_stopping();
    engine.drain();
    // It ends only when it is told so.
    let _ = stop.send(());
    network.await;
    for task in tasks {
        task.abort();
    }
    match (failed, durable) {
        (Some(failed), _) => Err(failed.into()),
        (None, Some(durable)) => Ok(durable.stop().await?),
        (None, None) => Ok(()),
    }
}

/// A server in this process without a network, a log, or anything that happens by itself: for programs that speak to it
/// directly.
///
/// # Errors
///
/// Only if the system has no randomness to give.
pub fn in_memory(config: Config) -> Result<(Stage, Arc<App>), Box<dyn Error>> {
    let limits = &config.limits;
    let metrics = Metrics::new(limits.metric_series)?;
    let (start, follower) = (Start::default(), empty(&config)?);
    let history = Arc::new(History::new(limits.histories, limits.history_step));
    let loaded = Loaded { config, content: Content::Something };
    let (engine, current) = begin(&start, &loaded, &metrics, follower, None)?;
    let (guard, audit) = (guard(&loaded.config)?, audit(&loaded.config)?);
    let reloader = Arc::new(Reloader::new(start, current, engine.clone(), guard, audit));
    let (instance, buffers) = (HeaderValue::from_static("0"), Budget::new(loaded.config.limits.buffer_bytes));
    let app = App::new(engine, metrics, &loaded.config, instance, history, reloader, buffers);
    let stage = Stage::default();
    stage.open(app.clone(), None);
    Ok((stage, app))
}

/// What goes on beside the requests for as long as the server runs.
fn background(engine: &Arc<Engine>, history: Arc<History>) -> Vec<JoinHandle<()>> {
    let sampled = engine.clone();
    vec![
        tokio::spawn(run_forever(engine.clone(), async |engine| engine.run_deadlines().await)),
        tokio::spawn(run_forever(engine.clone(), async |engine| engine.run_event_notifier().await)),
        tokio::spawn(async move { history.run(&sampled).await }),
        tokio::spawn(give_signs_of_life(engine.clone())),
    ]
}

/// Reads the configuration again, once there is one.
fn reload(reloader: Arc<OnceLock<Arc<Reloader>>>) -> impl Fn() {
    move || {
        if let Some(reloader) = reloader.get().cloned() {
            // It reads a file.
            tokio::task::spawn_blocking(move || reloader.reload_and_log());
        }
    }
}

/// Takes up changes of tokens and certificates.
async fn watch_files(guard: Arc<Guard>, tls: Option<Arc<Tls>>) {
    tokio::join!(guard.watch(), async {
        if let Some(tls) = &tls {
            tls.watch().await;
        }
    });
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

/// The first line of a server that listens, and a warning if that is for everybody.
fn announce(local: &Local, is_encrypted: bool, is_exposed: bool) {
    match local {
        Local::Tcp(_) => info!("Listening on http{}://{local}", if is_encrypted { "s" } else { "" }),
        Local::Unix(_) => info!("Listening on {local}"),
    }
    if is_exposed {
        warn!(
            "The server is open: whoever reaches {local} may do everything. Set tokens in [security], or listen on \
             127.0.0.1."
        );
    }
}

/// Where it is written who did what.
fn audit(config: &Config) -> Result<Option<Arc<Audit>>, Box<dyn Error>> {
    let Some(AuditLog { file, kinds }) = &config.audit else { return Ok(None) };
    let audit = Audit::begin(file, kinds.clone());
    Ok(Some(Arc::new(audit.map_err(|error| format!("The audit log {}: {error}.", file.display()))?)))
}

/// How connections are encrypted.
fn encryption(config: &Config) -> Result<Option<Arc<Tls>>, Box<dyn Error>> {
    let Some(Encryption { files, handshake_timeout }) = &config.tls else { return Ok(None) };
    if config.address.as_deref().is_some_and(|address| address.starts_with("unix:")) {
        return Err("A Unix domain socket is not encrypted: leave out [tls], or listen on a port.".into());
    }
    if files.client_ca.is_some() && config.security.tokens.is_none() {
        return Err("tls.client_ca says who clients are, but nothing says what they may do: set tokens in [security], \
                    and write an [[identity]] for each into that file."
            .into());
    }
    Ok(Some(Tls::read(files.clone(), *handshake_timeout)?))
}

/// Reads the files that a configuration names: tokens, keys and certificates.
///
/// # Errors
///
/// What is wrong with them.
pub fn check_files(config: &Config) -> Result<(), Box<dyn Error>> {
    guard(config)?;
    encryption(config)?;
    Ok(())
}

/// Who may come in.
fn guard(config: &Config) -> Result<Arc<Guard>, Box<dyn Error>> {
    let Security { tokens, required, public, quota: _, jwt } = &config.security;
    if let Some(path) = public.iter().find(|path| !http::is_for_looking(path)) {
        let sentence = format!(
            "security.public: {path:?} is no route that only shows something; allowed: such as \"/metrics\" or \
             \"/v1/semaphores\"."
        );
        return Err(sentence.into());
    }
    let guard = Guard::open(config.limits.rate_per_address);
    match tokens {
        None if jwt.is_some() => {
            Err("[security.jwt] says who clients are, but nothing says what they may do: set tokens in [security], and \
                 write an [[identity]] for them into that file."
                .into())
        }
        Some(path) => {
            let guard = guard.with_tokens(path.clone(), config.usual_quotas(), public.clone())?;
            let guard = jwt.iter().try_fold(guard, |guard, jwt| guard.with_issuer(jwt.clone()))?;
            // Nobody but its owner can do anything with a peer, so its id is but a name.
            telemetry::show_ids();
            Ok(Arc::new(guard))
        }
        None if *required => {
            Err("security.required is true, but nothing says who may come in: set tokens in [security]."
                .into())
        }
        None => Ok(Arc::new(guard)),
    }
}

async fn run_forever(engine: Arc<Engine>, task: impl AsyncFnOnce(&Engine)) {
    task(&engine).await;
}

/// A node that knows nothing.
fn empty(config: &Config) -> Result<Follower, Box<dyn Error>> {
    // Microseconds of the wall clock exceed what any earlier run can have counted up to.
    let core = Core::new(settings(config), wall_now().as_micros(), getrandom::u64()?);
    Ok(Follower::new(core))
}

/// The rules.
pub(crate) fn settings(config: &Config) -> Settings {
    let limits = &config.limits;
    Settings {
        margin_max: config.expiry.margin,
        ageing_step: config.queue.ageing_step,
        absent_after: config.queue.absent_after,
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

/// The engine, with what the configuration declares.
fn begin(
    start: &Start,
    loaded: &Loaded,
    metrics: &Metrics,
    follower: Follower,
    durable: Option<&Durable>,
) -> Result<(Arc<Engine>, Current), Box<dyn Error>> {
    let limits = &loaded.config.limits;
    let bounds = Bounds {
        waits: limits.blocked_requests,
        endings: limits.remembered_peers,
        idempotency_keys: limits.idempotency_keys,
        events: limits.events,
    };
    let declared = follower.state().declared.iter();
    let before: Declared = declared.map(|(name, spec)| (name.to_string(), *spec)).collect();
    let engine = Engine::new(Parts {
        follower,
        bounds,
        event_streams: limits.event_streams,
        observer: Box::new(metrics.recorder()),
        log: durable.map(|durable| (durable.epoch(), durable.outbox())),
    })?;
    let current = Current::at_start(loaded.clone(), &before, start);
    let difference = Difference::between(&before, &current.declared);
    if durable.is_none() || difference != Difference::default() {
        Reloaded::apply(&engine, difference, before.len(), &current.declared);
    }
    Ok((engine, current))
}
