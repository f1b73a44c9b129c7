//! Quotas: what one identity or one address may use, so that others have the rest.

use std::fs;

use serde_json::{Value, json};

use super::Secured;
use crate::support::{Answer, Launch, Server, id, request, until};

const FILE: &str = "[semaphores]\nA = 1\n\"n/*\" = 1\n[security]\ntokens = \"tokens.toml\"\n";

/// A server on which Ann has these quotas, and Bob has none.
fn secured(quota: &str) -> Secured {
    let launch = Launch::new(&["--port", "0"]).file(FILE).env("THROTTLE_LOG", "debug");
    let directory = launch.path("");
    let tokens = ["ann", "bob"].map(|name| (name, super::make(&directory, name, &[])));
    let file = directory.join("tokens.toml");
    let rights = "allow = [\"acquire\", \"read\"]\n";
    let more = format!(
        "\n[[identity]]\nname = \"ann\"\n{rights}quota = {{ {quota} }}\n[[identity]]\nname = \"bob\"\n{rights}"
    );
    fs::write(&file, fs::read_to_string(&file).expect("readable") + &more).expect("writable");
    Secured { server: Server::launch(launch), directory, tokens: tokens.into() }
}

/// The refusals of a quota that the metrics tell of.
fn refusals(secured: &Secured, quota: &str) -> u64 {
    let name = format!("throttle_quota_refusals_total{{quota=\"{quota}\"}} ");
    let metrics = secured.get("bob", "/metrics");
    let line = metrics.text().lines().find_map(|line| line.strip_prefix(&name)).expect("a figure");
    line.parse().expect("a number")
}

fn is_limit_of(answer: &Answer, sentence: &str) {
    let detail = answer.problem(429, "limit_reached");
    assert!(detail.contains(sentence), "{detail}");
    assert!(answer.header("retry-after").is_some_and(|seconds| seconds != "0"));
}

#[test]
fn nobody_has_more_peers_than_his_quota() {
    let secured = secured("peers = 2");
    let new = json!({"expires_in": "10m"});
    let first = id(&secured.ask("ann", "POST", "/v1/peers", &new).shape(201));
    secured.ask("ann", "POST", "/v1/locks", &json!({"expires_in": "10m", "locks": {"A": 1}})).shape(201);
    let sentence = "the limit of 2 live peers of one identity is reached";
    is_limit_of(&secured.ask("ann", "POST", "/v1/peers", &new), sentence);
    // The older dialects, in which 429 would be fatal; and a peer that is brought back is one more, too.
    for (path, body) in [
        ("/new_peer", new.clone()),
        ("/acquire", json!({"pending": {"A": 1}, "expires_in": "5m"})),
        ("/restore", json!({"expires_in": "5m", "peer_id": 7, "acquired": {}})),
    ] {
        let answer = secured.ask("ann", "POST", path, &body);
        answer.is_limit();
        assert!(answer.text().contains(sentence), "{path}");
    }
    assert_eq!(refusals(&secured, "peers"), 4);
    secured.ask("bob", "POST", "/v1/peers", &new).shape(201);
    // What has ended makes room.
    secured.ask("ann", "DELETE", &format!("/v1/peers/{first}"), &Value::Null).is_empty();
    secured.ask("ann", "POST", "/v1/peers", &new).shape(201);
    is_limit_of(&secured.ask("ann", "POST", "/v1/peers", &new), sentence);
}

#[test]
fn nobody_waits_more_often_than_his_quota() {
    let secured = secured("pending = 2, blocked = 1, semaphores = 1");
    let holder = secured.holder("bob", &json!({"A": 1}));
    let ask = |name: &str, wait: &str| {
        let body = json!({"expires_in": "10m", "locks": {"A": 1}, "wait": wait});
        let mut client = secured.server.connect();
        let head = secured.bearer(name);
        client.send(
            request("POST", "/v1/locks", &body.to_string()).replace("\r\n\r\n", &format!("\r\n{head}\r\n")),
        );
        client
    };
    let mut waiting = ask("ann", "1m");
    until("ann waits", || secured.get("bob", "/v1/semaphores/A").shape(200)["waiting"] == 1);
    is_limit_of(
        &ask("ann", "1m").answer(),
        "the limit of 1 requests of one identity that wait at the same time",
    );
    assert_eq!(refusals(&secured, "blocked"), 1);
    // Another stands in the queue and waits without a connection; a third may not.
    ask("ann", "0s").answer().shape(202);
    is_limit_of(&ask("ann", "0s").answer(), "the limit of 2 waiting requests of one identity is reached");
    assert_eq!(refusals(&secured, "pending"), 1);
    ask("bob", "0s").answer().shape(202);
    // Nor may she make semaphores without end.
    secured.holder("ann", &json!({"n/1": 1}));
    let more = json!({"expires_in": "1m", "locks": {"n/2": 1}});
    let sentence = "the limit of 1 semaphores that one identity has made by patterns is reached";
    is_limit_of(&secured.ask("ann", "POST", "/v1/locks", &more), sentence);
    assert_eq!(refusals(&secured, "semaphores"), 1);
    secured.holder("bob", &json!({"n/2": 1}));
    secured.ask("bob", "DELETE", &format!("/v1/peers/{holder}"), &Value::Null).is_empty();
    waiting.answer().shape(201);
}

