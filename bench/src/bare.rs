//! The limit: a server with nothing behind it. It reads each request to its end and answers a constant, in
//! the way in which Throttle is served: hyper for HTTP/1.1, pipelined answers flushed together, no delay on
//! the socket, tokio's scheduler of several threads. What a request costs here, it costs on any server built
//! like this.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Serves until the process is ended. The number of threads is tokio's own choice, one for each processor;
/// `TOKIO_WORKER_THREADS` sets it, here and for the servers that are measured.
pub(crate) fn serve(port: u16, with_tls: bool) -> crate::Result<()> {
    let tls = with_tls.then(acceptor).transpose()?;
    tokio::runtime::Builder::new_multi_thread().enable_io().build()?.block_on(async {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let tls = tls.clone();
            tokio::spawn(async move {
                match tls {
                    None => converse(stream).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            converse(stream).await;
                        }
                    }
                }
            });
        }
    })
}

/// A connection that fails ends; the client notices.
async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let _ = hyper::server::conn::http1::Builder::new()
        .pipeline_flush(true)
        .serve_connection(TokioIo::new(stream), hyper::service::service_fn(answer))
        .await;
}

/// TLS as Throttle has it, with the files of this directory.
fn acceptor() -> crate::Result<TlsAcceptor> {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file("cert.pem")?],
            PrivateKeyDer::from_pem_file("key.pem")?,
        )?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let _ = request.into_body().collect().await;
    let mut response = Response::new(Full::new(Bytes::from_static(b"Ok")));
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    Ok(response)
}
