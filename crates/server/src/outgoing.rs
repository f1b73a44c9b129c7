//! Connections that this server opens itself: to a collector of traces, to the issuer of tokens.

use std::{error::Error, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use rustls_platform_verifier::BuilderVerifierExt as _;

/// TLS with the authorities in this file; without one, with those that this machine trusts, or those of
/// `SSL_CERT_FILE`.
///
/// # Errors
///
/// If there are none.
pub(crate) fn tls(authorities: Option<&Path>) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match authorities {
        None => builder.with_platform_verifier().map_err(|error| error.to_string())?,
        Some(path) => builder.with_root_certificates(roots(path)?),
    };
    Ok(builder.with_no_client_auth())
}

/// TLS that trusts nobody: for those who use none.
pub(crate) fn no_tls() -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn roots(path: &Path) -> Result<RootCertStore, String> {
    let wrong = |error: &dyn Error| format!("{}: holds no certificate: {error}", path.display());
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))? {
        roots.add(authority.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))?;
    }
    if roots.is_empty() { Err(format!("{}: holds no certificate", path.display())) } else { Ok(roots) }
}

/// An error with all its reasons.
pub(crate) fn reasons(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
