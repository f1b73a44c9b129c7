//! Tokens of an OpenID Connect issuer, as Kubernetes and CI systems give them.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use ring::{
    hmac,
    rand::SystemRandom,
    rsa,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring as provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::{Value, json};

use crate::{
    support::{Answer, Launch, Server},
    tls::Authority,
};

const ISSUER: &str = "https://issuer.example";

fn base64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// A key of the issuer.
enum Key {
    Ec(EcdsaKeyPair),
    /// The same in every run: it takes seconds to make one.
    Rsa(RsaKeyPair),
}

impl Key {
    fn ec() -> Self {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &random);
        Self::Ec(pair.expect("a key"))
    }

    fn rsa() -> Self {
        let text: String = include_str!("rsa_test_key.txt").split_whitespace().collect();
        Self::Rsa(RsaKeyPair::from_der(&BASE64_STANDARD.decode(text).expect("Base64")).expect("a key"))
    }

    fn jwk(&self, id: &str) -> Value {
        match self {
            Self::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "x": base64(x), "y": base64(y)})
            }
            Self::Rsa(pair) => {
                let public: rsa::PublicKeyComponents<Vec<u8>> = pair.public().into();
                json!({"kty": "RSA", "kid": id, "use": "sig", "alg": "RS256", "n": base64(public.n), "e": base64(public.e)})
            }
        }
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
        let random = SystemRandom::new();
        let signature = match self {
            Self::Ec(pair) => pair.sign(&random, message.as_bytes()).expect("signed").as_ref().to_vec(),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).expect("signed");
                signature
            }
        };
        format!("{message}.{}", base64(signature))
    }

    /// A token of this identity, for this server and the next ten minutes.
    fn token(&self, id: &str, identity: &str) -> String {
        self.sign(&self.header(id), &claims(identity))
    }

    fn header(&self, id: &str) -> Value {
        json!({"typ": "JWT", "alg": if matches!(self, Self::Ec(_)) { "ES256" } else { "RS256" }, "kid": id})
    }
}

fn claims(identity: &str) -> Value {
    json!({"iss": ISSUER, "aud": "throttle", "sub": identity, "exp": now() + 600, "nbf": now(), "iat": now()})
}

fn set(keys: &[(&str, &Key)]) -> String {
    let keys: Vec<_> = keys.iter().map(|(id, key)| key.jwk(id)).collect();
    json!({ "keys": keys }).to_string()
}

/// A server that takes tokens of an issuer with its keys in `jwks.json`, or elsewhere.
struct Trusting {
    server: Server,
    directory: PathBuf,
}

const IDENTITIES: &str = r#"
[[identity]]
name = "system:serviceaccount:etl:*"
allow = ["acquire:etl/*", "read"]
[[identity]]
name = "repo:example/app:*"
allow = ["acquire:deploy", "read:deploy"]
[[identity]]
name = "ann"
allow = ["read:none"]
[[identity]]
name = "bob"
allow = ["read:none"]
[[identity]]
name = "project_path:example/app:*"
allow = ["acquire:deploy"]
"#;

impl Trusting {
    fn start(keys: &str, settings: &str) -> Self {
        let launch = Launch::new(&["--port", "0"])
            .file(format!(
                "[semaphores]\n\"etl/a\" = 1\ndeploy = 1\n[security]\ntokens = \"tokens.toml\"\n[security.jwt]\n\
                 issuer = \"{ISSUER}\"\naudience = \"throttle\"\n{settings}\n"
            ))
            .env("THROTTLE_LOG", "debug");
        let directory = launch.path("");
        fs::write(directory.join("jwks.json"), keys).expect("writable");
        fs::write(directory.join("tokens.toml"), IDENTITIES).expect("writable");
        Self { server: Server::launch(launch), directory }
    }

    fn get(&self, token: &str, path: &str) -> Answer {
        self.server.ask_with("GET", path, &format!("authorization: Bearer {token}\r\n"), "")
    }

    /// Whose a token is taken for.
    fn identity(&self, token: &str) -> Option<String> {
        let answer = self.get(token, "/v1/permissions");
        if answer.status == 401 {
            answer.problem(401, "unauthenticated");
            return None;
        }
        Some(answer.shape(200)["identity"].as_str().expect("a name").to_owned())
    }

    fn acquire(&self, token: &str, semaphore: &str) -> Answer {
        let body = json!({"expires_in": "1m", "locks": {semaphore: 1}}).to_string();
        self.server.ask_with("POST", "/v1/locks", &format!("authorization: Bearer {token}\r\n"), &body)
    }
}

