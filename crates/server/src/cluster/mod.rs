//! One of several servers with one set of semaphores, kept in etcd: it follows the log, or leads.
//!
//! A `Standby` takes in the log as it comes, and tries to lead when nobody does. The `Term` of a leader has its writer,
//! its lease, and the confirmations without which no answer leaves. A leader that is deposed is taken apart, and
//! begins anew as a standby: there is no way back from what it decided alone. `serve` goes from one to the other.

mod figures;
mod forward;
mod moving;
mod serve;
mod standby;
mod status;
mod term;

use std::{
    fmt::Display,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use axum::http::HeaderValue;
use subtle::ConstantTimeEq as _;
use throttle_etcd::{Candidate, Deployment, Etcd, Leader};
use throttle_journal::{Epoch, LogError, WallTime};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tracing::warn;

use crate::{config, outgoing};

pub(crate) use figures::register;
pub(crate) use forward::{CLUSTER, forward, take_in};
pub use moving::{export, import};
pub(crate) use serve::serve;

/// How long it may take to connect to another server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause before etcd is asked once more, when the server starts.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// What this server does in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It leads.
    Leader,
    /// It follows.
    Standby,
}

/// What this server knows of its cluster.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) role: Role,
    /// Who leads, if anybody does.
    pub(crate) leader: Option<Leader>,
    /// The number of the last batch of the log that is taken in here, or was written here.
    pub(crate) position: u64,
    /// When it was last known that this is all there is.
    pub(crate) seen_at: Option<Instant>,
    /// How often another server began to lead, as far as this one saw.
    pub(crate) changes: u64,
    /// Why nothing can be promised at the moment, if that is so.
    pub(crate) trouble: Option<String>,
    /// While it leads.
    pub(crate) leading: Option<Leading>,
}

/// What a leader knows of its term.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leading {
    /// When it began.
    pub(crate) since: WallTime,
    /// When it was last confirmed that it leads.
    pub(crate) confirmed_at: Instant,
}

/// What a server of several has, whatever its role.
pub struct Cluster {
    pub(crate) config: config::Cluster,
    deployment: Deployment,
    etcd: Etcd,
    /// By which the servers of this cluster know each other, as a request shows it.
    secret: HeaderValue,
    known: RwLock<Known>,
    /// The last epoch that was seen.
    epoch: watch::Sender<Epoch>,
    client: reqwest::Client,
}

impl Cluster {
    /// Asks etcd which deployment this is.
    ///
    /// # Errors
    ///
    /// If etcd gives no answer, or something of the settings is not right.
    async fn find(config: &config::Cluster, etcd: &Etcd) -> Result<Arc<Self>, LogError> {
        let random = |error: getrandom::Error| LogError::Io(error.to_string());
        let new = getrandom::u64().and_then(new_deployment).map_err(random)?;
        let deployment = candidate(config, etcd).deployment(new).await?;
        let secret = shown(&deployment.secret)?;
        let known = Known {
            role: Role::Standby,
            leader: None,
            position: 0,
            seen_at: None,
            changes: 0,
            trouble: None,
            leading: None,
        };
        let client = client(config).map_err(LogError::Io)?;
        let (config, etcd) = (config.clone(), etcd.clone());
        let (known, epoch) = (RwLock::new(known), watch::Sender::new(Epoch::default()));
        Ok(Arc::new(Self { config, deployment, etcd, secret, known, epoch, client }))
    }

    /// What is known now.
    pub(crate) fn known(&self) -> Known {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Identifies the state that all servers of the cluster share.
    pub(crate) fn journal(&self) -> u64 {
        self.deployment.journal
    }

    /// Takes note of what was seen in the log.
    fn see(&self, role: Role, leader: Option<&Leader>, position: u64) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.leader = leader.cloned();
        (known.role, known.position, known.seen_at) = (role, position, Some(Instant::now()));
        if role == Role::Standby {
            known.leading = None;
        }
        let Some(leader) = leader else { return };
        self.epoch.send_if_modified(|epoch| {
            let is_new = *epoch != leader.epoch;
            known.changes += u64::from(is_new && *epoch != Epoch::default());
            *epoch = leader.epoch;
            is_new
        });
    }

