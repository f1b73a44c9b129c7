//! Requests over one connection.

use std::{
    io,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use crate::clock::now;

/// No answer takes longer; a request that waits does so for less than a second.
const PATIENCE: Duration = Duration::from_mins(1);

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: String,
    /// Its `Idempotency-Key`.
    pub(crate) key: Option<String>,
}

impl Call {
    pub(crate) fn new(method: &'static str, path: impl Into<String>, body: impl Into<String>) -> Self {
        Self { method, path: path.into(), body: body.into(), key: None }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path, "")
    }

    fn request(&self) -> io::Result<Request<Full<Bytes>>> {
        let mut request = Request::builder().method(self.method).uri(&self.path).header("host", "throttle");
        if !self.body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        if let Some(key) = &self.key {
            request = request.header("idempotency-key", key);
        }
        request.body(Full::new(Bytes::from(self.body.clone()))).map_err(io::Error::other)
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) instance: String,
    /// The header `Throttle-Fencing-Token`.
    pub(crate) token: Option<u64>,
    body: Bytes,
    /// When all of the answer was there.
    pub(crate) received: Instant,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_slice(&self.body).map_err(|error| format!("{error} in {:?}", self.text()))
    }
}

/// A connection to the server.
pub(crate) struct Connection(http1::SendRequest<Full<Bytes>>);

impl Connection {
    pub(crate) async fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Self::over(stream).await
    }

    pub(crate) async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> io::Result<Self> {
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(async { drop(driver.await) });
        Ok(Self(sender))
    }

    /// Whether a request can be sent: nothing was before this.
    pub(crate) async fn is_open(&mut self) -> bool {
        self.0.ready().await.is_ok()
    }

    /// The head of the answer, and its body to be read.
    pub(crate) async fn begin(&mut self, call: &Call) -> io::Result<Response<Incoming>> {
        self.0.ready().await.map_err(io::Error::other)?;
        self.0.send_request(call.request()?).await.map_err(io::Error::other)
    }

    /// The whole answer. After an error it is not known whether the request had an effect.
    pub(crate) async fn ask(&mut self, call: &Call) -> io::Result<Answer> {
        let answer = async {
            let (head, body) = self.begin(call).await?.into_parts();
            let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
            let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
            Ok(Answer {
                status: head.status.as_u16(),
                instance: header("throttle-instance").unwrap_or_default().to_owned(),
                token: header("throttle-fencing-token").and_then(|token| token.parse().ok()),
                body,
                received: now(),
            })
        };
        timeout(PATIENCE, answer).await.map_err(|_| io::Error::other("no answer in a minute"))?
    }
}

/// A name as part of a path.
pub(crate) fn encoded(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
}
