//! Puts the parts together, and runs the server until it is asked to stop.

use std::{
    env,
    error::Error,
    io::{self, IsTerminal as _, Write as _},
    pin::{Pin, pin},
    sync::{Arc, PoisonError, RwLock},
    thread::available_parallelism,
    time::Duration,
};

use axum::http::HeaderValue;
use tokio::{sync::oneshot, task::JoinHandle, time::Instant};
use tracing::{Level, enabled, info, warn};

use crate::{
    audit::Audit,
    begin::{Begun, background, begin, empty},
    cluster::{self, Cluster},
    config::{AuditLog, Config, Content, DEFAULT_ADDRESS, DEFAULT_PORT, Encryption, Loaded, Security, Start},
    durable::{self, Durable},
    history::History,
    http::{self, App, Around, Hosts, INSTANCE, Several, Stage},
    metrics::Metrics,
    net::{self, Budget, Local, NetStats, Tls},
    platform,
    reload::Reloader,
    runtime::Engine,
    security::Guard,
    telemetry::{self, Telemetry},
};

/// How long messages on their way to Graylog may hold up the end of the process; traces at least as long.
const FLUSH_PATIENCE: Duration = Duration::from_millis(100);
/// The time for everything at shutdown, if requests leave any of it to the traces.
const SHUTDOWN_TIME: Duration = Duration::from_millis(700);

/// The variable by which tokio lets an operator choose the number of its threads.
const THREADS: &str = "TOKIO_WORKER_THREADS";

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
    info!("Starting");
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if env::var_os(THREADS).is_none() {
        runtime.worker_threads(threads());
    }
    let runtime = runtime.enable_all().build()?;
    let mut asked_at = None;
    let outcome = runtime.block_on(serve(start, &loaded, &telemetry, &mut asked_at));
    runtime.shutdown_background();
    if outcome.is_ok() {
        info!("Shutdown complete");
    }
    let for_traces = asked_at
        .map_or(FLUSH_PATIENCE, |at: Instant| SHUTDOWN_TIME.saturating_sub(at.elapsed()).max(FLUSH_PATIENCE));
    telemetry.shut_down(FLUSH_PATIENCE, for_traces);
    outcome
}

/// How many threads answer requests: as many as there are processors, but for one. Half of what a small request costs
/// is the system's work, and the disk has a thread of its own; threads that have to share a processor with those wake
/// and move each other more than they do.
fn threads() -> usize {
    available_parallelism().map_or(1, |processors| processors.get().saturating_sub(1).max(1))
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
    // From before anybody can know that the server is there, so that none of these signals just kills it.
    let asked_to_stop =
        platform::shutdown_signal().map_err(|error| format!("Signals cannot be received: {error}"))?;
    let mut asked_to_stop = pin!(async {
        asked_to_stop.await;
        info!("Shutdown signal received");
    });
    let reloader = CurrentReloader::default();
    let reload_signal = platform::on_reload_signal(reload(reloader.clone()))
        .map_err(|error| format!("Signals cannot be received: {error}"))?;
    let (guard, tls, audit) = (guard(config)?, encryption(config)?, audit(config)?);
    let cluster = match &config.cluster {
        None => None,
        Some(config) => tokio::select! {
            found = cluster::find(config) => Some(found?),
            () = &mut asked_to_stop => return Ok(()),
        },
    };
    let metrics = Metrics::new(limits.metric_series)?;
    let durable = durable::find(config, &metrics)?;
    let instance = match (&durable, &cluster) {
        (Some(durable), _) => durable.journal(),
        (None, Some(cluster)) => cluster.journal(),
        (None, None) => getrandom::u64()?,
    };
    let instance = HeaderValue::try_from(format!("{instance:016x}"))?;

    let address = config.address.as_deref().unwrap_or(DEFAULT_ADDRESS);
    let port = config.port.unwrap_or(DEFAULT_PORT);
    let listener = net::bind(address, port, config.http.socket_mode).await?;
    let local = listener.local()?;
    let mut network = net::Settings::from(limits);
    let is_reached = !local.is_of_this_machine();
    if is_reached {
        guard.is_reached();
    }
    let machine = is_reached.then(platform::host_name);
    let hosts = Hosts::new(&config.http.hosts, machine.as_deref());
    network.connections = net::capacity(limits.connections, platform::raise_open_files());
    network.is_probe = http::is_answered_when_full;
    network.tls.clone_from(&tls);
    network.tells_address = audit.is_some() || guard.counts_addresses() || cluster.is_some();
    network.headers.insert(INSTANCE, instance.clone());
    let ground = Ground {
        start,
        loaded,
        telemetry,
        guard: guard.clone(),
        audit,
        network: network.stats.clone(),
        buffers: network.buffers.clone(),
        instance: instance.clone(),
        reloader,
        cluster: cluster.clone(),
        hosts: hosts.clone(),
        local,
        is_encrypted: tls.is_some(),
    };
    let stage = Stage::default();
    let (stop, stopped) = oneshot::channel::<()>();
    let service = http::service(stage.clone(), instance);
    // Polled from the recovery on, which takes a while; without one, nobody sees a server that is not ready.
    let network = pin!(net::serve(listener, service, network, async { drop(stopped.await) }));
    let tasks = vec![tokio::spawn(reload_signal), tokio::spawn(watch_files(guard.clone(), tls))];
    let outcome = match cluster {
        None => {
            let around = Surroundings { network, stop, asked_to_stop, asked_at };
            alone(&ground, metrics, durable, &stage, around).await
        }
        Some(cluster) => {
            let idle = ground.metrics()?;
            let several = Several::new(cluster.clone(), hosts, guard, idle, telemetry.tracer());
            stage.share(several.clone());
            cluster::serve(&ground, cluster, several, Surroundings { network, stop, asked_to_stop, asked_at })
                .await
        }
    };
    for task in tasks {
        task.abort();
    }
    outcome
}

