//! What a restart keeps.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::home::Home;
use crate::support::{Server, id, until};

const FILE: &str = "[semaphores]\nA = 3\nB = { max = 1, level = 1 }\n\"tenant/*\" = 2";

/// A semaphore as it is declared, and its counts.
fn semaphore(server: &Server, name: &str) -> Value {
    let mut seen = server.get(&format!("/v1/semaphores/{}", name.replace('/', "%2F"))).shape(200);
    let fields = seen.as_object_mut().expect("a semaphore");
    fields.retain(|name, _| !matches!(name.as_str(), "longest_wait" | "holders" | "queue"));
    seen
}

/// The words of a semaphore's declaration.
fn declared(server: &Server, name: &str) -> (i64, i64, String) {
    let seen = semaphore(server, name);
    let number = |field: &str| seen[field].as_i64().expect("a number");
    (number("max"), number("level"), seen["origin"].as_str().expect("text").to_owned())
}

fn names(server: &Server) -> Vec<String> {
    let page = server.get("/v1/semaphores?limit=1000").shape(200);
    let items = page["items"].as_array().expect("a list");
    items.iter().map(|item| item["name"].as_str().expect("text").to_owned()).collect()
}

#[test]
fn everything_is_as_it_was() {
    let home = Home::new();
    let server = home.start(FILE);
    let body = json!({ "locks": { "A": 2, "B": 1 }, "expires_in": "1h", "labels": { "host": "w1", "ü": "%/ \u{1f980}" } });
    let both = id(&server.post("/v1/locks", &body.to_string()).shape(201));
    let shrunk = server.v1_holder(&json!({ "tenant/a": 2 }));
    server.v1_locks(&shrunk, &json!({ "tenant/a": 1 })).shape(200);
    let waiter = server.peer("1h");
    server.lock(waiter, "B", 1).is(202, &waiter.to_string());
    let idle = server.peer("2h");
    let gone = server.holder("A", 1, "1h");
    server.delete(&format!("/peers/{gone}"));
    server.put("/v1/semaphores/made", r#"{"max":5,"level":-2,"per":"1h","deadlock":"detect"}"#).shape(201);
    let cooling = server.v1_holder(&json!({ "made": 2 }));
    server.delete(&format!("/v1/peers/{cooling}/locks/made")).is_empty();
    let all = ["A", "B", "tenant/a", "made"];
    let seen = |server: &Server| {
        let semaphores: Vec<_> = all.map(|name| semaphore(server, name)).into();
        (server.peers(), semaphores, names(server))
    };
    let (before, instance) =
        (seen(&server), server.get("/livez").header("throttle-instance").map(str::to_owned));
    assert_eq!(before.0.len(), 5);
    assert_eq!(before.1[3]["cooling"], 2);

    server.kill();
    let server = home.start(FILE);
    assert_eq!(seen(&server), before);
    server.stop();
    let server = home.start(FILE);
    assert_eq!(seen(&server), before);
    assert_eq!(server.get("/livez").header("throttle-instance").map(str::to_owned), instance);

    // And it goes on: the waiter is next, tokens grow, what is gone is gone.
    server.heartbeat(gone, "1h").is(400, "Unknown peer");
    let tokens: Vec<u64> = before.0[&both]["locks"].as_array().expect("locks").iter().map(token).collect();
    server.delete(&format!("/v1/peers/{both}")).is_empty();
    let next = server.put(&format!("/peers/{waiter}/B"), "1");
    assert_eq!(next.status, 200);
    assert!(tokens.iter().all(|&token| token < next.token()));
    server.heartbeat(idle, "1h").is(200, "Ok");
    server.v1_locks(&cooling, &json!({ "made": 5 })).shape(202);
    server.stop();
}

fn token(lock: &Value) -> u64 {
    lock["token"].as_str().expect("a token").parse().expect("a number")
}

#[test]
fn a_snapshot_keeps_it_too() {
    let file = format!("[durability]\nsnapshot_bytes = 65536\n{FILE}");
    let home = Home::new();
    let server = home.start(&file);
    let holder = server.v1_holder(&json!({ "A": 2 }));
    let waiters: Vec<_> = (0..20)
        .map(|number| {
            let labels = json!({ "number": number.to_string(), "filler": "x".repeat(250) });
            let body =
                json!({ "locks": { "A": 2 }, "expires_in": "1h", "labels": labels, "priority": number % 3 });
            id(&server.post("/v1/locks", &body.to_string()).shape(202))
        })
        .collect();
    server.put("/v1/semaphores/made", r#"{"max":5}"#).shape(201);
    let mut made = 0;
    while server.metric("throttle_journal_snapshot_seconds_count") < 3.0 {
        let peer = server.v1_peer("1h");
        server.v1_locks(&peer, &json!({ "made": 1, "tenant/x": 1 }));
        server.delete(&format!("/v1/peers/{peer}")).is_empty();
        made += 1;
    }
    assert!(made > 100, "a snapshot makes the journal short");
    let before = (server.peers(), names(&server));
    server.kill();
    let server = home.start(&file);
    assert_eq!((server.peers(), names(&server)), before);
    let order = |server: &Server| {
        let seen = server.get("/v1/semaphores/A").shape(200);
        let queue = seen["queue"].as_array().expect("a queue").clone();
        queue.iter().map(|waiter| waiter["peer"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    let mut expected = waiters.clone();
    expected.sort_by_key(|waiter| {
        let number = waiters.iter().position(|other| other == waiter).expect("there");
        (2 - number % 3, number)
    });
    assert_eq!(order(&server), expected);
    server.delete(&format!("/v1/peers/{holder}")).is_empty();
    assert_eq!(order(&server), expected[1..]);
}

#[test]
fn a_lease_begins_anew_in_full_and_a_longer_one_is_kept() {
    let home = Home::new();
    let server = home.start(FILE);
    let long = server.v1_peer("1h");
    let raised = server.v1_peer("10m");
    server.post(&format!("/v1/peers/{raised}/heartbeat"), r#"{"expires_in":"2h"}"#).shape(200);
    let many = server.v1_peer("10m");
    let body = json!({ "expires_in": "3h", "peers": [many] }).to_string();
    server.post("/v1/heartbeats", &body).shape(200);
    let old = server.peer("10m");
    server.heartbeat(old, "4h").is(200, "Ok");
    let lowered = server.peer("5h");
    server.heartbeat(lowered, "10m").is(200, "Ok");
    server.kill();

    let started = SystemTime::now();
    let server = home.start(FILE);
    for (peer, hours) in [(long, 1), (raised, 2), (many, 3), (old.to_string(), 4)] {
        let ends = expires_at(&server, &peer).duration_since(started).expect("later");
        let full = Duration::from_hours(hours);
        assert!((full..full + Duration::from_mins(1)).contains(&ends), "{hours} h: {ends:?}");
    }
    let ends = expires_at(&server, &lowered.to_string()).duration_since(started).expect("later");
    assert!(ends < Duration::from_mins(11), "{ends:?}");
}

fn expires_at(server: &Server, peer: &str) -> SystemTime {
    let seen = server.get(&format!("/v1/peers/{peer}")).shape(200);
    humantime::parse_rfc3339(seen["expires_at"].as_str().expect("a time")).expect("a time")
}

#[test]
fn who_does_not_come_back_is_freed() {
    let home = Home::new();
    let server = home.start(FILE);
    server.holder("B", 1, "1s");
    let waiter = server.peer("1h");
    server.lock(waiter, "B", 1).is(202, &waiter.to_string());
    server.kill();
    let started = std::time::Instant::now();
    let server = home.start(FILE);
    // Asking again finds the place in the queue.
    server.put(&format!("/peers/{waiter}/B?block_for=30s"), "1").is(200, &waiter.to_string());
    assert!(started.elapsed() >= Duration::from_millis(1050), "after its full time and margin, not before");
}

#[test]
fn what_was_declared_and_what_was_changed_since() {
    let home = Home::new();
    let server = home.start("[semaphores]\nkept = 1\nchanged = 1\nboth = 1\ngone = 1\nused = 1\n\"p/*\" = 1");
    server.put("/v1/semaphores/made", r#"{"max":7}"#).shape(201);
    server.ask("PATCH", "/v1/semaphores/changed", r#"{"max":5}"#).shape(200);
    server.ask("PATCH", "/v1/semaphores/both", r#"{"max":5}"#).shape(200);
    server.put("/v1/semaphores/removed", r#"{"max":7}"#).shape(201);
    server.delete("/v1/semaphores/removed").is_empty();
    let user = server.v1_holder(&json!({ "used": 1 }));
    let member = server.v1_holder(&json!({ "p/1": 1 }));
    server.kill();

    // The same file changes nothing.
    let file = "[semaphores]\nkept = 1\nchanged = 1\nboth = 1\ngone = 1\nused = 1\n\"p/*\" = 1";
    let server = home.start(file);
    assert_eq!(declared(&server, "changed"), (5, 0, "runtime".to_owned()));
    assert_eq!(declared(&server, "kept"), (1, 0, "file".to_owned()));
    assert_eq!(declared(&server, "made"), (7, 0, "runtime".to_owned()));
    assert_eq!(names(&server), ["both", "changed", "gone", "kept", "made", "p/1", "used"]);
    server.kill();

    // The later word wins, where the file has a new one.
    let server = home.start("[semaphores]\nkept = 1\nchanged = 1\nboth = 9\nnew = 4\n\"p/*\" = 3");
    assert_eq!(declared(&server, "changed"), (5, 0, "runtime".to_owned()));
    assert_eq!(declared(&server, "both"), (9, 0, "file".to_owned()));
    assert_eq!(declared(&server, "new"), (4, 0, "file".to_owned()));
    assert_eq!(declared(&server, "p/1"), (3, 0, "pattern".to_owned()));
    assert_eq!(names(&server), ["both", "changed", "kept", "made", "new", "p/1", "used"]);
    // What is not declared any more goes once it is not used.
    server.delete(&format!("/v1/peers/{user}")).is_empty();
    server.kill();
    let server = home.start("[semaphores]\nkept = 1\nchanged = 1\nboth = 9\nnew = 4");
    assert_eq!(names(&server), ["both", "changed", "kept", "made", "new", "p/1"]);
    server.delete(&format!("/v1/peers/{member}")).is_empty();
    assert_eq!(names(&server), ["both", "changed", "kept", "made", "new"]);
}

#[test]
fn the_repeat_of_a_request_is_answered_as_before() {
    // The second run begins with a snapshot.
    for snapshot_bytes in [100_000_000, 65_536] {
        let file = format!("[durability]\nsnapshot_bytes = {snapshot_bytes}\n{FILE}");
        let home = Home::new();
        let server = home.start(&file);
        let ask = |server: &Server, path: &str, key: &str, body: &str| {
            server.ask_with("POST", path, &format!("idempotency-key: {key}\r\n"), body)
        };
        let session = r#"{"locks":{"A":1},"expires_in":"1h"}"#;
        let long = r#"{"expires_in":"1h"}"#;
        let one = id(&ask(&server, "/v1/peers", "one", long).shape(201));
        let two = id(&ask(&server, "/v1/locks", "two", session).shape(201));
        let released = id(&ask(&server, "/v1/peers", "released", long).shape(201));
        server.delete(&format!("/v1/peers/{released}")).is_empty();
        let operator = id(&ask(&server, "/v1/locks", "operator", session).shape(201));
        server.delete(&format!("/v1/peers/{operator}?reason=stuck")).is_empty();
        ask(&server, "/v1/peers", "expired", r#"{"expires_in":"1ms"}"#).shape(201);
        until("it expired", || server.figure("throttle_expired_peers_total") == Some(1.0));
        // What was refused made no peer, so its repeat is a new request.
        ask(&server, "/v1/locks", "refused", r#"{"locks":{"?":1},"expires_in":"1h"}"#)
            .problem(404, "unknown_semaphore");
        let told = |server: &Server| {
            [
                ask(server, "/v1/peers", "released", long),
                ask(server, "/v1/locks", "operator", session),
                ask(server, "/v1/peers", "expired", r#"{"expires_in":"1ms"}"#),
            ]
            .map(|answer| {
                assert_eq!(answer.status, 410);
                (answer.json(), answer.problem(410, "peer_gone"))
            })
        };
        let before = told(&server);
        let causes =
            before.each_ref().map(|(problem, _)| (problem["cause"].clone(), problem["reason"].clone()));
        let reason = json!("stuck");
        assert_eq!(
            causes,
            [(json!("released"), Value::Null), (json!("operator"), reason), (json!("expired"), Value::Null)]
        );
        while snapshot_bytes == 65_536 && server.metric("throttle_journal_snapshot_seconds_count") < 1.0 {
            let peer = server.v1_peer("1h");
            server.delete(&format!("/v1/peers/{peer}")).is_empty();
        }
        server.kill();
        for _ in 0..2 {
            let server = home.start(&file);
            assert_eq!(told(&server), before);
            assert_eq!(id(&ask(&server, "/v1/peers", "one", long).shape(201)), one);
            assert_eq!(id(&ask(&server, "/v1/locks", "two", session).shape(201)), two);
            assert_eq!(server.remainder("A"), 2, "granted once");
            ask(&server, "/v1/peers", "one", r#"{"expires_in":"2h"}"#).problem(400, "invalid_request");
            server.put("/v1/semaphores/%3F", r#"{"max":1}"#);
            let refused = r#"{"locks":{"?":1},"expires_in":"1h"}"#;
            ask(&server, "/v1/locks", "refused", refused).shape(201);
            server.kill();
        }
    }
}

/// A waiter that had a connection must come back with one; of one that polled nothing is expected.
#[test]
fn connections_of_waiters_are_gone() {
    let file = "[semaphores]\nA = 1\n[queue]\nabsent_after = \"500ms\"";
    let home = Home::new();
    let server = home.start(file);
    let holder = server.holder("A", 1, "1h");
    let dead = server.v1_peer("1h");
    let body = json!({ "locks": { "A": 1 }, "wait": "1h" });
    let _client = server.blocked("PUT", &format!("/v1/peers/{dead}/locks"), &body);
    let polling = server.peer("1h");
    server.lock(polling, "A", 1).is(202, &polling.to_string());
    server.kill();
    let server = home.start(file);
    let queue = || server.get("/v1/semaphores/A").shape(200)["queue"].clone();
    until("the dead one is absent", || queue()[0]["absent"] == true);
    assert_eq!((&queue()[0]["peer"], &queue()[1]["absent"]), (&json!(dead), &Value::Null));
    server.release(holder, "A");
    server.get(&format!("/peers/{polling}/is_acquired")).is(200, "true");
}
