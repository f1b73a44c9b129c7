//! Puts requests on the wire: pooled connections, a time limit on every attempt, repeats where they are safe.

use std::{error::Error as StdError, sync::Arc, time::Duration};

use reqwest::{
    RequestBuilder, Response,
    header::{DATE, HeaderMap, RETRY_AFTER},
    redirect,
};
use rustls::ClientConfig;
use tokio_util::sync::CancellationToken;

use crate::{
    Error, Events,
    clock::{Moment, now},
    dialect::Dialect,
    polls::Polls,
    protocol::{Answer, INSTANCE_HEADER, KEY_HEADER, Request, TOKEN_HEADER, TRACE_HEADER},
    proxy,
    retry::Retry,
    server_time::ServerTime,
    settings::Settings,
    tls,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// More than any answer of a server has: its lists end after 256 KiB.
const ANSWER_BYTES: usize = 4 << 20;
/// Shorter than what servers and proxies usually allow, so that they rarely close one in use.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
const USER_AGENT: &str = concat!("throttle-client-rust/", env!("CARGO_PKG_VERSION"));

/// The connections to a server that one runtime uses.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) settings: Arc<Settings>,
    pub(crate) dialect: Dialect,
    pub(crate) server_time: ServerTime,
    pub(crate) polls: Polls,
    http: reqwest::Client,
    /// The HTTP proxy before the server, and where it is named.
    proxy: Option<Arc<str>>,
    /// The span of the caller on whose behalf this sends, as W3C Trace Context writes it.
    trace_parent: Option<Arc<str>>,
}

/// An answer, and what it took to get it.
#[derive(Debug)]
pub(crate) struct Exchanged {
    pub(crate) answer: Answer,
    /// When the request that it answers was sent.
    pub(crate) sent_at: Moment,
    /// Whether there was no attempt before.
    pub(crate) at_first_attempt: bool,
}

/// How hard to try.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// No attempt begins after this.
    pub(crate) until: Moment,
    /// What a single attempt may take, besides the time for which it asks the server to wait.
    pub(crate) limit: Duration,
}

impl Effort {
    /// A single attempt.
    pub(crate) fn once(limit: Duration) -> Self {
        Self { until: now(), limit }
    }
}

impl Link {
    pub(crate) fn new(settings: Arc<Settings>, dialect: Dialect, tls: ClientConfig) -> Result<Self, Error> {
        let http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .redirect(redirect::Policy::none())
            .tls_backend_preconfigured(tls)
            .build()
            .map_err(|error| Error::Configuration(format!("the HTTP client cannot be set up: {error}")))?;
        let proxy = proxy::describe(&settings.url).map(Arc::from);
        let (server_time, polls) = (ServerTime::default(), Polls::default());
        Ok(Self { settings, dialect, server_time, polls, http, proxy, trace_parent: None })
    }

    /// The same connections, on behalf of a caller's span, or of none.
    pub(crate) fn traced(&self, trace_parent: Option<Arc<str>>) -> Self {
        Self { trace_parent, ..self.clone() }
    }

    /// The usual effort for a request that the server may hold back for so long.
    pub(crate) fn usual(&self, block_for: Duration) -> Effort {
        Effort { until: now() + self.settings.retry_for + block_for, limit: self.settings.timeout }
    }

    /// Sends with the usual effort, and returns the answer if it is a success.
    pub(crate) async fn call(&self, request: &Request) -> Result<Answer, Error> {
        Ok(self.exchange(request, self.usual(request.block_for)).await?.answer)
    }

    /// Sends, repeats where that is safe, and returns the answer if it is a success.
    pub(crate) async fn exchange(&self, request: &Request, effort: Effort) -> Result<Exchanged, Error> {
        self.exchange_until(request, effort, &CancellationToken::new()).await
    }

