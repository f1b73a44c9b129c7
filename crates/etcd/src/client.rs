//! Speaking to etcd: one request at a time to one endpoint, with a deadline, and to the next one after a failure.

use std::{
    error::Error,
    fmt,
    future::Future,
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use http::uri::PathAndQuery;
use prost::Message;
use throttle_journal::{AppendError, LogError};
use tokio::{runtime::Runtime, time::timeout};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_prost::ProstCodec;

use crate::proto::{RangeRequest, RangeResponse, TxnRequest, TxnResponse};

const RANGE: &str = "/etcdserverpb.KV/Range";
const TXN: &str = "/etcdserverpb.KV/Txn";
/// What an answer may have: as many values as are asked for at once.
const ANSWER_BYTES: usize = 64 << 20;

/// How etcd is reached.
#[derive(Clone, Debug)]
pub struct EtcdSettings {
    /// The URLs of its members.
    pub endpoints: Vec<String>,
    /// What the keys of this deployment begin with.
    pub prefix: String,
    /// How long after the last sign of life of a leader another one takes over, at least two seconds.
    pub lease: Duration,
    /// How long one request may take.
    pub deadline: Duration,
    /// How connections are encrypted, if they are.
    pub tls: Option<Tls>,
}

/// TLS with etcd.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// The authorities of its certificates.
    pub ca: Option<PathBuf>,
    /// The certificate of this server and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// What etcd said, or that it said nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EtcdError {
    /// The request was refused: it had no effect, and will have none. The sentence says what to do.
    Refused(String),
    /// No answer came, or one from which nothing follows: what was asked for may be done or not.
    Unknown(String),
}

impl fmt::Display for EtcdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Refused(why) | Self::Unknown(why)) = self;
        f.write_str(why)
    }
}

impl Error for EtcdError {}

impl EtcdError {
    /// Why the log cannot be read.
    pub(crate) fn of_log(self) -> LogError {
        LogError::Io(self.to_string())
    }

    /// What became of a batch.
    pub(crate) fn of_append(self) -> AppendError {
        match self {
            Self::Refused(why) => AppendError::Failed(LogError::Io(why)),
            Self::Unknown(why) => AppendError::Unknown(why),
        }
    }
}

/// Connections to the members of an etcd. Cheap to clone.
#[derive(Clone)]
pub struct Etcd(Arc<Inner>);

struct Inner {
    runtime: Runtime,
    settings: EtcdSettings,
    /// One connection to each endpoint: a connection that balances between them hides which one is at fault.
    members: Vec<(String, Channel)>,
    /// The one that is asked next.
    at: AtomicUsize,
}

impl Etcd {
    /// Connections that are made when they are needed.
    ///
    /// # Errors
    ///
    /// If a URL or a file of TLS is not right, or there is no endpoint.
    pub fn new(settings: EtcdSettings) -> Result<Self, LogError> {
        let wrong = |error: &dyn fmt::Display| LogError::Io(format!("cluster: {error}"));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("etcd")
            .enable_all()
            .build()?;
        let tls = settings.tls.as_ref().map(client_tls).transpose().map_err(|error| wrong(&error))?;
        // Connecting lazily needs a runtime.
        let inside = runtime.enter();
        let mut members = Vec::new();
        for url in &settings.endpoints {
            let mut endpoint = Endpoint::from_shared(url.clone())
                .map_err(|error| wrong(&format!("{url}: {error}")))?
                .connect_timeout(settings.deadline)
                .tcp_nodelay(true)
                .http2_keep_alive_interval(Duration::from_secs(5))
                .keep_alive_timeout(settings.deadline)
                .keep_alive_while_idle(true);
            if let Some(tls) = &tls {
                endpoint = endpoint.tls_config(tls.clone()).map_err(|error| wrong(&error))?;
            }
            members.push((url.clone(), endpoint.connect_lazy()));
        }
        drop(inside);
        if members.is_empty() {
            return Err(wrong(&"there is no endpoint; allowed: the URLs of the members of etcd"));
        }
        Ok(Self(Arc::new(Inner { runtime, settings, members, at: AtomicUsize::new(0) })))
    }

    pub(crate) fn settings(&self) -> &EtcdSettings {
        &self.0.settings
    }

    /// Waits for a request, on a thread that is none of a runtime.
    pub(crate) fn wait<T>(&self, request: impl Future<Output = T>) -> T {
        self.0.runtime.block_on(request)
    }