#[test]
fn tokens_of_kubernetes_and_of_ci_systems_count() {
    let key = Key::rsa();
    let trusting = Trusting::start(&set(&[("one", &key)]), "keys = \"jwks.json\"");
    let (issued, expires) = (now(), now() + 3607);
    // Each as its system gives it: a projected token of a service account, a job of GitHub Actions, one of GitLab CI.
    let kubernetes = json!({
        "aud": ["throttle"], "exp": expires, "iat": issued, "nbf": issued, "iss": ISSUER,
        "jti": "ea28ed49-2e11-4280-9ec5-bc3d1d84661a",
        "kubernetes.io": {"namespace": "etl", "node": {"name": "n1", "uid": "58456cb0-dd00-45ed-b797-5578fdceaced"},
            "pod": {"name": "import-69cbfb9798-jv9gn", "uid": "778a530c-b3f4-47c0-9cd5-ab018fb64f33"},
            "serviceaccount": {"name": "import", "uid": "a087d5a0-e1dd-43ec-93ac-f13d89cd13af"}, "warnafter": issued + 3000},
        "sub": "system:serviceaccount:etl:import"
    });
    let github = json!({
        "jti": "1", "sub": "repo:example/app:ref:refs/heads/main", "aud": "throttle", "ref": "refs/heads/main",
        "sha": "f1d2d2f924e986ac86fdf7b36c94bcdf32beec15", "repository": "example/app", "repository_owner": "example",
        "run_id": "1", "run_number": "10", "run_attempt": "2", "actor": "octocat", "workflow": "deploy",
        "event_name": "push", "ref_type": "branch", "job_workflow_ref": "example/app/.github/workflows/d.yml@refs/heads/main",
        "iss": ISSUER, "nbf": issued - 600, "exp": issued + 300, "iat": issued
    });
    let gitlab = json!({
        "namespace_id": "72", "namespace_path": "example", "project_id": "20", "project_path": "example/app",
        "user_id": "1", "user_login": "sample", "pipeline_id": "574", "job_id": "302", "ref": "main",
        "ref_type": "branch", "ref_protected": "true", "iss": ISSUER, "iat": issued, "nbf": issued - 5,
        "exp": expires, "sub": "project_path:example/app:ref_type:branch:ref:main", "aud": "throttle"
    });
    for (claims, identity, may, may_not) in [
        (kubernetes, "system:serviceaccount:etl:import", "etl/a", "deploy"),
        (github, "repo:example/app:ref:refs/heads/main", "deploy", "etl/a"),
        (gitlab, "project_path:example/app:ref_type:branch:ref:main", "deploy", "etl/a"),
    ] {
        let token = key.sign(&key.header("one"), &claims);
        assert_eq!(trusting.identity(&token).as_deref(), Some(identity));
        let peer = crate::support::id(&trusting.acquire(&token, may).shape(201));
        trusting.acquire(&token, may_not).problem(403, "forbidden");
        // It is its own: whoever else the issuer knows has nothing to do with it.
        let other = key.token("one", "system:serviceaccount:etl:other");
        trusting.get(&other, &format!("/v1/peers/{peer}")).problem(410, "peer_gone");
        let gone = trusting.server.ask_with(
            "DELETE",
            &format!("/v1/peers/{peer}"),
            &format!("authorization: Bearer {token}\r\n"),
            "",
        );
        assert_eq!(gone.status, 204);
    }
    // As the password of a URL, too.
    let basic =
        format!("Basic {}", BASE64_STANDARD.encode(format!("x:{}", key.token("one", "repo:example/app:x"))));
    let head = format!("authorization: {basic}\r\n");
    assert_eq!(trusting.server.ask_with("GET", "/v1/semaphores/deploy", &head, "").status, 200);
    // Whoever the file does not name is somebody who may do nothing.
    trusting.get(&key.token("one", "stranger"), "/v1/semaphores").problem(403, "forbidden");
}

