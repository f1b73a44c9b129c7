//! What Prometheus is told: figures of both older generations under their names, and newer ones.

mod read;
mod recorder;
mod requests;
mod shell;

use std::{collections::HashMap, ops::Add as _, sync::Arc, time::Duration};

use bytes::Bytes;
use prometheus::{
    Encoder as _, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry, TextEncoder,
};
use throttle_core::{Core, Name, SemaphoreView};
use tokio::{sync::Mutex, time::Instant};

use recorder::{Families, Shown};

pub(crate) use read::ReadMetric;
pub use recorder::Recorder;
pub use requests::RequestCounters;

use crate::{
    audit::Audit,
    history::Grants,
    journal::Figures,
    net::NetStats,
    runtime::Engine,
    security::Excess,
    telemetry::{GelfStats, OtlpStats},
};

const SEMAPHORE: &[&str] = &["semaphore"];

/// From a millisecond to a day: locks are held for moments or for hours.
const BUCKETS_SECONDS: &[f64] =
    &[0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0];

/// How many semaphores are read in one go while a page of metrics is made, so that it holds up no grant.
const PAGE: usize = 256;

/// Everything that `/metrics` shows.
pub struct Metrics {
    registry: Registry,
    families: Families,
    shown: Arc<Shown>,
    /// GETs of what is not there.
    pub num_404: IntCounter,
    /// Requests that were answered.
    pub requests: Arc<RequestCounters>,
    /// Requests of those who had too much of something, by what that was.
    excesses: IntCounterVec,
    peers: IntGauge,
    semaphores: IntGauge,
    blocked_requests: IntGauge,
    event_streams: IntGauge,
    holding_grants: IntGauge,
    /// Event streams whose reader was too slow.
    pub event_streams_dropped: IntCounter,
    pages: Arc<Mutex<Pages>>,
}

/// What whoever makes a page has for itself.
pub struct Pages {
    /// Made anew for every page.
    gauges: Vec<GaugeVec>,
    /// The last page and when it was made, if it may be shared.
    pub last: Option<(Bytes, Instant)>,
}

