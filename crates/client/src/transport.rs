//! Puts requests on the wire: pooled connections, a time limit on every attempt.

use std::{error::Error as StdError, sync::Arc, time::Duration};

use reqwest::{
    RequestBuilder, Response, StatusCode,
    header::{DATE, HeaderMap, LOCATION, RETRY_AFTER},
    redirect,
};
use rustls::ClientConfig;

use crate::{
    Error, Events,
    batch::Batches,
    clock::{Moment, now},
    dialect::Dialect,
    polls::Polls,
    protocol::{Answer, INSTANCE_HEADER, KEY_HEADER, Request, TOKEN_HEADER, TRACE_HEADER},
    server_time::ServerTime,
    servers::{Favourite, Round, Server},
    settings::Settings,
    tls,
    trouble::Telling,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// More than any answer of a server has: its lists end after 256 KiB.
const ANSWER_BYTES: usize = 4 << 20;
/// Shorter than what servers and proxies usually allow, so that they rarely close one in use.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
const USER_AGENT: &str = concat!("throttle-client-rust/", env!("CARGO_PKG_VERSION"));

/// The connections to the servers that one runtime uses.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) settings: Arc<Settings>,
    pub(crate) dialect: Dialect,
    pub(crate) server_time: ServerTime,
    pub(crate) polls: Polls,
    pub(crate) batches: Batches,
    favourite: Favourite,
    http: reqwest::Client,
    /// The span of the caller on whose behalf this sends, as W3C Trace Context writes it.
    trace_parent: Option<Arc<str>>,
    /// Who is told while requests are repeated.
    pub(crate) telling: Option<Telling>,
}

/// How hard to try. Each server is asked once in any case, unless an answer that got lost may have been that of an act
/// that is not to be repeated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// No other attempt begins after this.
    pub(crate) until: Moment,
    /// What a single attempt may take, besides the time for which it asks the server to wait.
    pub(crate) limit: Duration,
}

impl Effort {
    /// A single attempt at each server, up to the first that answers.
    pub(crate) fn once(limit: Duration) -> Self {
        Self { until: now(), limit }
    }
}

impl Link {
    pub(crate) fn new(
        settings: Arc<Settings>,
        dialect: Dialect,
        favourite: Favourite,
        tls: ClientConfig,
    ) -> Result<Self, Error> {
        let http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .redirect(redirect::Policy::none())
            .tls_backend_preconfigured(tls)
            .build()
            .map_err(|error| Error::Configuration(format!("the HTTP client cannot be set up: {error}")))?;
        let (server_time, polls) = (ServerTime::default(), Polls::default());
        let batches = Batches::default();
        Ok(Self {
            settings,
            dialect,
            server_time,
            polls,
            batches,
            favourite,
            http,
            trace_parent: None,
            telling: None,
        })
    }

    /// The server that is asked first at this moment.
    pub(crate) fn server(&self) -> &Server {
        self.settings.servers.favourite(&self.favourite)
    }

    /// The same connections, on behalf of a caller's span, or of none. Nobody is told of trouble.
    pub(crate) fn traced(&self, trace_parent: Option<Arc<str>>) -> Self {
        Self { trace_parent, telling: None, ..self.clone() }
    }

    /// The same connections, for a caller who wants to hear of trouble, if he does.
    pub(crate) fn telling(self, telling: Option<Telling>) -> Self {
        Self { telling, ..self }
    }

    /// The usual effort for a request that the server may hold back for so long.
    pub(crate) fn usual(&self, block_for: Duration) -> Effort {
        Effort { until: now() + self.settings.retry_for + block_for, limit: self.settings.timeout }
    }

