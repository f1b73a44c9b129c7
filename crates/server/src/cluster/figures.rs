//! What Prometheus is told of the cluster.

use std::sync::Arc;

use prometheus::Registry;

use super::{Cluster, Role};
use crate::metrics::ReadMetric;

/// Registers the figures of a server of several.
pub(crate) fn register(registry: &Registry, cluster: &Arc<Cluster>) -> prometheus::Result<()> {
    let gauge = |name: &str, help: &str, read: fn(&Cluster) -> f64| {
        let cluster = cluster.clone();
        registry.register(Box::new(ReadMetric::gauge(name, help, move || read(&cluster))?))
    };
    gauge("throttle_cluster_is_leader", "1 while this server leads, else 0.", |cluster| {
        f64::from(u8::from(cluster.known().role == Role::Leader))
    })?;
    let help = "The epoch of the leader that this server knows of, 0 if there is none. It only goes up.";
    gauge("throttle_cluster_epoch", help, |cluster| {
        float(cluster.known().leader.map_or(0, |leader| leader.epoch.0))
    })?;
    let help = "The number of the last batch of the log that this server has taken in or written.";
    gauge("throttle_cluster_position", help, |cluster| float(cluster.known().position))?;
    let help = "How long ago this server last knew that it has all of the log, in seconds; 0 on the leader.";
    gauge("throttle_cluster_lag", help, |cluster| cluster.lag().as_secs_f64())?;
    let help = "1 while something keeps this server from writing the log, or from reading it; else 0.";
    gauge("throttle_cluster_trouble", help, |cluster| {
        f64::from(u8::from(cluster.known().trouble.is_some()))
    })?;
    let cluster = cluster.clone();
    let help = "How often another server began to lead, as far as this one saw.";
    let changes =
        ReadMetric::counter("throttle_cluster_changes_total", help, move || cluster.known().changes)?;
    registry.register(Box::new(changes))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge is a float; figures beyond 2^53 lose their last digits"
)]
fn float(count: u64) -> f64 {
    count as f64
}