impl Metrics {
    /// Registers every metric. Of the semaphores that requests make, `series` have series of their own.
    pub fn new(series: usize) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| -> prometheus::Result<IntCounterVec> {
            let family = IntCounterVec::new(Opts::new(name, help), SEMAPHORE)?;
            registry.register(Box::new(family.clone()))?;
            Ok(family)
        };
        let plain = |name: &str, help: &str| -> prometheus::Result<IntCounter> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let histogram = |name: &str, help: &str| -> prometheus::Result<HistogramVec> {
            let options = HistogramOpts::new(name, help).buckets(BUCKETS_SECONDS.to_vec());
            let family = HistogramVec::new(options, SEMAPHORE)?;
            registry.register(Box::new(family.clone()))?;
            Ok(family)
        };
        let figure = |name: &str, help: &str| -> prometheus::Result<IntGauge> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let families = Families {
            grants: counter("throttle_grants_total", "Locks granted.")?,
            releases: counter("throttle_releases_total", "Acquired locks that were released.")?,
            expiries: counter(
                "throttle_expiries_total",
                "Acquired locks that ended with the lease of their peer.",
            )?,
            restores: counter("throttle_restores_total", "Locks that clients brought back.")?,
            overcommits: counter(
                "throttle_overcommits_total",
                "Times that a restore or a resize left more acquired than max.",
            )?,
            withdrawals: counter(
                "throttle_withdrawals_total",
                "Requests that left the queue without a grant.",
            )?,
            wait_seconds: histogram("throttle_wait_seconds", "How long granted requests had waited.")?,
            hold_seconds: histogram("throttle_hold_seconds", "How long locks were held when they ended.")?,
            expired_peers: plain("throttle_expired_peers_total", "Peers whose lease ended.")?,
        };
        let num_404 = plain("throttle_num_404", "GET requests for pages that do not exist.")?;
        let requests = Arc::new(RequestCounters::new()?);
        registry.register(Box::new(requests.family().clone()))?;
        let help = "Requests that were refused because an identity or an address had its share, by what of.";
        let excesses = IntCounterVec::new(Opts::new("throttle_quota_refusals_total", help), &["quota"])?;
        registry.register(Box::new(excesses.clone()))?;
        for excess in Excess::ALL {
            excesses.with_label_values(&[excess.name()]);
        }
        let peers = figure("throttle_peers", "Live peers.")?;
        let semaphores = figure("throttle_semaphores", "Semaphores, members of patterns among them.")?;
        let blocked_requests = figure(
            "throttle_blocked_requests",
            "Requests that wait for a grant with their connection open.",
        )?;
        let event_streams = figure("throttle_event_streams", "Event streams that are open.")?;
        let holding_grants = figure(
            "throttle_holding_grants",
            "1 while nothing is granted anew so that peers can come back first, else 0.",
        )?;
        let event_streams_dropped = plain(
            "throttle_event_streams_dropped_total",
            "Event streams that ended because their reader was too slow.",
        )?;
        let mut gauges = Vec::new();
        for (name, help, _) in SEMAPHORE_GAUGES {
            let gauge = GaugeVec::new(Opts::new(*name, *help), SEMAPHORE)?;
            registry.register(Box::new(gauge.clone()))?;
            gauges.push(gauge);
        }
        shell::process(&registry)?;
        Ok(Self {
            registry,
            families,
            shown: Arc::new(Shown::new(series)),
            num_404,
            requests,
            excesses,
            peers,
            semaphores,
            blocked_requests,
            event_streams,
            holding_grants,
            event_streams_dropped,
            pages: Arc::new(Mutex::new(Pages { gauges, last: None })),
        })
    }

    /// Shows what happens on the network, and what becomes of messages to Graylog and of spans, where there are any.
    pub fn watch(
        &self,
        is_exposed: bool,
        audit: Option<&Audit>,
        network: &Arc<NetStats>,
        gelf: Option<&Arc<GelfStats>>,
        otlp: Option<&Arc<OtlpStats>>,
    ) -> prometheus::Result<()> {
        let help = "1 if other machines reach the server and nobody has to say who he is, else 0.";
        let open = IntGauge::new("throttle_security_open", help)?;
        open.set(is_exposed.into());
        self.registry.register(Box::new(open))?;
        audit.map_or(Ok(()), |audit| shell::audit(&self.registry, audit))?;
        shell::network(&self.registry, network)?;
        gelf.map_or(Ok(()), |stats| shell::gelf(&self.registry, stats))?;
        otlp.map_or(Ok(()), |stats| shell::otlp(&self.registry, stats))
    }

    /// Counts a request of somebody who had too much of something.
    pub fn count_excess(&self, excess: Excess) {
        self.excesses.with_label_values(&[excess.name()]).inc();
    }

    /// What one page at a time is made with.
    pub fn pages(&self) -> Arc<Mutex<Pages>> {
        Arc::clone(&self.pages)
    }

    /// How many peers have expired.
    pub(crate) fn expired_peers(&self) -> IntCounter {
        self.families.expired_peers.clone()
    }

    /// What counts the events of the core.
    pub fn recorder(&self, grants: Arc<Grants>) -> Recorder {
        Recorder::new(self.families.clone(), Arc::clone(&self.shown), grants)
    }

    /// What there is to tell without a node.
    pub fn idle(&self) -> prometheus::Result<Vec<u8>> {
        let mut page = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut page)?;
        Ok(page)
    }

    /// Where more can be registered.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Registers the figures of the journal.
    pub fn journal(&self, is_in_etcd: bool) -> prometheus::Result<Figures> {
        Figures::new(&self.registry, is_in_etcd)
    }

    /// Tells how long it took to read the journal at the start.
    pub fn recovered_in(&self, duration: Duration) -> prometheus::Result<()> {
        let help = "How long it took to read the journal at the start, in seconds.";
        let gauge = Gauge::new("throttle_recovery_seconds", help)?;
        gauge.set(duration.as_secs_f64());
        self.registry.register(Box::new(gauge))
    }

    /// The page in the text format of Prometheus. It takes a while where there are many semaphores.
    pub fn render(&self, pages: &Pages, engine: &Engine) -> prometheus::Result<Vec<u8>> {
        let mut figures = HashMap::<Name, [f64; SEMAPHORE_GAUGES.len()]>::new();
        let mut after: Option<Name> = None;
        let mut semaphores = 0;
        loop {
            let seen = engine.view(|core| {
                let page = core.semaphores(after.as_deref()).take(PAGE);
                page.map(|semaphore| {
                    semaphores += 1;
                    let name = self.shown.name_of(semaphore.pattern().unwrap_or(semaphore.name()));
                    let figures = match figures.get_mut(name) {
                        Some(figures) => figures,
                        None => figures.entry(name.into()).or_default(),
                    };
                    for (figure, (_, _, (value, together))) in figures.iter_mut().zip(SEMAPHORE_GAUGES) {
                        *figure = together(*figure, value(&semaphore));
                    }
                    semaphore.name().clone()
                })
                .last()
            });
            let Some(last) = seen else { break };
            after = Some(last);
        }
        for (index, gauge) in pages.gauges.iter().enumerate() {
            // Names of removed semaphores must go, so every page starts without any.
            gauge.reset();
            for (name, figures) in &figures {
                gauge.with_label_values(&[&**name]).set(figures.get(index).copied().unwrap_or_default());
            }
        }
        self.semaphores.set(semaphores);
        self.peers.set(as_gauge(engine.view(Core::peer_count)));
        self.blocked_requests.set(as_gauge(engine.blocked_requests()));
        self.event_streams.set(as_gauge(engine.event_streams()));
        self.holding_grants.set(engine.holding().is_some().into());
        let mut page = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut page)?;
        Ok(page)
    }
}

/// How a figure is read, and how those of the members of a pattern go together.
type ReadFigure = (fn(&SemaphoreView<'_>) -> f64, fn(f64, f64) -> f64);

type SemaphoreGauge = (&'static str, &'static str, ReadFigure);

/// The first four names are those of releases up to 0.1, the next three of those up to 0.5.
const SEMAPHORE_GAUGES: &[SemaphoreGauge] = &[
    ("throttle_count", "The count acquired. Same as throttle_acquired.", (|s| count(s.acquired()), f64::add)),
    ("throttle_full_count", "The full count. Same as throttle_max.", (|s| count(s.spec().max), f64::add)),
    ("throttle_pending", "The count that waits to be acquired.", (|s| count(s.pending()), f64::add)),
    ("throttle_acquired", "The count acquired.", (|s| count(s.acquired()), f64::add)),
    ("throttle_max", "The full count.", (|s| count(s.spec().max), f64::add)),
    (
        "throttle_longest_pending_sec",
        "How long the request has waited that waits longest, in seconds.",
        (|s| Duration::as_secs_f64(&s.longest_wait()), f64::max),
    ),
    ("throttle_waiting", "How many requests wait.", (|s| count(as_gauge(s.waiting())), f64::add)),
    (
        "throttle_cooling",
        "The count that is released but not yet due back by its rate.",
        (|s| count(s.cooling()), f64::add),
    ),
];

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge is a float; counts beyond 2^53 lose their last digits"
)]
fn count(count: i64) -> f64 {
    count as f64
}

fn as_gauge(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
