//! `Idempotency-Key`: a repeat finds what the first request made.

use serde_json::json;

use crate::support::{Answer, Client, Server, id};

const FILE: &str = "[semaphores]\nA = 1\nB = 2\n[limits]\nidempotency_keys = 2";
const PEER: &str = r#"{"expires_in":"5m"}"#;

fn ask(server: &Server, path: &str, key: &str, body: &str) -> Answer {
    server.ask_with("POST", path, &format!("idempotency-key: {key}\r\n"), body)
}

fn blocked(server: &Server, key: &str, body: &str) -> Client {
    let before = server.metric("throttle_blocked_requests");
    let mut client = server.connect();
    client.send(format!(
        "POST /v1/locks HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nidempotency-key: {key}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    ));
    server.until_metric("throttle_blocked_requests", before + 1.0);
    client
}

#[test]
fn a_repeat_finds_the_peer() {
    let server = Server::start(FILE);
    let first = id(&ask(&server, "/v1/peers", "k1", PEER).shape(201));
    server.v1_locks(&first, &json!({"B": 1})).shape(200);
    let again = ask(&server, "/v1/peers", "k1", PEER).shape(201);
    assert_eq!((id(&again), &again["locks"][0]["semaphore"]), (first.clone(), &json!("B")), "as it is now");
    assert_ne!(id(&ask(&server, "/v1/peers", "k2", PEER).shape(201)), first);
    server.until_metric("throttle_peers", 2.0);
    // Another request must not find it.
    for (path, body) in
        [("/v1/peers", r#"{"expires_in":"6m"}"#), ("/v1/locks", r#"{"expires_in":"5m","locks":{"A":1}}"#)]
    {
        let detail = ask(&server, path, "k1", body).problem(400, "invalid_request");
        assert!(detail.contains("used for another request"), "{detail}");
    }
    server.delete(&format!("/v1/peers/{first}?reason=enough")).is_empty();
    assert!(ask(&server, "/v1/peers", "k1", PEER).problem(410, "peer_gone").contains("enough"));
    // The oldest key goes first.
    ask(&server, "/v1/peers", "k3", PEER).shape(201);
    assert_ne!(id(&ask(&server, "/v1/peers", "k1", PEER).shape(201)), first);
}

#[test]
fn wrong_keys() {
    let server = Server::start(FILE);
    for key in ["", "a b", "ü", &"x".repeat(256), "a\r\nidempotency-key: b"] {
        let detail = ask(&server, "/v1/peers", key, PEER).problem(400, "invalid_request");
        assert!(detail.contains("1 to 255 visible ASCII"), "{detail}");
    }
    server.until_metric("throttle_peers", 0.0);
    ask(&server, "/v1/peers", &"x".repeat(255), PEER).shape(201);
}

#[test]
fn a_repeat_waits_again_for_the_same_locks() {
    let server = Server::start(FILE);
    let holder = server.v1_holder(&json!({"A": 1}));
    let body = r#"{"expires_in":"5m","locks":{"A":1},"wait":"10m"}"#;
    drop(blocked(&server, "k", body));
    server.until_metric("throttle_blocked_requests", 0.0);
    let mut again = blocked(&server, "k", body);
    server.until_waiting("A", 1);
    server.delete(&format!("/v1/peers/{holder}")).is_empty();
    let granted = again.answer().shape(201);
    assert_eq!(
        ask(&server, "/v1/locks", "k", body).shape(201)["locks"],
        granted["locks"],
        "and is told of its grant"
    );
    server.delete(&format!("/v1/peers/{}", id(&granted))).is_empty();
    ask(&server, "/v1/locks", "k", body).problem(410, "peer_gone");
}

#[test]
fn a_repeat_of_one_that_left_is_a_new_attempt() {
    let server = Server::start(FILE);
    let holder = server.v1_holder(&json!({"A": 1}));
    let body = r#"{"expires_in":"5m","locks":{"A":1},"wait":"50ms","on_timeout":"leave"}"#;
    for _ in 0..2 {
        ask(&server, "/v1/locks", "k", body).problem(409, "not_acquired");
    }
    server.delete(&format!("/v1/peers/{holder}")).is_empty();
    ask(&server, "/v1/locks", "k", body).shape(201);
}

#[test]
fn a_refused_request_leaves_no_key() {
    let server = Server::start(FILE);
    for _ in 0..2 {
        ask(&server, "/v1/locks", "k", r#"{"expires_in":"5m","locks":{"B":3}}"#)
            .problem(409, "count_exceeds_max");
    }
    ask(&server, "/v1/locks", "k", r#"{"expires_in":"5m","locks":{"B":2}}"#).shape(201);
}

#[test]
fn the_first_connection_hangs_up_while_its_repeat_waits() {
    let server = Server::start(FILE);
    let holder = server.v1_holder(&json!({"A": 1}));
    let body = r#"{"expires_in":"5m","locks":{"A":1},"wait":"10m","on_timeout":"leave"}"#;
    let first = blocked(&server, "k", body);
    let mut again = blocked(&server, "k", body);
    drop(first);
    server.until_metric("throttle_blocked_requests", 1.0);
    server.delete(&format!("/v1/peers/{holder}")).is_empty();
    again.answer().shape(201);
}