    /// Begins a request.
    pub(crate) fn round(&self) -> Round<'_> {
        self.settings.servers.round(&self.favourite)
    }

    /// Sends once.
    pub(crate) async fn attempt(
        &self,
        server: &Server,
        request: &Request,
        limit: Duration,
    ) -> Result<Answer, Error> {
        let (builder, what) = self.prepare(server, request)?;
        match builder.timeout(limit.saturating_add(request.block_for)).send().await {
            Ok(response) => self.read(server, response, &what).await,
            Err(error) => Err(translate(server, error, what)),
        }
    }

    /// Opens a stream of events. Its head has to come in time, its body may take for ever. What comes of it else is an
    /// answer that is no success.
    pub(crate) async fn open(
        &self,
        server: &Server,
        request: &Request,
    ) -> Result<Result<Events, Answer>, Error> {
        let (builder, what) = self.prepare(server, request)?;
        let limit = self.settings.timeout;
        let response = match tokio::time::timeout(limit, builder.send()).await {
            Ok(response) => response.map_err(|error| translate(server, error, what.clone()))?,
            Err(late) => return Err(unreachable(server, what, true, late)),
        };
        if response.status().is_success() {
            return Ok(Ok(Events::new(response, what, server.shown.clone())));
        }
        match tokio::time::timeout(limit, self.read(server, response, &what)).await {
            Ok(answer) => Ok(Err(answer?)),
            Err(late) => Err(unreachable(server, what, true, late)),
        }
    }

    fn prepare(&self, server: &Server, request: &Request) -> Result<(RequestBuilder, String), Error> {
        let url = format!("{}{}", server.url, request.path);
        let what = format!("{} {}{}", request.method, server.shown, request.path);
        let mut url = reqwest::Url::parse(&url)
            .map_err(|error| Error::Configuration(format!("{what}: not a URL ({error})")))?;
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        let mut builder = self.http.request(request.method.clone(), url);
        if let Some(token) = self.settings.token()? {
            builder = builder.bearer_auth(token);
        }
        if let Some(key) = &request.idempotency_key {
            builder = builder.header(KEY_HEADER, key);
        }
        if let Some(parent) = &self.trace_parent {
            builder = builder.header(TRACE_HEADER, &**parent);
        }
        if let Some(json) = &request.json {
            builder = builder.json(json);
        }
        Ok((builder, what))
    }

    /// Reads an answer, up to a size that none of a server has.
    async fn read(&self, server: &Server, mut response: Response, what: &str) -> Result<Answer, Error> {
        let mut body = Vec::new();
        while let Some(part) =
            response.chunk().await.map_err(|error| translate(server, error, what.to_owned()))?
        {
            if body.len() + part.len() > ANSWER_BYTES {
                let message = format!("the answer is longer than {ANSWER_BYTES} bytes");
                return Err(Error::Server {
                    what: what.to_owned(),
                    status: response.status().as_u16(),
                    message,
                });
            }
            body.extend_from_slice(&part);
        }
        let (headers, status) = (response.headers(), response.status());
        if let Some(date) = text(headers, DATE.as_str()) {
            self.server_time.learn(date);
        }
        // The others do not keep method and body.
        let is_redirect = matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
        Ok(Answer {
            status,
            instance: text(headers, INSTANCE_HEADER).map(str::to_owned),
            token: text(headers, TOKEN_HEADER).and_then(|text| text.parse().ok()),
            retry_after: text(headers, RETRY_AFTER.as_str())
                .and_then(|text| text.parse().ok())
                .map(Duration::from_secs),
            location: text(headers, LOCATION.as_str()).filter(|_| is_redirect).map(str::to_owned),
            text: String::from_utf8_lossy(&body).into_owned(),
        })
    }
}

fn translate(server: &Server, error: reqwest::Error, what: String) -> Error {
    // The URL is in `what` already.
    let error = error.without_url();
    if tls::is_about_certificate(&error) {
        return Error::CertificateRejected { url: server.shown.clone(), source: error.into() };
    }
    if error.is_builder() {
        return Error::Configuration(format!("{what}: the request cannot be sent ({error})"));
    }
    unreachable(server, what, !error.is_connect(), error)
}

fn unreachable(
    server: &Server,
    what: String,
    sent: bool,
    source: impl StdError + Send + Sync + 'static,
) -> Error {
    let (url, proxy) = (server.shown.clone(), server.proxy.clone());
    Error::Unreachable { what, url, sent, proxy, source: source.into() }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
