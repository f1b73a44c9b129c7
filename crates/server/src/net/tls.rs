//! TLS: certificates from files, which are taken up again when they change.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    RootCertStore, ServerConfig, ServerConnection,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use tokio::{
    io::{ReadHalf, WriteHalf, split},
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::{error, info};
use x509_parser::parse_x509_certificate;

use crate::changes::Changes;

/// What an encrypted connection keeps at most of what its client does not take, in bytes.
const BUFFER: usize = 16 * 1024;
/// The first byte of a TLS handshake.
const HANDSHAKE: u8 = 0x16;

/// Where certificates are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate of the server, and those between it and an authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities of client certificates, if these say who a client is.
    pub client_ca: Option<PathBuf>,
}

/// What is wrong with the files. It names the file, and nothing of what is in it.
#[derive(Debug)]
pub struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

/// Whose certificate a client has shown, by the common name of its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientName(pub Arc<str>);

/// How connections are encrypted.
pub struct Tls {
    files: TlsFiles,
    handshake_timeout: Duration,
    acceptor: RwLock<TlsAcceptor>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

/// A connection that is encrypted.
pub(super) struct Encrypted {
    pub(super) read: ReadHalf<TlsStream<TcpStream>>,
    pub(super) write: WriteHalf<TlsStream<TcpStream>>,
    pub(super) client: Option<ClientName>,
}

/// Why a connection is not.
pub(super) enum NoTls {
    /// The client speaks plain HTTP.
    Plain(TcpStream),
    /// The handshake failed, or took too long.
    Failed,
}

impl Tls {
    /// With what the files have in them.
    ///
    /// # Errors
    ///
    /// If one of them cannot be read, or certificate and key do not belong together.
    pub fn read(files: TlsFiles, handshake_timeout: Duration) -> Result<Arc<Self>, TlsError> {
        let acceptor = RwLock::new(acceptor(&files)?);
        Ok(Arc::new(Self { files, handshake_timeout, acceptor }))
    }

    /// Reads the files again. If they are not right, everything stays as it was.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn reload(&self) -> Result<(), TlsError> {
        let new = acceptor(&self.files)?;
        *self.acceptor.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// Takes up changes of the files, for as long as the server runs.
    pub async fn watch(&self) {
        let TlsFiles { cert, key, client_ca } = &self.files;
        let files: Vec<&Path> =
            [Some(cert), Some(key), client_ca.as_ref()].into_iter().flatten().map(|path| &**path).collect();
        let mut changes = Changes::of(files);
        loop {
            changes.next().await;
            match self.reload() {
                Ok(()) => info!(target: "throttle", "The certificates were read again, as a file changed."),
                Err(error) => error!(target: "throttle", "The certificates stay as they were. {error}"),
            }
        }
    }

    /// Agrees with a client on keys.
    pub(super) async fn accept(&self, stream: TcpStream, until: Option<Instant>) -> Result<Encrypted, NoTls> {
        let until = until.unwrap_or_else(|| Instant::now() + self.handshake_timeout);
        let mut first = [0];
        match timeout_at(until, stream.peek(&mut first)).await {
            Ok(Ok(1..)) if first != [HANDSHAKE] && first[0].is_ascii_uppercase() => {
                return Err(NoTls::Plain(stream));
            }
            Ok(Ok(1..)) => {}
            _ => return Err(NoTls::Failed),
        }
        let acceptor = self.acceptor.read().unwrap_or_else(PoisonError::into_inner).clone();
        let bounded = |session: &mut ServerConnection| session.set_buffer_limit(Some(BUFFER));
        match timeout_at(until, acceptor.accept_with(stream, bounded)).await {
            Ok(Ok(stream)) => {
                let certificates = stream.get_ref().1.peer_certificates();
                let client = certificates.and_then(|all| common_name(all.first()?));
                let (read, write) = split(stream);
                Ok(Encrypted { read, write, client })
            }
            _ => Err(NoTls::Failed),
        }
    }
}

/// Who a certificate is for.
fn common_name(certificate: &CertificateDer<'_>) -> Option<ClientName> {
    let (_, certificate) = parse_x509_certificate(certificate).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    Some(ClientName(name.into()))
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    let chain = certificates(&files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| TlsError(format!("{}: holds no private key: {error}.", files.key.display())))?;
    let provider = Arc::new(ring::default_provider());
    let broken = |error: rustls::Error| {
        TlsError(format!("{} and {}: cannot be used: {error}.", files.cert.display(), files.key.display()))
    };
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(broken)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path)? {
                roots.add(authority).map_err(|error| TlsError(format!("{}: {error}.", path.display())))?;
            }
            // A client without a certificate may show a token.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| TlsError(format!("{}: {error}.", path.display())))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(broken)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong =
        |error: &dyn fmt::Display| TlsError(format!("{}: holds no certificate: {error}.", path.display()));
    let all: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(|error| wrong(&error))?
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(&error))?;
    if all.is_empty() { Err(wrong(&"it has no section CERTIFICATE")) } else { Ok(all) }
}
