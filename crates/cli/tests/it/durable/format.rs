//! Directories that earlier releases wrote: every version of the format stays readable.
//!
//! Versions 1 and 2 are those of the tables; version 3 has the tables of version 2, and records of version 2. Version 4
//! has those records, and the last batch in `mark`, which is version 3 of the tables. With version 5, which is their
//! version 4, `mark` has the last batches; with version 6, their version 5, both copies of each are back to back.
//!
//! `cargo test -p throttle-server --test it write_a_directory -- --ignored` writes one of the version of today; it is
//! kept when a version is new, and never written again after that.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::home::Home;
use crate::support::{Server, id};

const FILE: &str =
    "[durability]\nsnapshot_bytes = 65536\n[semaphores]\nA = 3\nB = { max = 1, level = 1 }\n\"tenant/*\" = 2";

/// The version of today.
const VERSION: u32 = 6;

pub(super) fn golden(version: u32) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/durable/version_{version}"))
}

/// What is in a directory, as text that a person can check.
fn told(server: &Server) -> Value {
    let page = server.get("/v1/semaphores").shape(200);
    let names: Vec<_> =
        page["items"].as_array().expect("a list").iter().map(|item| item["name"].clone()).collect();
    let semaphores: Vec<_> = names
        .iter()
        .map(|name| {
            let path = name.as_str().expect("text").replace('/', "%2F");
            let mut seen = server.get(&format!("/v1/semaphores/{path}")).shape(200);
            seen.as_object_mut().expect("a semaphore").remove("longest_wait");
            for list in ["holders", "queue"] {
                for one in seen[list].as_array_mut().expect("a list") {
                    let one = one.as_object_mut().expect("a lock");
                    one.retain(|name, _| !matches!(name.as_str(), "expires_at" | "estimated_wait"));
                }
            }
            seen
        })
        .collect();
    let instance = server.get("/livez").header("throttle-instance").map(str::to_owned);
    json!({ "instance": instance, "peers": server.peers(), "semaphores": semaphores })
}

/// Whether all that an earlier release told is told now; there may be more.
fn has_all(told: &Value, expected: &Value) -> bool {
    match (told, expected) {
        (Value::Object(told), Value::Object(expected)) => {
            expected.iter().all(|(name, expected)| told.get(name).is_some_and(|told| has_all(told, expected)))
        }
        (Value::Array(told), Value::Array(expected)) => {
            told.len() == expected.len()
                && told.iter().zip(expected).all(|(told, expected)| has_all(told, expected))
        }
        _ => told == expected,
    }
}

#[test]
fn directories_of_every_version() {
    for version in 1..=VERSION {
        opens(&golden(version), version);
    }
}

