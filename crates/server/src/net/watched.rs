//! A service that tells the driver of a connection when requests begin and end.

use std::{
    cell::Cell,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use hyper::{
    Request, Response,
    body::{Body, Frame, Incoming, SizeHint},
    header::DATE,
    service::Service,
};
use pin_project_lite::pin_project;

use super::{
    date::date,
    drive::BoxError,
    link::{Link, Phase},
    tls::ClientName,
};

thread_local! {
    static WAITS: Cell<bool> = const { Cell::new(false) };
}

/// The request whose future is polled on this thread begins to wait, for as long as it may take: if its client closes
/// its side from now on, it is taken for gone at once.
pub fn request_waits() {
    WAITS.set(true);
}

/// Where a request comes from: a client, or a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// What counts as one address: networks give each IPv6 host a /64 of its own.
pub fn client_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => address.into(),
            None => (address.to_bits() & !u128::from(u64::MAX)).to_be_bytes().into(),
        },
        IpAddr::V4(_) => address,
    }
}

/// The other end of a connection, as far as requests are to tell of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Remote {
    /// Whose certificate came with the connection, if one did.
    pub(super) name: Option<ClientName>,
    pub(super) address: Option<IpAddr>,
}

/// A service that tells the driver when a request begins and when its answer is written, and dates the answer.
pub(super) struct Watched<S> {
    pub(super) service: S,
    pub(super) client: Remote,
    pub(super) link: Arc<Link>,
}

impl<S, B> Service<Request<Incoming>> for Watched<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body,
{
    type Response = Response<Answer<B>>;
    type Error = BoxError;
    type Future = Answering<S::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let Remote { name, address } = &self.client;
        if let Some(name) = name {
            request.extensions_mut().insert(name.clone());
        }
        if let Some(address) = address {
            request.extensions_mut().insert(ClientAddress(*address));
        }
        self.link.enter(Phase::Busy);
        self.link.set_waiting(false);
        Answering { future: self.service.call(request), written: Some(Written(Arc::clone(&self.link))) }
    }
}

/// Dropped when the last byte of an answer was handed to the connection.
struct Written(Arc<Link>);

impl Drop for Written {
    fn drop(&mut self) {
        self.0.enter(Phase::Idle);
    }
}

pin_project! {
    pub(super) struct Answering<F> {
        #[pin]
        future: F,
        written: Option<Written>,
    }
}

impl<F, B, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    E: Into<BoxError>,
{
    type Output = Result<Response<Answer<B>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = this.future.poll(cx);
        if (WAITS.take() || result.is_ready())
            && let Some(Written(link)) = this.written
        {
            link.set_waiting(result.is_pending());
        }
        let mut response = ready!(result).map_err(Into::into)?;
        let written = this.written.take();
        if let Some(Written(link)) = &written
            && !link.answer(response.body().size_hint().exact())
        {
            return Poll::Ready(Err("there is no room for the answer".into()));
        }
        if let Some(date) = date() {
            response.headers_mut().insert(DATE, date);
        }
        Poll::Ready(Ok(response.map(|body| Answer { body, written })))
    }
}

pin_project! {
    pub(super) struct Answer<B> {
        #[pin]
        body: B,
        written: Option<Written>,
    }
}

impl<B: Body> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stands_for_a_client() {
        for (address, client) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("::1", "::"),
        ] {
            assert_eq!(client_of(address.parse().unwrap()).to_string(), client);
        }
    }
}
