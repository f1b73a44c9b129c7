//! Which certificates are trusted.

use std::{error::Error as StdError, io, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, pem::PemObject as _},
};
use rustls_platform_verifier::Verifier;

use crate::{Error, settings::Settings};

/// The configuration for the servers: the authorities of `cacert` alone if it is set, else those of this machine.
pub(crate) fn configuration(settings: &Settings) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Configuration(format!("TLS cannot be set up: {error}")))?;
    let builder = if let Some(path) = &settings.cacert {
        builder.with_root_certificates(roots(path)?)
    } else if settings.servers.iter().any(|server| server.url.starts_with("https:")) {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(platform(provider)?))
    } else {
        // Never asked, and a machine without any certificates can still use plain HTTP.
        builder.with_root_certificates(RootCertStore::empty())
    };
    Ok(builder.with_no_client_auth())
}

fn platform(provider: Arc<CryptoProvider>) -> Result<Verifier, Error> {
    Verifier::new(provider).map_err(|error| {
        Error::Configuration(format!(
            "the certificates that this machine trusts cannot be used ({error}). Install them, or give the file \
             of the authority that signed the server's certificate (`cacert` or THROTTLE_CACERT)."
        ))
    })
}

fn roots(path: &Path) -> Result<RootCertStore, Error> {
    let wrong = |why: &str| {
        Error::Configuration(format!(
            "the certificate file {} (cacert or THROTTLE_CACERT) cannot be used: {why}",
            path.display()
        ))
    };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error.to_string()))? {
        let certificate = certificate.map_err(|error| wrong(&error.to_string()))?;
        store.add(certificate).map_err(|error| wrong(&error.to_string()))?;
    }
    if store.is_empty() {
        return Err(wrong("it holds no certificate in PEM format"));
    }
    Ok(store)
}

/// Whether a request failed because the server's certificate is not trusted.
pub(crate) fn is_about_certificate(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
            return true;
        }
        // An I/O error's `source` skips the error that it carries.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = inner.map(|inner| inner as &(dyn StdError + 'static)).or_else(|| error.source());
    }
    false
}
