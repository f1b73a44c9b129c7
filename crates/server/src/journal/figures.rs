//! What Prometheus is told of the journal.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};

/// From a tenth of a millisecond to ten seconds.
const FLUSH_BUCKETS_SECONDS: &[f64] = &[0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];
const SNAPSHOT_BUCKETS_SECONDS: &[f64] = &[0.01, 0.1, 0.5, 1.0, 3.0, 10.0, 30.0, 100.0];

/// The figures of the journal.
#[derive(Clone)]
pub struct Figures {
    pub(super) batches: IntCounter,
    pub(super) records: IntCounter,
    pub(super) bytes: IntCounter,
    pub(super) flush_seconds: Histogram,
    pub(super) size_bytes: IntGauge,
    pub(super) snapshot_seconds: Histogram,
    pub(super) trouble: IntGauge,
}

impl Figures {
    /// Registers them; they are shown only where there is a journal.
    pub fn new(registry: &Registry, is_in_etcd: bool) -> prometheus::Result<Self> {
        let (flush, help) = if is_in_etcd {
            ("throttle_cluster_append_seconds", "How long it took until a batch was in the log of etcd.")
        } else {
            ("throttle_journal_flush_seconds", "How long it took until a batch was safe.")
        };
        let counter = |name: &str, help: &str| -> prometheus::Result<IntCounter> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let histogram = |name: &str, help: &str, buckets: &[f64]| -> prometheus::Result<Histogram> {
            let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?;
            registry.register(Box::new(histogram.clone()))?;
            Ok(histogram)
        };
        let gauge = |name: &str, help: &str| -> prometheus::Result<IntGauge> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        Ok(Self {
            batches: counter("throttle_journal_batches_total", "Batches that were written and are safe.")?,
            records: counter("throttle_journal_records_total", "Records in these batches.")?,
            bytes: counter("throttle_journal_bytes_total", "Bytes in these batches.")?,
            flush_seconds: histogram(flush, help, FLUSH_BUCKETS_SECONDS)?,
            size_bytes: gauge("throttle_journal_size_bytes", "How large the journal is on disk, in bytes.")?,
            snapshot_seconds: histogram(
                "throttle_journal_snapshot_seconds",
                "How long it took to make a snapshot.",
                SNAPSHOT_BUCKETS_SECONDS,
            )?,
            trouble: gauge(
                "throttle_journal_trouble",
                "1 while the journal cannot be made short, so that its files grow.",
            )?,
        })
    }
}
