//! TLS, against a real server and real clients.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use reqwest::blocking::Client;
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    version::{TLS12, TLS13},
};

use crate::support::{Launch, Process, until};

const FILE: &str =
    "[semaphores]\nA = 1\n[tls]\ncert = \"server.pem\"\nkey = \"server.key\"\nhandshake_timeout = \"1s\"\n";

/// An authority, whose certificates are written beside a server.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("signed").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// The certificate and the key of somebody.
    pub(crate) fn issue(&self, name: &str) -> (String, String) {
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        (params.signed_by(&key, &self.issuer).expect("signed").pem(), key.serialize_pem())
    }

    /// Makes it the authority of the server in a directory.
    fn install(&self, directory: &Path) {
        let (certificate, key) = self.issue("server");
        // The key first: until its certificate comes, the pair does not fit, and the old one goes on.
        fs::write(directory.join("server.key"), key).expect("writable");
        fs::write(directory.join("server.pem"), certificate).expect("writable");
        fs::write(directory.join("ca.pem"), &self.pem).expect("writable");
    }

    /// A client that trusts it, with a certificate or none.
    fn client(&self, own: Option<(String, String)>, version: &'static SupportedProtocolVersion) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&self.pem)).expect("an authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder =
            builder.with_protocol_versions(&[version]).expect("supported").with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some((pem, key)) => {
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(vec![certificate(&pem)], key).expect("a pair")
            }
        };
        Client::builder().use_preconfigured_tls(config).build().expect("a client")
    }
}

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}

/// A server that speaks TLS.
struct Encrypted {
    process: Process,
    url: String,
    port: u16,
    directory: PathBuf,
}

impl Encrypted {
    fn start(authority: &Authority, file: &str) -> Self {
        Self::with_tokens(authority, file, None)
    }

    fn with_tokens(authority: &Authority, file: &str, tokens: Option<&str>) -> Self {
        let launch = Launch::new(&["--port", "0"]).file(file).env("THROTTLE_LOG", "info");
        let directory = launch.path("");
        authority.install(&directory);
        if let Some(tokens) = tokens {
            fs::write(directory.join("tokens.toml"), tokens).expect("writable");
        }
        let process = launch.start();
        let line = process.stderr.line("Listening on https://127.0.0.1:");
        let port = line.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        Self { process, url: format!("https://localhost:{port}"), port, directory }
    }
}

#[test]
fn both_versions_are_spoken_and_every_command_speaks_them() {
    let authority = Authority::new();
    let server = Encrypted::start(&authority, FILE);
    for version in [&TLS12, &TLS13] {
        let client = authority.client(None, version);
        let body = r#"{"expires_in":"1m","locks":{"A":1}}"#;
        let made = client.post(format!("{}/v1/locks", server.url)).header("content-type", "application/json");
        let peer: serde_json::Value =
            serde_json::from_str(&made.body(body).send().expect("an answer").text().expect("text"))
                .expect("JSON");
        let id = peer["id"].as_str().expect("an id");
        let gone = client.delete(format!("{}/v1/peers/{id}", server.url)).send().expect("an answer");
        assert_eq!(gone.status(), 204);
    }
    let authority_file = server.directory.join("ca.pem");
    let command = ["run", "--url", &server.url, "--semaphore", "A", "--", "true"];
    let run = Launch::new(&command).env("THROTTLE_CACERT", authority_file.to_str().expect("a path"));
    assert_eq!(run.run().0, 0);
    // An authority that it does not know is no reason to go on.
    let (code, _, error) = Launch::new(&["status", "--url", &server.url]).run();
    assert!(code == 1 && error.contains("is not trusted"), "{error}");
}

#[test]
fn an_answer_larger_than_all_buffers_arrives() {
    let authority = Authority::new();
    let server = Encrypted::start(&authority, FILE);
    let client = authority.client(None, &TLS13);
    let page = client.get(format!("{}/openapi.json", server.url)).send().expect("an answer");
    let text = page.text().expect("all of it");
    assert!(text.len() > 64 * 1024 && text.ends_with('}'), "{}", text.len());
}

#[test]
fn whoever_speaks_plain_http_is_told_so() {
    let authority = Authority::new();
    let server = Encrypted::start(&authority, FILE);
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").expect("writable");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.contains("begin the address with https://"),
        "{answer}"
    );
    // Silence in the middle of a handshake has an end.
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    stream.write_all(&[0x16, 3, 1]).expect("writable");
    assert_eq!(stream.read(&mut [0; 8]).expect("an end"), 0);
    let client = authority.client(None, &TLS13);
    let metrics =
        client.get(format!("{}/metrics", server.url)).send().expect("an answer").text().expect("text");
    assert!(metrics.contains("throttle_connection_errors_total{error=\"handshake\"} 2"), "{metrics}");
}

#[test]
fn certificates_are_taken_up_without_a_restart() {
    let (first, second) = (Authority::new(), Authority::new());
    let server = Encrypted::start(&first, FILE);
    let works = |authority: &Authority| {
        authority.client(None, &TLS13).get(format!("{}/livez", server.url)).send().is_ok()
    };
    assert!(works(&first) && !works(&second));
    let (other, _) = second.issue("server");
    fs::write(server.directory.join("server.pem"), other).expect("writable");
    let line = server.process.stderr.line("The certificates stay as they were.");
    assert!(line.contains("server.pem and server.key: cannot be used"), "{line}");
    assert!(works(&first), "the old pair goes on");
    second.install(&server.directory);
    until("the new certificate is shown", || works(&second));
    assert!(!works(&first));
}

#[test]
fn a_client_certificate_is_an_identity() {
    let authority = Authority::new();
    let file = format!("{FILE}client_ca = \"ca.pem\"\n[security]\ntokens = \"tokens.toml\"\n");
    let error = Launch::new(&["--port", "0"]).file(file.split("[security]").next().expect("a part")).fails();
    assert!(
        error.contains("tls.client_ca says who clients are, but nothing says what they may do"),
        "{error}"
    );
    let tokens = "[[identity]]\nname = \"worker-*\"\nallow = [\"acquire\", \"read\"]\n";
    let Encrypted { url, process: _running, .. } = Encrypted::with_tokens(&authority, &file, Some(tokens));
    let status = |authority: &Authority, name: Option<&str>, path: &str| {
        let client = authority.client(name.map(|name| authority.issue(name)), &TLS13);
        client
            .get(format!("{url}{path}"))
            .send()
            .map(|answer| (answer.status().as_u16(), answer.text().expect("text")))
    };
    let (code, body) = status(&authority, Some("worker-7"), "/v1/permissions").expect("an answer");
    assert!(code == 200 && body.contains("\"identity\":\"worker-7\""), "{body}");
    assert_eq!(status(&authority, Some("other"), "/v1/semaphores").expect("an answer").0, 403);
    assert_eq!(status(&authority, None, "/v1/semaphores").expect("an answer").0, 401);
    assert_eq!(status(&authority, None, "/livez").expect("an answer").0, 200);
    // A certificate of somebody else's authority ends the connection.
    let stranger = Authority::new().issue("worker-7");
    let client = authority.client(Some(stranger), &TLS13);
    assert!(client.get(format!("{url}/v1/semaphores")).send().is_err());
}