    /// Takes note of how it is with its term.
    fn leads(&self, leading: Leading) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).leading = Some(leading);
    }

    /// Takes note of what is wrong, if anything is.
    fn has_trouble(&self, trouble: Option<String>) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).trouble = trouble;
    }

    /// Completes when another server than that of this epoch leads.
    fn is_followed_by_another(&self, than: Epoch) -> impl Future<Output = ()> + Send + use<> {
        let mut epoch = self.epoch.subscribe();
        async move {
            if epoch.wait_for(|epoch| *epoch != than).await.is_err() {
                // The server ends.
                std::future::pending::<()>().await;
            }
        }
    }

    /// How long ago it was last known that this server has all of the log; nothing while it leads.
    pub(crate) fn lag(&self) -> Duration {
        let known = self.known();
        match (known.role, known.seen_at) {
            (Role::Leader, _) | (_, None) => Duration::ZERO,
            (Role::Standby, Some(at)) => at.elapsed(),
        }
    }

    /// Whether a request that shows this comes from another server of this cluster.
    pub(crate) fn is_one_of_us(&self, shown: &[u8]) -> bool {
        self.secret.as_bytes().ct_eq(shown).into()
    }
}

/// This server, as one that may lead.
fn candidate(config: &config::Cluster, etcd: &Etcd) -> Candidate<Etcd> {
    Candidate::new(etcd.clone(), &config.prefix, &config.advertise, config.lease)
}

/// A deployment with a secret that nobody knows.
fn new_deployment(journal: u64) -> Result<Deployment, getrandom::Error> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    Ok(Deployment { journal, secret })
}

/// A secret in hexadecimal digits, as a header that no log repeats.
fn shown(secret: &[u8; 32]) -> Result<HeaderValue, LogError> {
    let digits = secret.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let digits: String = digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect();
    let mut shown = HeaderValue::try_from(digits).map_err(|error| LogError::Io(error.to_string()))?;
    shown.set_sensitive(true);
    Ok(shown)
}

/// What is wrong with the log in etcd, in one line.
fn about_log(config: &config::Cluster, what: impl Display) -> String {
    format!("The log in etcd below {:?}: {}.", config.prefix, what.to_string().trim_end_matches('.'))
}

/// The cluster that this server belongs to, once etcd answers.
///
/// # Errors
///
/// If something of the settings, or of what is in etcd, is not right.
pub(crate) async fn find(config: &config::Cluster) -> Result<Arc<Cluster>, String> {
    let etcd = Etcd::new(config.etcd()).map_err(|error| about_log(config, error))?;
    let mut complaint = None;
    loop {
        match Cluster::find(config, &etcd).await {
            Ok(cluster) => return Ok(cluster),
            Err(LogError::Io(why)) => {
                if complaint.as_ref() != Some(&why) {
                    warn!("The server waits for etcd: {why}");
                    complaint = Some(why);
                }
                sleep(ASK_AGAIN_AFTER).await;
            }
            Err(error) => return Err(about_log(config, error)),
        }
    }
}

/// Reads the files that the configuration of a cluster names.
///
/// # Errors
///
/// What is wrong with them, or with a URL.
pub(crate) fn check_files(config: &config::Config) -> Result<(), String> {
    let Some(cluster) = &config.cluster else { return Ok(()) };
    Etcd::new(cluster.etcd()).map_err(|error| error.to_string())?;
    client(cluster)?;
    Ok(())
}

/// What requests to other servers are sent with.
fn client(config: &config::Cluster) -> Result<reqwest::Client, String> {
    let tls = match &config.server_ca {
        None if config.advertise.starts_with("http:") => outgoing::no_tls(),
        authorities => outgoing::tls(authorities.as_deref()),
    };
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tls_backend_preconfigured(tls?)
        .build()
        .map_err(|error| error.to_string())
}