#[test]
fn a_wrong_token_is_as_good_as_none() {
    let (key, other) = (Key::ec(), Key::ec());
    let jwk = key.jwk("one");
    let trusting = Trusting::start(&set(&[("one", &key)]), "keys = \"jwks.json\"");
    let (header, right) = (key.header("one"), claims("repo:example/app:x"));
    let with = |name: &str, value: Value| {
        let mut changed = right.clone();
        changed[name] = value;
        key.sign(&header, &changed)
    };
    let without = |name: &str| {
        let mut changed = right.clone();
        changed.as_object_mut().expect("claims").remove(name);
        key.sign(&header, &changed)
    };
    let headed = |name: &str, value: Value| {
        let mut changed = header.clone();
        changed[name] = value;
        key.sign(&changed, &right)
    };
    let right_token = key.sign(&header, &right);
    let (message, signature) = right_token.rsplit_once('.').expect("three parts");
    // The oldest tricks: no signature; the public key as the secret of a symmetric one.
    let none = format!("{}.{}.", base64(json!({"alg": "none"}).to_string()), base64(right.to_string()));
    let symmetric = {
        let message = format!(
            "{}.{}",
            base64(json!({"alg": "HS256", "kid": "one"}).to_string()),
            base64(right.to_string())
        );
        let secret = hmac::Key::new(hmac::HMAC_SHA256, jwk.to_string().as_bytes());
        format!("{message}.{}", base64(hmac::sign(&secret, message.as_bytes())))
    };
    let answer = |token: &str| {
        let answer = trusting.get(token, "/v1/semaphores/deploy");
        (answer.status, answer.header("www-authenticate").map(str::to_owned), answer.text().to_owned())
    };
    let unknown = answer("thr_nobody");
    assert_eq!(unknown.0, 401);
    let wrong = [
        none,
        symmetric,
        other.sign(&header, &right),
        format!("{message}."),
        format!("{message}x.{signature}"),
        format!("{right_token}.x"),
        "a.b.c".to_owned(),
        "..".to_owned(),
        with("exp", json!(now() - 61)),
        with("exp", json!("tomorrow")),
        with("exp", json!(1e300)),
        with("nbf", json!(now() + 90)),
        with("nbf", json!("soon")),
        with("aud", json!("another")),
        with("aud", json!([])),
        with("iss", json!("https://issuer.example.org")),
        with("sub", json!("")),
        with("sub", json!(7)),
        with("sub", json!("a\nb")),
        with("sub", json!("x".repeat(600))),
        without("exp"),
        without("aud"),
        without("iss"),
        without("sub"),
        headed("kid", json!("two")),
        headed("alg", json!("RS256")),
        headed("alg", json!("HS256")),
        headed("crit", json!(["exp"])),
    ];
    for token in wrong {
        assert_eq!(answer(&token), unknown, "{token}");
    }
    // The clocks of issuer and server may differ by a minute; a token that names no key has the only one.
    for token in [
        right_token.clone(),
        with("exp", json!(now() - 50)),
        with("nbf", json!(now() + 50)),
        with("aud", json!(["else", "throttle"])),
        headed("kid", Value::Null),
    ] {
        assert_eq!(answer(&token).0, 200, "{token}");
    }
    // Nothing of them is in the log.
    let log = trusting.server.stop().join("\n");
    assert!(!log.contains(signature) && !log.contains("eyJ"), "{log}");
}

/// An issuer's server of keys, over HTTPS.
struct Keys {
    url: String,
    text: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl Keys {
    fn serve(authority: &Authority, text: String) -> Self {
        let (certificate, key) = authority.issue("issuer");
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("supported")
            .with_no_client_auth()
            .with_single_cert(chain, key);
        let config = Arc::new(config.expect("a pair"));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("https://localhost:{}/jwks", listener.local_addr().expect("an address").port());
        let (text, asked) = (Arc::new(Mutex::new(text)), Arc::new(AtomicUsize::new(0)));
        let keys = Self { url, text: text.clone(), asked: asked.clone() };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = ServerConnection::new(config.clone()).expect("a connection");
                let mut stream = StreamOwned::new(connection, stream);
                let mut head = [0; 4096];
                if stream.read(&mut head).is_ok() {
                    asked.fetch_add(1, SeqCst);
                    let text = text.lock().expect("no panic").clone();
                    let _ = write!(
                        stream,
                        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: \
                         close\r\n\r\n{text}",
                        text.len()
                    );
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                }
            }
        });
        keys
    }
}

#[test]
fn keys_behind_a_url_are_read_again_when_a_token_names_a_new_one() {
    let (authority, first, second) = (Authority::new(), Key::ec(), Key::rsa());
    let keys = Keys::serve(&authority, set(&[("one", &first)]));
    let launch = Launch::new(&[]);
    let ca = launch.path("ca.pem");
    fs::write(&ca, &authority.pem).expect("writable");
    let settings =
        format!("keys = \"{}\"\nca = {:?}\nidentity = \"sub\"", keys.url, ca.to_str().expect("a path"));
    let trusting = Trusting::start("", &settings);
    assert_eq!(trusting.identity(&first.token("one", "ann")).as_deref(), Some("ann"));
    trusting.server.process.stderr.line("The keys of the issuer \"https://issuer.example\" were read.");
    assert_eq!(keys.asked.load(SeqCst), 1);
    // The issuer changes its key; but not more often than once in 30 seconds is it asked because of a name.
    *keys.text.lock().expect("no panic") = set(&[("one", &first), ("two", &second)]);
    assert_eq!(trusting.identity(&second.token("two", "bob")), None);
    assert_eq!(keys.asked.load(SeqCst), 1);
    assert_eq!(trusting.identity(&first.token("one", "ann")).as_deref(), Some("ann"));
}

