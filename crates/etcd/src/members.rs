//! The members of an etcd, with a connection to each: one that balances between them would hide which one is at fault.

use std::{
    error::Error,
    fmt, io,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::uri::PathAndQuery;
use prost::Message;
use throttle_journal::LogError;
use tokio::time::timeout;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_prost::ProstCodec;

use crate::{client::EtcdSettings, kv::EtcdError};

/// What an answer may have: as many values as are asked for at once.
const ANSWER_BYTES: usize = 64 << 20;

/// TLS with etcd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The authorities of its certificates.
    pub ca: Option<PathBuf>,
    /// The certificate of this server and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// One member.
pub(crate) struct Member {
    pub(crate) url: String,
    /// It speaks TLS, and this server has no certificate for it.
    lacks_certificate: bool,
    endpoint: Endpoint,
    channel: Mutex<Channel>,
}

impl Member {
    /// All of them. Connections are made when they are needed; call it within a runtime.
    pub(crate) fn all(settings: &EtcdSettings) -> Result<Vec<Self>, LogError> {
        let wrong = |error: &dyn fmt::Display| LogError::Io(format!("cluster: {error}"));
        let tls = settings.tls.as_ref().map(client_tls).transpose().map_err(|error| wrong(&error))?;
        if settings.endpoints.is_empty() {
            return Err(wrong(&"there is no endpoint; allowed: the URLs of the members of etcd"));
        }
        let member = |url: &String| {
            let mut endpoint = Endpoint::from_shared(url.clone())
                .map_err(|error| wrong(&format!("{url:?} is no URL of etcd: {error}")))?
                .connect_timeout(settings.deadline)
                .tcp_nodelay(true);
            if let Some(tls) = tls.as_ref().filter(|_| url.starts_with("https:")) {
                endpoint = endpoint.tls_config(tls.clone()).map_err(|error| wrong(&error))?;
            }
            let channel = Mutex::new(endpoint.connect_lazy());
            let lacks_certificate =
                url.starts_with("https:") && settings.tls.as_ref().is_none_or(|tls| tls.identity.is_none());
            Ok(Self { url: url.clone(), lacks_certificate, endpoint, channel })
        };
        settings.endpoints.iter().map(member).collect()
    }

    fn channel(&self) -> Channel {
        self.channel.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn call<Q, A>(
        &self,
        path: &'static str,
        request: Q,
        token: Option<MetadataValue<Ascii>>,
        deadline: Duration,
    ) -> Result<A, Failure>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        self.within(deadline, unary(self.channel(), path, with(request, token))).await
    }

    /// Sends a stream of one request, and waits for the first of its answers.
    pub(crate) async fn first_of_stream<Q, A>(
        &self,
        path: &'static str,
        request: Q,
        token: Option<MetadataValue<Ascii>>,
        deadline: Duration,
    ) -> Result<A, Failure>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        self.within(deadline, streamed(self.channel(), path, with(tokio_stream::once(request), token))).await
    }

    async fn within<A>(
        &self,
        deadline: Duration,
        answer: impl Future<Output = Result<A, Status>>,
    ) -> Result<A, Failure> {
        let answer = timeout(deadline, answer).await.unwrap_or_else(|_| {
            // Nothing else notices soon that a connection has died without a word.
            *self.channel.lock().unwrap_or_else(PoisonError::into_inner) = self.endpoint.connect_lazy();
            Err(Status::deadline_exceeded(format!("no answer within {deadline:?}")))
        });
        answer.map_err(|status| Failure::of(self, &status))
    }
}

/// Why there is no answer.
pub(crate) struct Failure {
    pub(crate) error: EtcdError,
    /// The token of a user is not known, or not any more.
    pub(crate) is_unauthenticated: bool,
}

