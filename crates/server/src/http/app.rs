//! What every handler can reach.

use std::{sync::Arc, time::Duration};

use axum::http::HeaderValue;
use throttle_api::Keeping;
use throttle_core::Time;
use tokio::sync::Semaphore;

use super::{
    origin::Hosts,
    v1::{Frames, Updates},
};
use crate::{
    audit::Audit, cluster::Cluster, config::Config, history::History, metrics::Metrics, net::Budget,
    reload::Reloader, runtime::Engine, security::Guard,
};

/// Shared by all handlers.
pub struct App {
    /// The node and its shell.
    pub engine: Arc<Engine>,
    /// What Prometheus is told.
    pub metrics: Metrics,
    /// The largest body that a request may have, in bytes.
    pub body_bytes_max: usize,
    /// The time in which a body must arrive once its head is there.
    pub body_timeout: Duration,
    /// The longest lease that a client may ask for.
    pub expires_in_max: Duration,
    /// How long an event stream is silent at most.
    pub event_keep_alive: Duration,
    /// How many labels a peer may have.
    pub labels_max: usize,
    /// The longest value of a label, in characters.
    pub label_length_max: usize,
    /// The labels of a peer, names and values together, in bytes.
    pub label_bytes_max: usize,
    /// Identifies the state of this server; part of every answer.
    pub instance: HeaderValue,
    /// Where it is written who did what.
    pub audit: Option<Arc<Audit>>,
    /// Whether connections are encrypted.
    pub is_encrypted: bool,
    /// Who may come in.
    pub guard: Arc<Guard>,
    /// Reads the configuration file again.
    pub reloader: Arc<Reloader>,
    /// How busy semaphores were lately.
    pub history: Arc<History>,
    /// Tells what changed to those who look on.
    pub(super) updates: Updates,
    /// One answer that may be long is made at a time, and not many wait for their turn.
    pub(super) long_answers: Semaphore,
    pub(super) long_answers_waiting: Semaphore,
    pub(super) long_answers_max: usize,
    /// What requests and answers on their way may have together.
    pub(super) buffers: Arc<Budget>,
    /// Parts of event streams, made once for all who read them.
    pub(super) frames: Frames,
    /// The names under which this server is reached.
    pub(super) hosts: Hosts,
    /// What people call this server.
    pub(super) name: Option<String>,
    /// What becomes of its state.
    pub(super) keeps: Keeping,
    /// When it began to answer.
    pub(super) started_at: Time,
    /// The cluster that this server leads, if it is one of several.
    pub(super) cluster: Option<Arc<Cluster>>,
}

/// What is around an engine.
pub struct Around {
    /// Identifies the state of this server.
    pub instance: HeaderValue,
    /// How busy semaphores were lately.
    pub history: Arc<History>,
    /// Reads the configuration file again.
    pub reloader: Arc<Reloader>,
    /// What requests and answers on their way may have together.
    pub buffers: Arc<Budget>,
    /// The names under which this server is reached.
    pub hosts: Hosts,
    /// The cluster that this server leads, if it is one of several.
    pub cluster: Option<Arc<Cluster>>,
}

impl App {
    /// What handlers share.
    pub fn new(engine: Arc<Engine>, metrics: Metrics, config: &Config, around: Around) -> Arc<Self> {
        let Around { instance, history, reloader, buffers, hosts, cluster } = around;
        let limits = &config.limits;
        let keeps = match &config.durability.data_dir {
            _ if config.cluster.is_some() => Keeping::Cluster,
            Some(_) => Keeping::Durable,
            None => Keeping::Memory,
        };
        Arc::new(Self {
            started_at: engine.now(),
            engine,
            metrics,
            body_bytes_max: limits.body_bytes,
            body_timeout: limits.body_timeout,
            expires_in_max: limits.expires_in_max,
            event_keep_alive: limits.event_keep_alive,
            labels_max: limits.labels_per_peer,
            label_length_max: limits.label_length,
            label_bytes_max: limits.label_bytes,
            instance,
            audit: reloader.audit(),
            is_encrypted: config.tls.is_some(),
            guard: reloader.guard(),
            reloader,
            history,
            updates: Updates::new(limits.event_streams),
            long_answers: Semaphore::new(1),
            long_answers_waiting: Semaphore::new(limits.long_answers),
            long_answers_max: limits.long_answers,
            buffers,
            frames: Frames::default(),
            hosts,
            name: config.name.clone(),
            keeps,
            cluster,
        })
    }
}