fn opens(from: &Path, version: u32) {
    let home = Home::new();
    fs::create_dir_all(home.path()).expect("made");
    for name in ["journal.db", "journal.db-wal", "mark"] {
        fs::copy(from.join(name), home.file(name)).expect("copied");
    }
    let expected = fs::read_to_string(from.join("told.json")).expect("readable");
    let expected: Value = serde_json::from_str(&expected).expect("JSON");
    for _ in 0..2 {
        let server = home.start(FILE);
        let told = told(&server);
        assert!(has_all(&told, &expected), "{told:#}\n{expected:#}");
        server.stop();
    }
    let server = home.start(FILE);
    let holder = expected["semaphores"][1]["holders"][0].clone();
    let next = expected["semaphores"][1]["queue"][0]["peer"].as_str().expect("an id").to_owned();
    assert_eq!(expected["semaphores"][1]["name"], "B");
    server.delete(&format!("/v1/peers/{}", holder["peer"].as_str().expect("an id"))).is_empty();
    let granted = server.v1_locks(&next, &json!({ "B": 1 })).shape(200);
    let token = |lock: &Value| lock["token"].as_str().expect("a token").parse::<u64>().expect("a number");
    assert!(token(&granted["locks"][0]) > token(&holder));
    let key =
        server.ask_with("POST", "/v1/peers", "idempotency-key: golden\r\n", r#"{"expires_in":"30days"}"#);
    let known = expected["peers"].as_object().expect("peers");
    assert!(known.contains_key(&id(&key.shape(201))));
    if version >= 3 {
        let repeat =
            server.ask_with("POST", "/v1/peers", "idempotency-key: ended\r\n", r#"{"expires_in":"30days"}"#);
        assert_eq!(
            (repeat.json()["cause"].as_str(), repeat.json()["reason"].as_str()),
            (Some("operator"), Some("ended"))
        );
        repeat.problem(410, "peer_gone");
        let paused = server.get("/v1/semaphores/paused").shape(200);
        assert_eq!((&paused["max"], &paused["max_before_pause"]), (&json!(0), &json!(7)));
    }
}

#[test]
#[ignore = "writes files"]
fn write_a_directory() {
    let home = Home::new();
    let server = home.start(FILE);
    let ask = |body: &Value| server.post("/v1/locks", &body.to_string());
    ask(&json!({ "locks": { "A": 2, "B": 1 }, "expires_in": "30days", "labels": { "host": "w1", "ü": "%/" } })).shape(201);
    for priority in 0..2 {
        ask(&json!({ "locks": { "B": 1 }, "expires_in": "30days", "priority": priority })).shape(202);
    }
    server
        .ask_with("POST", "/v1/peers", "idempotency-key: golden\r\n", r#"{"expires_in":"30days"}"#)
        .shape(201);
    server.put("/v1/semaphores/made", r#"{"max":5,"level":-2,"per":"1h","deadlock":"detect"}"#).shape(201);
    server.put("/v1/semaphores/paused", r#"{"max":7}"#).shape(201);
    server.ask("PATCH", "/v1/semaphores/paused", r#"{"max":0}"#).shape(200);
    let ended =
        server.ask_with("POST", "/v1/peers", "idempotency-key: ended\r\n", r#"{"expires_in":"30days"}"#);
    server.delete(&format!("/v1/peers/{}?reason=ended", id(&ended.shape(201)))).is_empty();
    let restored = json!({ "expires_in": "30days", "peer_id": 7, "acquired": { "tenant/b": 1 } }).to_string();
    server.post("/restore", &restored).is(200, "Ok");
    // A snapshot has all this in it, and batches follow it.
    while server.metric("throttle_journal_snapshot_seconds_count") < 1.0 {
        let peer = server.v1_peer("30days");
        server.v1_locks(&peer, &json!({ "A": 1 }));
        server.delete(&format!("/v1/peers/{peer}")).is_empty();
    }
    let one = server.v1_holder(&json!({ "tenant/a": 2 }));
    server.v1_locks(&one, &json!({ "tenant/a": 1 })).shape(200);
    server.post(&format!("/v1/peers/{one}/heartbeat"), r#"{"expires_in":"31days"}"#).shape(200);
    let expired = server.peer("1ms");
    server.heartbeat(expired, "1h");
    let operator = server.v1_holder(&json!({ "A": 1 }));
    server.delete(&format!("/v1/peers/{operator}?reason=golden")).is_empty();
    server.put("/v1/semaphores/gone", r#"{"max":5}"#).shape(201);
    server.delete("/v1/semaphores/gone").is_empty();
    let told = told(&server);
    server.kill();
    // Most of the log goes into the database, so that it is small; a last batch is in the log alone.
    let server = home.start(FILE);
    server.stop();
    let server = home.start(FILE);
    server.heartbeat(7, "32days").is(200, "Ok");
    server.kill();
    let to = golden(VERSION);
    fs::create_dir_all(&to).expect("made");
    for (name, bytes) in home.bytes() {
        fs::write(to.join(name), bytes).expect("written");
    }
    fs::write(to.join("told.json"), serde_json::to_string_pretty(&told).expect("JSON") + "\n")
        .expect("written");
}