/// What a server has before it has an engine.
pub(crate) struct Ground<'a> {
    pub(crate) start: &'a Start,
    pub(crate) loaded: &'a Loaded,
    telemetry: &'a Telemetry,
    pub(crate) guard: Arc<Guard>,
    pub(crate) audit: Option<Arc<Audit>>,
    network: Arc<NetStats>,
    pub(crate) buffers: Arc<Budget>,
    pub(crate) instance: HeaderValue,
    reloader: CurrentReloader,
    cluster: Option<Arc<Cluster>>,
    hosts: Hosts,
    local: Local,
    is_encrypted: bool,
}

/// What goes on around an engine: requests come in until it is asked to stop.
pub(crate) struct Surroundings<'a, N, A> {
    pub(crate) network: Pin<&'a mut N>,
    /// Ends the network.
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) asked_to_stop: Pin<&'a mut A>,
    pub(crate) asked_at: &'a mut Option<Instant>,
}

impl<N: Future<Output = ()>, A> Surroundings<'_, N, A> {
    /// Takes no more requests, and answers those that wait, if there is an engine that they wait for.
    pub(crate) async fn shut_down(self, app: Option<&App>) {
        *self.asked_at = Some(Instant::now());
        platform::tell_stopping();
        if let Some(app) = app {
            app.engine.drain();
        }
        // It ends only when it is told so.
        let _ = self.stop.send(());
        self.network.await;
    }
}

/// An engine with all that is around it.
pub(crate) struct Running {
    pub(crate) app: Arc<App>,
    tasks: Vec<JoinHandle<()>>,
}

