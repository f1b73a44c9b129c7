//! What safety costs: a server that asks for tokens beside one that does not, and TLS beside a bare server with the
//! same.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use serde::Serialize;

use crate::process::{BARE, Kind, Server};
use crate::rows::{ROWS, Row};
use crate::stats::Spread;
use crate::throughput::{Sample, Target, column, in_turns, rates, work};
use crate::{Options, Result, http, note};

/// The rows that are measured.
const HERE: &[&str] = &["heartbeat", "cycle", "session", "v1-heartbeat", "v1-cycle"];
const TOKENS: &str = "[security]\ntokens = \"tokens.toml\"\n";
const TLS: &str = "[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n";

/// One row on two servers.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    /// What the second one has.
    pub(crate) what: &'static str,
    pub(crate) row: &'static str,
    /// Operations per second.
    pub(crate) rates: [Spread; 2],
    /// The second against the first, round by round.
    pub(crate) ratio: Spread,
    /// The same by the processor time of the server.
    pub(crate) work: Option<Spread>,
}

/// A server, and a line that every request to it has in its head.
struct Side {
    target: Target,
    header: &'static str,
}

impl Side {
    fn start(options: &Options, server: &Server, header: &'static str) -> Result<Self> {
        http::set_header(header);
        Ok(Self { target: Target::start(options, server, 0)?, header })
    }

    fn slice(&mut self, options: &Options, row: &Row, parts: u32) -> Result<Sample> {
        http::set_header(self.header);
        self.target.slice(row, options.pipeline, options.slice / parts)
    }
}

/// Measures some rows with tokens and without, and with TLS beside a bare server, in slices that take turns.
pub(crate) fn measure(options: &Options, server: &Server) -> Result<Vec<Line>> {
    note("measuring a server with tokens beside one without");
    let (file, token) = token(server)?;
    // It lives as long as this process, which needs but one.
    let header: &'static str = format!("Authorization: Bearer {token}\r\n").leak();
    let guarded = Server { settings: TOKENS, files: vec![("tokens.toml", file)], ..server.clone() };
    let mut sides = [Side::start(options, server, "")?, Side::start(options, &guarded, header)?];
    let mut lines = compare(options, "tokens", &mut sides)?;
    http::set_header("");
    drop(sides);

    note("measuring TLS beside a bare server with the same");
    let (files, tls) = encryption()?;
    let encrypted = Server { settings: TLS, files, tls: Some(tls), ..server.clone() };
    let bare = Server { name: BARE, kind: Kind::Bare, binary: std::env::current_exe()?, ..encrypted.clone() };
    let mut sides = [Side::start(options, &bare, "")?, Side::start(options, &encrypted, "")?];
    lines.extend(compare(options, "TLS, beside a bare server", &mut sides)?);
    Ok(lines)
}

fn compare(options: &Options, what: &'static str, sides: &mut [Side; 2]) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for row in ROWS.iter().filter(|row| HERE.contains(&row.name)) {
        let mut samples: [Vec<Sample>; 2] = [Vec::new(), Vec::new()];
        for side in sides.iter_mut() {
            side.slice(options, row, 4)?;
        }
        in_turns(options.rounds, sides, &mut samples, |side| side.slice(options, row, 1))?;
        let [first, second] = &samples;
        let rate = |samples: &[Sample]| column(samples, |sample| Some(sample.rate)).ok_or("no rounds");
        lines.push(Line {
            what,
            row: row.name,
            rates: [rate(first)?, rate(second)?],
            ratio: rates(second, first).ok_or("no rounds")?,
            work: work(second, first),
        });
    }
    Ok(lines)
}

/// A file of tokens, and the one that is in it.
fn token(server: &Server) -> Result<(String, String)> {
    let file = std::env::temp_dir().join(format!("throttle-bench-{}-tokens.toml", std::process::id()));
    let made = Command::new(&server.binary)
        .args(["token", "new", "bench", "--allow", "admin", "--file"])
        .arg(&file)
        .output()?;
    let text = fs::read_to_string(&file);
    let _ = fs::remove_file(&file);
    Ok((text?, String::from_utf8(made.stdout)?.trim().to_owned()))
}

/// Files with these names.
type Files = Vec<(&'static str, String)>;

/// A certificate and its key as files, and how a client trusts it.
fn encryption() -> Result<(Files, Arc<ClientConfig>)> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes())?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((vec![("cert.pem", pem), ("key.pem", key.serialize_pem())], Arc::new(config)))
}
