//! What every handler can reach.

use std::{sync::Arc, time::Duration};

use axum::http::HeaderValue;

use super::{origin::Hosts, v1::Updates};
use crate::{config::Config, engine::Engine, history::History, metrics::Metrics, reload::Reloader};

/// Shared by all handlers.
pub struct App {
    /// Who decides.
    pub engine: Arc<Engine>,
    /// What Prometheus is told.
    pub metrics: Metrics,
    /// The largest body that a request may have, in bytes.
    pub body_bytes_max: usize,
    /// The time in which a body must arrive once its head is there.
    pub body_timeout: Duration,
    /// The longest lease that a client may ask for.
    pub expires_in_max: Duration,
    /// How many labels a peer may have.
    pub labels_max: usize,
    /// The longest value of a label, in characters.
    pub label_length_max: usize,
    /// Reads the configuration file again.
    pub reloader: Arc<Reloader>,
    /// Identifies this server since it started with empty state; part of every answer.
    pub instance: HeaderValue,
    /// How busy semaphores were lately.
    pub history: Arc<History>,
    /// Tells what changed to those who look on.
    pub(super) updates: Updates,
    /// The names under which this server is reached.
    pub(super) hosts: Hosts,
}

impl App {
    /// Fails only if the system has no randomness to give.
    pub fn new(
        engine: Arc<Engine>,
        metrics: Metrics,
        config: &Config,
        history: Arc<History>,
        reloader: Arc<Reloader>,
    ) -> Result<Arc<Self>, getrandom::Error> {
        let limits = &config.limits;
        let instance = format!("{:016x}", getrandom::u64()?);
        Ok(Arc::new(Self {
            engine,
            metrics,
            body_bytes_max: limits.body_bytes,
            body_timeout: limits.body_timeout,
            expires_in_max: limits.expires_in_max,
            labels_max: limits.labels_per_peer,
            label_length_max: limits.label_length,
            reloader,
            instance: HeaderValue::try_from(instance).unwrap_or(HeaderValue::from_static("0")),
            history,
            updates: Updates::new(limits.event_streams),
            hosts: Hosts::new(&config.http.hosts),
        }))
    }
}