#[test]
fn nobody_asks_more_often_than_his_rate() {
    let secured = secured("rate = \"5/h\"");
    for _ in 0..5 {
        secured.get("ann", "/v1/semaphores").shape(200);
    }
    let refused = secured.get("ann", "/v1/semaphores");
    is_limit_of(&refused, "One identity may send 5 requests in 1h; these are more.");
    let wait: u64 = refused.header("retry-after").and_then(|wait| wait.parse().ok()).expect("seconds");
    assert!((600..=720).contains(&wait), "{wait}");
    let old = secured.get("ann", "/remainder?semaphore=A");
    old.says(503, "One identity may send 5 requests in 1h");
    assert!(old.header("retry-after").is_some());
    // Whoever has no rate notices nothing, and what needs no token is not counted.
    assert_eq!(refusals(&secured, "rate"), 2);
    assert_eq!(secured.get("ann", "/livez").status, 200);
    // Tokens that are read again change that at once.
    let file = secured.directory.join("tokens.toml");
    let text = fs::read_to_string(&file).expect("readable").replace("5/h", "1000/s");
    fs::write(&file, text).expect("writable");
    until("the new rate counts", || secured.get("ann", "/v1/semaphores").status == 200);
}

#[test]
fn the_configuration_has_the_quotas_of_those_of_whom_the_file_says_nothing() {
    let file = FILE.to_owned() + "[security.quota]\npeers = 1\n[limits]\nsemaphores = 3\n";
    let secured = Secured::with(&file, &[("ann", &["acquire"]), ("bob", &["acquire"])]);
    let new = json!({"expires_in": "10m"});
    for name in ["ann", "bob"] {
        secured.ask(name, "POST", "/v1/peers", &new).shape(201);
        is_limit_of(
            &secured.ask(name, "POST", "/v1/peers", &new),
            "the limit of 1 live peers of one identity",
        );
    }
    // Without a word of it, nobody has more than half of what there is for all.
    let file = FILE.to_owned() + "[limits]\npeers = 3\n";
    let secured = Secured::with(&file, &[("ann", &["acquire"]), ("bob", &["acquire"])]);
    for name in ["ann", "ann", "bob"] {
        secured.ask(name, "POST", "/v1/peers", &new).shape(201);
    }
    is_limit_of(&secured.ask("ann", "POST", "/v1/peers", &new), "the limit of 3 live peers is reached");
}

#[test]
fn an_address_has_its_rate_and_its_connections() {
    let server = Server::start("[limits]\nrate_per_address = \"4/h\"\nconnections_per_address = 3\n");
    let mut client = server.connect();
    for _ in 0..4 {
        client.send(request("GET", "/v1/semaphores", "")).answer().shape(200);
    }
    client.send(request("GET", "/peers", ""));
    client.answer().says(503, "One address may send 4 requests in 1h; these are more.");
    let answer = client.send(request("GET", "/v1/semaphores", "")).answer();
    is_limit_of(&answer, "One address may send 4 requests in 1h");
    // Nor may it try one token after the other, or fetch what needs none.
    for (method, path) in [("POST", "/v1/session"), ("DELETE", "/v1/session"), ("GET", "/version")] {
        let status = client.send(request(method, path, r#"{"token":"guessed"}"#)).answer().status;
        assert_eq!(status, if path == "/version" { 503 } else { 429 }, "{method} {path}");
    }
    // Probes are answered all the same.
    for path in ["/livez", "/readyz", "/health"] {
        assert_eq!(client.send(request("GET", path, "")).answer().status, 200, "{path}");
    }
    let mut others = [server.connect(), server.connect()];
    for other in &mut others {
        assert_eq!(other.send(request("GET", "/livez", "")).answer().status, 200);
    }
    let mut refused = server.connect();
    refused.send(request("GET", "/peers", ""));
    refused.answer().says(503, "Too many connections of one address are open.");
    let mut refused = server.connect();
    refused.send(request("POST", "/v1/session", r#"{"token":"guessed"}"#));
    refused.answer().says(503, "Too many connections of one address are open.");
    assert_eq!(server.get("/livez").status, 200);
    drop(others);
    server_has_room(&server);
}

/// The connections that are gone count no more.
fn server_has_room(server: &Server) {
    until("there is room", || {
        let mut client = server.connect();
        client.send(request("GET", "/v1/semaphores", ""));
        // It is above the rate, but it is heard.
        client.answer().status == 429
    });
}