impl Running {
    /// Ends what goes on beside the requests.
    pub(crate) fn end(&self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// What reads the configuration again, once there is something.
type CurrentReloader = Arc<RwLock<Option<Arc<Reloader>>>>;

impl Ground<'_> {
    /// Everything that is told to Prometheus.
    pub(crate) fn metrics(&self) -> Result<Metrics, Box<dyn Error>> {
        let metrics = Metrics::new(self.loaded.config.limits.metric_series)?;
        self.watch(&metrics)?;
        Ok(metrics)
    }

    fn watch(&self, metrics: &Metrics) -> Result<(), Box<dyn Error>> {
        metrics.watch(
            self.guard.is_exposed(),
            self.audit.as_deref(),
            &self.network,
            self.telemetry.gelf().as_ref(),
            self.telemetry.otlp().as_ref(),
        )?;
        if let Some(cluster) = &self.cluster {
            cluster::register(metrics.registry(), cluster)?;
        }
        Ok(())
    }

    /// Says that the server listens, and warns if that is for everybody.
    pub(crate) fn announce(&self) {
        let Self { local, is_encrypted, .. } = self;
        let url = match local {
            Local::Tcp(_) => format!("http{}://{local}", if *is_encrypted { "s" } else { "" }),
            Local::Unix(_) => local.to_string(),
        };
        info!("Listening on {url}");
        // Whoever sits before it sees that it runs, also at levels that show nothing of it.
        if io::stderr().is_terminal() && (self.telemetry.gelf().is_some() || !enabled!(Level::INFO)) {
            // It may be gone by now.
            let _ = writeln!(io::stderr(), "throttle: listening on {url}");
        }
        if self.guard.is_exposed() {
            warn!(
                "The server is open: whoever reaches {local} may do everything. Set tokens in [security], or listen \
                 on 127.0.0.1."
            );
        }
        if !local.is_of_this_machine() {
            info!(
                "Browsers may open it by its addresses and as {}; for another name write it into the file: [http] \
                 hosts = [\"name\"]",
                self.hosts.shown()
            );
        }
        info!("Ready");
        platform::tell_ready();
    }

    /// Starts an engine with all that is around it. `is_known` tells whether it begins with anything.
    pub(crate) fn run(
        &self,
        metrics: Metrics,
        begun: Begun,
        is_known: bool,
    ) -> Result<Running, Box<dyn Error>> {
        let config = &self.loaded.config;
        let history = Arc::new(History::new(config.limits.histories, config.limits.history_step));
        let (engine, current) = begin(self.start, self.loaded, &metrics, history.grants(), begun)?;
        if !is_known {
            self.hold_grants(&engine);
        }
        let (guard, audit) = (self.guard.clone(), self.audit.clone());
        let reloader = Arc::new(Reloader::new(self.start.clone(), current, engine.clone(), guard, audit));
        *self.reloader.write().unwrap_or_else(PoisonError::into_inner) = Some(reloader.clone());
        let tasks = background(&engine, history.clone(), metrics.expired_peers());
        let (instance, buffers) = (self.instance.clone(), self.buffers.clone());
        let (hosts, cluster) = (self.hosts.clone(), self.cluster.clone());
        let around = Around { instance, history, reloader, buffers, hosts, cluster };
        Ok(Running { app: App::new(engine, metrics, config, around), tasks })
    }

    /// Holds grants back, as the configuration wants it where nothing is known.
    fn hold_grants(&self, engine: &Engine) {
        let pause = self.loaded.config.recovery.hold_grants;
        if !pause.is_zero() {
            engine.hold_grants(pause);
            info!(
                "Nothing is granted anew for {}, so that peers can come back first.",
                humantime::format_duration(pause)
            );
        }
    }
}

/// Serves as the only server of its semaphores.
async fn alone<N: Future<Output = ()>, A: Future<Output = ()>>(
    ground: &Ground<'_>,
    metrics: Metrics,
    mut durable: Option<Durable>,
    stage: &Stage,
    mut around: Surroundings<'_, N, A>,
) -> Result<(), Box<dyn Error>> {
    ground.watch(&metrics)?;
    let follower = empty(&ground.loaded.config);
    let (follower, is_known) = match &mut durable {
        None => (follower, false),
        Some(durable) => tokio::select! {
            () = &mut around.network => return Ok(()),
            () = &mut around.asked_to_stop => return Ok(()),
            recovered = durable.recover(follower, &metrics) => recovered?,
        },
    };
    let log = durable.as_ref().map(|durable| (durable.epoch(), durable.outbox()));
    let begun = Begun { follower, log, lead: None, adopts: true };
    let running = ground.run(metrics, begun, is_known)?;
    stage.open(running.app.clone(), ground.telemetry.tracer());
    ground.announce();

    let failed = tokio::select! {
        () = &mut around.network => None,
        () = &mut around.asked_to_stop => None,
        failed = async {
            match &durable {
                Some(durable) => durable.failed().await,
                None => std::future::pending().await,
            }
        } => Some(failed),
    };
    around.shut_down(Some(&running.app)).await;
    running.end();
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
    let (start, follower) = (Start::default(), empty(&config));
    let history = Arc::new(History::new(limits.histories, limits.history_step));
    let loaded = Loaded { config, content: Content::Something };
    let begun = Begun { follower, log: None, lead: None, adopts: true };
    let (engine, current) = begin(&start, &loaded, &metrics, history.grants(), begun)?;
    let (guard, audit) = (guard(&loaded.config)?, audit(&loaded.config)?);
    let reloader = Arc::new(Reloader::new(start, current, engine.clone(), guard, audit));
    let (instance, buffers) = (HeaderValue::from_static("0"), Budget::new(loaded.config.limits.buffer_bytes));
    let hosts = Hosts::new(&loaded.config.http.hosts, None);
    let around = Around { instance, history, reloader, buffers, hosts, cluster: None };
    let app = App::new(engine, metrics, &loaded.config, around);
    let stage = Stage::default();
    stage.open(app.clone(), None);
    Ok((stage, app))
}

/// Reads the configuration again, once there is something that does.
fn reload(reloader: CurrentReloader) -> impl Fn() {
    move || {
        if let Some(reloader) = reloader.read().unwrap_or_else(PoisonError::into_inner).clone() {
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

/// Looks at what a configuration names beside itself: the files of tokens, keys and certificates, which it reads, and
/// the collector of traces.
///
/// # Errors
///
/// What is wrong with them.
pub fn check_named(config: &Config) -> Result<(), Box<dyn Error>> {
    guard(config)?;
    encryption(config)?;
    cluster::check_files(config)?;
    telemetry::check_collector(&config.telemetry.otlp)?;
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