    /// Runs something beside all else, for as long as this lives.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.runtime.spawn(task);
    }

    /// Sends a request that may be repeated without harm: to every member in turn, until one answers.
    pub(crate) async fn ask<Q, A>(&self, path: &'static str, request: &Q) -> Result<A, EtcdError>
    where
        Q: Message + Clone + Default + 'static,
        A: Message + Default + 'static,
    {
        let mut outcome = Err(EtcdError::Unknown("there is no endpoint".to_owned()));
        for _ in 0..self.0.members.len() {
            outcome = self.once(path, request).await;
            if !matches!(outcome, Err(EtcdError::Unknown(_))) {
                break;
            }
        }
        outcome
    }

    /// Sends a request once. After a failure the next member is asked from then on.
    pub(crate) async fn once<Q, A>(&self, path: &'static str, request: &Q) -> Result<A, EtcdError>
    where
        Q: Message + Clone + Default + 'static,
        A: Message + Default + 'static,
    {
        let Inner { members, at, settings, .. } = &*self.0;
        let index = at.load(Relaxed) % members.len().max(1);
        let (url, channel) =
            members.get(index).ok_or_else(|| EtcdError::Unknown("there is no endpoint".to_owned()))?;
        let answer = match timeout(settings.deadline, unary(channel.clone(), path, request.clone())).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(status)) => told(url, &status),
            Err(_) => EtcdError::Unknown(format!("{url} did not answer within {:?}", settings.deadline)),
        };
        if matches!(answer, EtcdError::Unknown(_)) {
            // Whoever failed first moves on; others who failed at the same member do not move on once more.
            let _ = at.compare_exchange(index, (index + 1) % members.len(), Relaxed, Relaxed);
        }
        Err(answer)
    }

    /// Renews a lease once. A keep-alive is a stream of requests in etcd's API; this one has one request and one
    /// answer.
    pub(crate) async fn renew<Q, A>(&self, path: &'static str, request: Q) -> Result<A, EtcdError>
    where
        Q: Message + Clone + Default + 'static,
        A: Message + Default + 'static,
    {
        let Inner { members, at, settings, .. } = &*self.0;
        let index = at.load(Relaxed) % members.len().max(1);
        let (url, channel) =
            members.get(index).ok_or_else(|| EtcdError::Unknown("there is no endpoint".to_owned()))?;
        let answer = match timeout(settings.deadline, streamed(channel.clone(), path, request)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(status)) => told(url, &status),
            Err(_) => EtcdError::Unknown(format!("{url} did not answer within {:?}", settings.deadline)),
        };
        let _ = at.compare_exchange(index, (index + 1) % members.len(), Relaxed, Relaxed);
        Err(answer)
    }

    /// Reads keys, as they were at the point of time in which etcd's members agree on them.
    pub(crate) async fn range(&self, request: RangeRequest) -> Result<RangeResponse, EtcdError> {
        self.ask(RANGE, &request).await
    }

    /// A transaction whose outcome may stay unknown.
    pub(crate) async fn txn(&self, request: &TxnRequest) -> Result<TxnResponse, EtcdError> {
        self.once(TXN, request).await
    }
}

async fn unary<Q, A>(channel: Channel, path: &'static str, request: Q) -> Result<A, Status>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    let mut grpc = Grpc::new(channel).max_decoding_message_size(ANSWER_BYTES);
    grpc.ready().await.map_err(|error| Status::unavailable(reasons(&error)))?;
    let codec = ProstCodec::<Q, A>::default();
    Ok(grpc.unary(Request::new(request), PathAndQuery::from_static(path), codec).await?.into_inner())
}

/// A stream of one request, and the first of its answers.
async fn streamed<Q, A>(channel: Channel, path: &'static str, request: Q) -> Result<A, Status>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::unavailable(reasons(&error)))?;
    let codec = ProstCodec::<Q, A>::default();
    let requests = tokio_stream::once(request);
    let answers = grpc.streaming(Request::new(requests), PathAndQuery::from_static(path), codec).await?;
    answers
        .into_inner()
        .message()
        .await?
        .ok_or_else(|| Status::unavailable("the stream ended without an answer"))
}

/// What follows from an answer that is none.
fn told(url: &str, status: &Status) -> EtcdError {
    let message = status.message();
    match status.code() {
        Code::ResourceExhausted if message.contains("database space exceeded") => {
            EtcdError::Refused(format!(
                "{url}: etcd is full (NOSPACE). Free space, defragment its members, and disarm the alarm: etcdctl alarm disarm"
            ))
        }
        Code::Unauthenticated => EtcdError::Refused(format!(
            "{url}: etcd does not know this server ({message}). Check cluster.username, cluster.password_file and cluster.cert"
        )),
        Code::PermissionDenied => EtcdError::Refused(format!(
            "{url}: etcd does not allow it ({message}). Give the user of this server readwrite over the prefix"
        )),
        Code::InvalidArgument | Code::ResourceExhausted | Code::FailedPrecondition | Code::OutOfRange => {
            EtcdError::Refused(format!("{url}: etcd refuses it: {message}"))
        }
        code => EtcdError::Unknown(format!("{url}: {code:?}: {}", reasons(status))),
    }
}

/// An error with all its reasons.
fn reasons(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn client_tls(tls: &Tls) -> io::Result<ClientTlsConfig> {
    let mut config = ClientTlsConfig::new();
    if let Some(ca) = &tls.ca {
        config = config.ca_certificate(Certificate::from_pem(std::fs::read(ca)?));
    }
    if let Some((cert, key)) = &tls.identity {
        config = config.identity(Identity::from_pem(std::fs::read(cert)?, std::fs::read(key)?));
    }
    Ok(config)
}
