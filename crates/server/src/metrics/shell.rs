//! Figures of what is around the engine: the network, the telemetry, the process.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use prometheus::Registry;
use tokio::time::Instant;

use super::read::ReadMetric;
use crate::{
    audit::Audit,
    net::NetStats,
    telemetry::{GelfStats, OtlpStats},
};

/// Version and age.
pub(super) fn process(registry: &Registry) -> prometheus::Result<()> {
    let options = prometheus::Opts::new("throttle_build_info", "Always 1; the label tells the version.");
    let build = prometheus::IntGaugeVec::new(options, &["version"])?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    registry.register(Box::new(build))?;
    let start = Instant::now();
    let uptime = ReadMetric::gauge("throttle_uptime_seconds", "How long the server has run.", move || {
        start.elapsed().as_secs_f64()
    })?;
    registry.register(Box::new(uptime))?;
    // These have the names that every program gives them.
    #[cfg(target_os = "linux")]
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    Ok(())
}

/// Reads a figure whenever it is asked for.
fn read<S>(stats: &Arc<S>, figure: fn(&S) -> u64) -> impl Fn() -> u64 + use<S> {
    let stats = stats.clone();
    move || figure(&stats)
}

/// What happens on the network.
pub(super) fn network(registry: &Registry, stats: &Arc<NetStats>) -> prometheus::Result<()> {
    let open = read(stats, NetStats::open);
    #[expect(clippy::cast_precision_loss, reason = "there are no 2^53 connections")]
    let open =
        ReadMetric::gauge("throttle_connections", "Connections that are open.", move || open() as f64)?;
    registry.register(Box::new(open))?;
    registry.register(Box::new(ReadMetric::counter(
        "throttle_connections_accepted_total",
        "Connections that were served.",
        read(stats, NetStats::accepted),
    )?))?;
    registry.register(Box::new(ReadMetric::counter(
        "throttle_connections_refused_total",
        "Connections that were answered 503, since too many were open.",
        read(stats, NetStats::refused),
    )?))?;
    registry.register(Box::new(ReadMetric::counter(
        "throttle_connections_refused_by_address_total",
        "Connections that were answered 503, since too many of one address were open.",
        read(stats, NetStats::refused_by_address),
    )?))?;
    registry.register(Box::new(ReadMetric::counters(
        "throttle_connection_errors_total",
        "Connections that failed: malformed (what came is not HTTP), head_timeout (a head came too late), \
         answer_timeout (an answer was not read in time), too_much (there was no room for a request or its answer), \
         handshake (client and server did not agree on keys), \
         accept (the system could not give one).",
        "error",
        [
            ("malformed", read(stats, NetStats::malformed)),
            ("head_timeout", read(stats, NetStats::head_timeouts)),
            ("answer_timeout", read(stats, NetStats::answer_timeouts)),
            ("too_much", read(stats, NetStats::too_much)),
            ("handshake", read(stats, NetStats::handshakes_failed)),
            ("accept", read(stats, NetStats::accept_errors)),
        ],
    )?))
}

/// What becomes of messages to Graylog.
pub(super) fn gelf(registry: &Registry, stats: &Arc<GelfStats>) -> prometheus::Result<()> {
    registry.register(Box::new(ReadMetric::counters(
        "throttle_gelf_messages_total",
        "Messages for Graylog: sent, or dropped (too many at once, too large, or refused by the network).",
        "outcome",
        [("sent", read(stats, GelfStats::sent)), ("dropped", read(stats, GelfStats::dropped))],
    )?))
}

/// What becomes of spans.
pub(super) fn otlp(registry: &Registry, stats: &Arc<OtlpStats>) -> prometheus::Result<()> {
    registry.register(Box::new(ReadMetric::counters(
        "throttle_otlp_spans_total",
        "Spans for the collector: exported, failed (sent in vain), or dropped (the queue was full).",
        "outcome",
        [
            ("exported", read(stats, OtlpStats::exported)),
            ("failed", read(stats, OtlpStats::failed)),
            ("dropped", read(stats, OtlpStats::dropped)),
        ],
    )?))
}

/// What became of lines of the audit log.
pub(super) fn audit(registry: &Registry, audit: &Audit) -> prometheus::Result<()> {
    let lost = audit.lost();
    registry.register(Box::new(ReadMetric::counter(
        "throttle_audit_lines_lost_total",
        "Lines of the audit log that could not be written, or not as fast as they came.",
        move || lost.load(Relaxed),
    )?))
}