    /// As `exchange`, but stops after the attempt during which `stop` was cancelled.
    pub(crate) async fn exchange_until(
        &self,
        request: &Request,
        effort: Effort,
        stop: &CancellationToken,
    ) -> Result<Exchanged, Error> {
        let mut retry = Retry::new(request, effort.until);
        let (mut next, mut held) = (request, None);
        let mut at_first_attempt = true;
        loop {
            let sent_at = now();
            let (mut delay, outcome) = match self.attempt(next, effort.limit).await {
                Ok(answer) => (retry.after_answer(&answer), answer.check(request)),
                Err(error) => (retry.after_failure(&error), Err(error)),
            };
            if let (Some(at_once), Some(_)) = (&next.at_once, delay) {
                next = at_once;
                let so_long = sent_at.elapsed();
                match outcome {
                    Err(Error::Unreachable { sent: true, .. }) => held = Some(so_long),
                    Err(Error::Server { status, .. }) if status != 429 => held = Some(so_long),
                    _ => {}
                }
                // An answer that says when to come back is obeyed.
                let asks_for_patience = matches!(outcome, Err(Error::Server { status: 429 | 503, .. }));
                if held.is_some() && !asks_for_patience {
                    delay = Some(retry.after_cut(so_long, self.polls.cuts_in_a_row()));
                }
            }
            let goes_on = match delay {
                None => false,
                Some(delay) => tokio::select! {
                    () = stop.cancelled() => false,
                    () = tokio::time::sleep(delay) => true,
                },
            };
            if !goes_on {
                if let Ok(answer) = &outcome {
                    self.polls.learn(request.block_for, held, at_first_attempt, answer.is_granted());
                }
                return outcome.map(|answer| Exchanged { answer, sent_at, at_first_attempt });
            }
            at_first_attempt = false;
        }
    }

    /// Sends once.
    pub(crate) async fn attempt(&self, request: &Request, limit: Duration) -> Result<Answer, Error> {
        let (builder, what) = self.prepare(request)?;
        match builder.timeout(limit.saturating_add(request.block_for)).send().await {
            Ok(response) => self.read(response, &what).await,
            Err(error) => Err(self.translate(error, what)),
        }
    }

    /// Opens a stream of events. Its head has to come in time, its body may take for ever.
    pub(crate) async fn listen(&self, request: &Request) -> Result<Events, Error> {
        let (builder, what) = self.prepare(request)?;
        let limit = self.settings.timeout;
        let response = match tokio::time::timeout(limit, builder.send()).await {
            Ok(response) => response.map_err(|error| self.translate(error, what.clone()))?,
            Err(late) => return Err(self.unreachable(what, true, late)),
        };
        if response.status().is_success() {
            return Ok(Events::new(response, what));
        }
        let refused = tokio::time::timeout(limit, self.read(response, &what)).await;
        match refused {
            Ok(Ok(answer)) => Err(answer.json(request).err().unwrap_or_else(|| Error::Server {
                what,
                status: 200,
                message: "what comes is no stream of events".to_owned(),
            })),
            Ok(Err(error)) => Err(error),
            Err(late) => Err(self.unreachable(what, true, late)),
        }
    }

    fn prepare(&self, request: &Request) -> Result<(RequestBuilder, String), Error> {
        let url = format!("{}{}", self.settings.url, request.path);
        let what = format!("{} {}{}", request.method, self.settings.shown_url, request.path);
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
    async fn read(&self, mut response: Response, what: &str) -> Result<Answer, Error> {
        let mut body = Vec::new();
        while let Some(part) =
            response.chunk().await.map_err(|error| self.translate(error, what.to_owned()))?
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
        let headers = response.headers();
        if let Some(date) = text(headers, DATE.as_str()) {
            self.server_time.learn(date);
        }
        Ok(Answer {
            status: response.status(),
            instance: text(headers, INSTANCE_HEADER).map(str::to_owned),
            token: text(headers, TOKEN_HEADER).and_then(|text| text.parse().ok()),
            retry_after: text(headers, RETRY_AFTER.as_str())
                .and_then(|text| text.parse().ok())
                .map(Duration::from_secs),
            text: String::from_utf8_lossy(&body).into_owned(),
        })
    }

    fn translate(&self, error: reqwest::Error, what: String) -> Error {
        // The URL is in `what` already.
        let error = error.without_url();
        if tls::is_about_certificate(&error) {
            return Error::CertificateRejected { url: self.settings.shown_url.clone(), source: error.into() };
        }
        if error.is_builder() {
            return Error::Configuration(format!("{what}: the request cannot be sent ({error})"));
        }
        self.unreachable(what, !error.is_connect(), error)
    }

    fn unreachable(&self, what: String, sent: bool, source: impl StdError + Send + Sync + 'static) -> Error {
        Error::Unreachable {
            what,
            sent,
            proxy: self.proxy.as_deref().map(str::to_owned),
            source: source.into(),
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
