//! Passing requests on to the leader, and taking in those that were.
//!
//! What is known of the client goes with it: his address, and his name if a certificate told it. That counts only from
//! a server that shows the secret of the cluster.

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    sync::Mutex,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::Response,
};
use hyper::body::{Frame, SizeHint};
use throttle_etcd::Leader;

use super::Cluster;
use crate::{
    net::{ClientAddress, ClientName},
    outgoing,
};

/// By which servers of a cluster know each other.
pub(crate) const CLUSTER: HeaderName = HeaderName::from_static("throttle-cluster");
const CLIENT_ADDRESS: HeaderName = HeaderName::from_static("throttle-client-address");
const CLIENT_NAME: HeaderName = HeaderName::from_static("throttle-client-name");

/// What concerns one connection only.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
];

/// Takes in what another server says of a request that it passes on. Tells whether it is one.
pub(crate) fn take_in<B>(cluster: &Cluster, request: &mut axum::http::Request<B>) -> bool {
    let headers = request.headers_mut();
    let Some(shown) = headers.remove(&CLUSTER) else { return false };
    let (address, name) = (headers.remove(&CLIENT_ADDRESS), headers.remove(&CLIENT_NAME));
    if !cluster.is_one_of_us(shown.as_bytes()) {
        return false;
    }
    let extensions = request.extensions_mut();
    extensions.remove::<ClientAddress>();
    extensions.remove::<ClientName>();
    let text = |value: Option<HeaderValue>| String::from_utf8(value?.as_bytes().to_vec()).ok();
    if let Some(address) = text(address).and_then(|address| address.parse::<IpAddr>().ok()) {
        extensions.insert(ClientAddress(address));
    }
    if let Some(name) = text(name) {
        extensions.insert(ClientName(name.into()));
    }
    true
}

/// Passes a request on to the leader, for as long as it is that.
///
/// # Errors
///
/// Why there is no answer. The request may have had its effect.
pub(crate) async fn forward(
    cluster: &Cluster,
    leader: &Leader,
    request: Request,
) -> Result<Response, String> {
    let mut deposed = Box::pin(cluster.is_followed_by_another(leader.epoch));
    let sent = tokio::select! {
        sent = send(cluster, &leader.name, request) => sent?,
        () = &mut deposed => return Err("another server leads by now".to_owned()),
    };
    // A leader that stands still ends no stream.
    Ok(sent.map(|body| Body::new(Cut { body: Body::new(body), deposed })))
}

async fn send(
    cluster: &Cluster,
    url: &str,
    request: Request,
) -> Result<axum::http::Response<reqwest::Body>, String> {
    let (mut parts, body) = request.into_parts();
    remove_hop_by_hop(&mut parts.headers);
    for name in [CLIENT_ADDRESS, CLIENT_NAME] {
        parts.headers.remove(name);
    }
    parts.headers.insert(CLUSTER, cluster.secret.clone());
    if let Some(ClientAddress(address)) = parts.extensions.get()
        && let Ok(address) = HeaderValue::try_from(address.to_string())
    {
        parts.headers.insert(CLIENT_ADDRESS, address);
    }
    if let Some(ClientName(name)) = parts.extensions.get()
        && let Ok(name) = HeaderValue::from_bytes(name.as_bytes())
    {
        parts.headers.insert(CLIENT_NAME, name);
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let sent = cluster
        .client
        .request(parts.method, format!("{url}{path}"))
        .headers(parts.headers)
        .body(reqwest::Body::wrap(Shared(Mutex::new(body))))
        .send()
        .await
        .map_err(|error| outgoing::reasons(&error.without_url()))?;
    let mut response = axum::http::Response::<reqwest::Body>::from(sent);
    remove_hop_by_hop(response.headers_mut());
    Ok(response)
}

/// A connection may name more of them, but no client of this server does.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// The body of an answer, for as long as whoever sends it leads.
struct Cut {
    body: Body,
    deposed: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl HttpBody for Cut {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Pending if self.deposed.as_mut().poll(context).is_ready() => {
                Poll::Ready(Some(Err(axum::Error::new(io::Error::other("another server leads by now")))))
            }
            poll => poll,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body that threads may share, though just one ever reads it.
struct Shared(Mutex<Body>);

impl Shared {
    fn body(&mut self) -> &mut Body {
        self.0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(self.body()).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).size_hint()
    }
}