#[test]
fn an_issuer_out_of_reach_does_not_keep_the_server_from_its_work() {
    let port = crate::support::free_port();
    let settings = format!("keys = \"https://127.0.0.1:{port}/jwks\"");
    let trusting = Trusting::start("", &settings);
    let line = trusting
        .server
        .process
        .stderr
        .line("The keys of the issuer \"https://issuer.example\" stay as they were.");
    assert!(line.contains(&format!("https://127.0.0.1:{port}/jwks")), "{line}");
    assert_eq!(trusting.identity(&Key::ec().token("one", "ann")), None);
    assert_eq!(trusting.server.get("/readyz").status, 200);
}

#[test]
fn a_file_of_keys_is_taken_up_when_it_changes() {
    let (first, second) = (Key::ec(), Key::ec());
    let trusting = Trusting::start(&set(&[("one", &first)]), "keys = \"jwks.json\"");
    let (old, new) = (first.token("one", "ann"), second.token("two", "ann"));
    assert!(trusting.identity(&old).is_some() && trusting.identity(&old).is_some());
    let file = trusting.directory.join("jwks.json");
    // A wrong one changes nothing.
    fs::write(&file, "{}").expect("writable");
    trusting.server.process.stderr.line("stay as they were.");
    assert!(trusting.identity(&old).is_some());
    fs::write(&file, set(&[("two", &second)])).expect("writable");
    crate::support::until("the new key counts", || trusting.identity(&new).is_some());
    // What was found right before is so no longer.
    assert_eq!(trusting.identity(&old), None);
    // Rights, too, are those of now.
    trusting.acquire(&second.token("two", "repo:example/app:x"), "deploy").shape(201);
    let tokens = trusting.directory.join("tokens.toml");
    fs::write(&tokens, IDENTITIES.replace("acquire:deploy", "read:deploy")).expect("writable");
    trusting.server.process.stderr.line("The tokens were read again");
    trusting.acquire(&second.token("two", "repo:example/app:x"), "deploy").problem(403, "forbidden");
}

#[test]
fn a_stream_ends_when_the_key_of_its_token_is_taken_back() {
    let (first, second) = (Key::ec(), Key::ec());
    let settings = "keys = \"jwks.json\"\n[limits]\nevent_keep_alive = \"50ms\"";
    let trusting = Trusting::start(&set(&[("one", &first)]), settings);
    let open = |key: &Key, id: &str| {
        let token = key.token(id, "ann");
        trusting.server.stream("/v1/events", &format!("authorization: Bearer {token}\r\n"))
    };
    let mut events = open(&first, "one");
    fs::write(trusting.directory.join("jwks.json"), set(&[("two", &second)])).expect("writable");
    assert_eq!(events.rest().len(), 0, "what happens after that is not for her");
    // Whoever has a token by the new key goes on.
    assert!(open(&second, "two").block().starts_with("retry: "));
}

#[test]
fn a_wrong_setting_stops_the_start() {
    let start = |settings: &str, keys: &str| {
        let launch = Launch::new(&["--port", "0"]).file(format!(
            "semaphores.A = 1\n[security]\ntokens = \"tokens.toml\"\n[security.jwt]\n{settings}"
        ));
        fs::write(launch.path("tokens.toml"), "").expect("writable");
        fs::write(launch.path("jwks.json"), keys).expect("writable");
        launch.fails()
    };
    let settings = "issuer = \"i\"\naudience = \"a\"\nkeys = ";
    let cases = [
        (
            start("issuer = \"i\"\naudience = \"a\"", ""),
            "throttle.toml:4: security.jwt.keys: missing; allowed: ",
        ),
        (start("", ""), "throttle.toml:4: security.jwt.issuer: missing; allowed: "),
        (
            start(&format!("{settings}\"http://issuer\""), ""),
            "throttle.toml:7: security.jwt.keys: found string \"http://issuer\"; allowed: the path of a file",
        ),
        (start(&format!("{settings}\"none.json\""), ""), "none.json: cannot be read: "),
        (start(&format!("{settings}\"jwks.json\""), "{}"), "jwks.json: is no set of JSON Web Keys"),
        (
            start(&format!("{settings}\"jwks.json\""), "{\"keys\": []}"),
            "jwks.json: has no key for signatures",
        ),
    ];
    for (error, expected) in cases {
        assert!(error.starts_with(expected), "{error}");
    }
    let alone = Launch::new(&["--port", "0"])
        .file(format!("semaphores.A = 1\n[security.jwt]\n{settings}\"jwks.json\"\n"))
        .fails();
    assert!(
        alone.starts_with("[security.jwt] says who clients are, but nothing says what they may do"),
        "{alone}"
    );
}