impl Failure {
    fn of(Member { url, lacks_certificate, .. }: &Member, status: &Status) -> Self {
        let message = status.message();
        // Only etcd's own words tell that it has refused something; codes also come from what is on the way to it.
        let is_of_etcd = message.starts_with("etcdserver:");
        let (code, why) = (status.code(), reasons(status));
        let error = match code {
            Code::ResourceExhausted if message.contains("database space exceeded") => {
                EtcdError::Unknown(format!(
                    "{url}: etcd is full (NOSPACE). Free space, defragment its members, and disarm the alarm: etcdctl \
                 alarm disarm"
                ))
            }
            Code::OutOfRange if message.contains("compacted") => EtcdError::Compacted,
            Code::Unauthenticated | Code::FailedPrecondition if is_of_etcd => EtcdError::Refused(format!(
                "{url}: etcd does not know this server ({message}). Check cluster.username, cluster.password_file and \
                 cluster.cert"
            )),
            Code::InvalidArgument if message.contains("user name is empty") => EtcdError::Refused(format!(
                "{url}: etcd asks who this server is. Set cluster.username and cluster.password_file, or cluster.cert"
            )),
            Code::InvalidArgument if message.contains("authentication failed") => {
                EtcdError::Refused(format!(
                    "{url}: etcd does not know this user or password ({message}). Check cluster.username and \
                 cluster.password_file"
                ))
            }
            Code::PermissionDenied if is_of_etcd => EtcdError::Refused(format!(
                "{url}: etcd does not allow it ({message}). Give the user of this server readwrite over the prefix"
            )),
            Code::InvalidArgument if is_of_etcd => {
                EtcdError::Refused(format!("{url}: etcd refuses it: {message}"))
            }
            _ if why.contains("invalid peer certificate") => {
                EtcdError::Unknown(format!("{url}: {why}. Check cluster.ca and the certificates of etcd"))
            }
            // Whoever lacks a certificate may see no more than that the connection ends.
            Code::Unavailable | Code::Unknown if *lacks_certificate => EtcdError::Unknown(format!(
                "{url}: {why}. If etcd asks for certificates, set cluster.cert and cluster.key"
            )),
            _ if why.contains("certificate") => {
                EtcdError::Unknown(format!("{url}: {why}. Check cluster.cert and the authorities of etcd"))
            }
            _ => EtcdError::Unknown(format!("{url}: {why}")),
        };
        let is_unauthenticated = code == Code::Unauthenticated && is_of_etcd;
        Self { error, is_unauthenticated }
    }
}

fn with<T>(request: T, token: Option<MetadataValue<Ascii>>) -> Request<T> {
    let mut request = Request::new(request);
    if let Some(token) = token {
        request.metadata_mut().insert("token", token);
    }
    request
}

async fn unary<Q, A>(channel: Channel, path: &'static str, request: Request<Q>) -> Result<A, Status>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    let mut grpc = Grpc::new(channel).max_decoding_message_size(ANSWER_BYTES);
    grpc.ready().await.map_err(|error| Status::unavailable(reasons(&error)))?;
    let codec = ProstCodec::<Q, A>::default();
    Ok(grpc.unary(request, PathAndQuery::from_static(path), codec).await?.into_inner())
}

async fn streamed<Q, A>(
    channel: Channel,
    path: &'static str,
    requests: Request<tokio_stream::Once<Q>>,
) -> Result<A, Status>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::unavailable(reasons(&error)))?;
    let codec = ProstCodec::<Q, A>::default();
    let answers = grpc.streaming(requests, PathAndQuery::from_static(path), codec).await?;
    let first = answers.into_inner().message().await?;
    first.ok_or_else(|| Status::unavailable("the stream ended without an answer"))
}

/// An error with all its reasons, each said once.
fn reasons(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    let mut all: Vec<String> = Vec::new();
    for one in chain.map(|error| match error.downcast_ref::<Status>() {
        Some(status) => status.message().to_owned(),
        None => error.to_string(),
    }) {
        if !all.iter().any(|before| before.contains(&one)) {
            all.push(one);
        }
    }
    all.join(": ")
}

fn client_tls(tls: &Tls) -> io::Result<ClientTlsConfig> {
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
    };
    let mut config = ClientTlsConfig::new();
    if let Some(ca) = &tls.ca {
        config = config.ca_certificate(Certificate::from_pem(read(ca)?));
    }
    if let Some((cert, key)) = &tls.identity {
        config = config.identity(Identity::from_pem(read(cert)?, read(key)?));
    }
    Ok(config)
}
