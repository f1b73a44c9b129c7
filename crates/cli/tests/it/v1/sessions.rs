//! `POST /v1/locks`: a peer and its locks in one request.

use serde_json::json;

use crate::support::{Server, id};

const FILE: &str = "[semaphores]\nA = 1\nB = 2";

#[test]
fn granted_pending_and_refused() {
    let server = Server::start(FILE);
    let body = json!({"locks": {"A": 1, "B": 1}, "expires_in": "5m", "labels": {"job": "x"}});
    let answer = server.post("/v1/locks", &body.to_string());
    let holder = answer.shape(201);
    assert_eq!(answer.header("location"), Some(&*format!("peers/{}", id(&holder))));
    assert_eq!(holder["labels"], json!({"job": "x"}));
    assert_eq!(holder["locks"].as_array().expect("a list").len(), 2);
    assert!(holder["locks"][0]["token"].is_string());
    let waiter = server.post("/v1/locks", &body.to_string()).shape(202);
    assert_eq!(waiter["pending"]["blocked_by"][0]["peer"], holder["id"]);
    for (locks, status, code) in [
        (json!({"nope": 1}), 404, "unknown_semaphore"),
        (json!({"B": 3}), 409, "count_exceeds_max"),
        (json!({"B": 0}), 400, "invalid_request"),
        (json!({}), 400, "invalid_request"),
    ] {
        let body = json!({"locks": locks, "expires_in": "5m"});
        server.post("/v1/locks", &body.to_string()).problem(status, code);
    }
    server.until_metric("throttle_peers", 2.0);
}

#[test]
fn a_wait_that_stays() {
    let server = Server::start(FILE);
    let holder = server.v1_holder(&json!({"A": 1}));
    let body = json!({"locks": {"A": 1}, "expires_in": "5m", "wait": "100ms", "on_timeout": "stay"});
    let waiter = id(&server.post("/v1/locks", &body.to_string()).shape(202));
    let mut blocked =
        server.blocked("POST", "/v1/locks", &json!({"locks": {"A": 1}, "expires_in": "5m", "wait": "10m"}));
    server.delete(&format!("/v1/peers/{holder}")).is_empty();
    server.v1_locks(&waiter, &json!({"A": 1})).shape(200);
    server.delete(&format!("/v1/peers/{waiter}")).is_empty();
    assert_eq!(blocked.answer().shape(201)["locks"][0]["semaphore"], "A");
}

#[test]
fn a_wait_that_leaves() {
    let server = Server::start(FILE);
    let holder = server.v1_holder(&json!({"A": 1}));
    for wait in ["100ms", "0s"] {
        let body = json!({"locks": {"A": 1}, "expires_in": "5m", "wait": wait, "on_timeout": "leave"});
        server.post("/v1/locks", &body.to_string()).problem(409, "not_acquired");
        assert_eq!(server.metric("throttle_peers").to_string(), "1");
    }
    let body = json!({"locks": {"A": 1}, "expires_in": "5m", "wait": "10m", "on_timeout": "leave"});
    let mut blocked = server.blocked("POST", "/v1/locks", &body);
    server.delete(&format!("/v1/peers/{holder}")).is_empty();
    let granted = blocked.answer().shape(201);
    assert_eq!(server.get(&format!("/v1/peers/{}", id(&granted))).shape(200), granted, "a grant stays");
}

#[test]
fn a_hang_up_leaves() {
    let server = Server::start(FILE);
    let holder = server.v1_holder(&json!({"A": 1}));
    let body = json!({"locks": {"A": 1}, "expires_in": "5m", "wait": "10m", "on_timeout": "leave"});
    drop(server.blocked("POST", "/v1/locks", &body));
    server.until_metric("throttle_peers", 1.0);
    server.until_waiting("A", 0);
    server.delete(&format!("/v1/peers/{holder}")).is_empty();
    assert_eq!(server.remainder("A"), 1);
}

#[test]
fn a_request_refused_at_the_bound_of_waits_leaves_nothing() {
    let server = Server::start(&format!("{FILE}\n[limits]\nblocked_requests = 1"));
    server.v1_holder(&json!({"A": 1}));
    let body = json!({"locks": {"A": 1}, "expires_in": "5m", "wait": "10m"});
    let mut first = server.blocked("POST", "/v1/locks", &body);
    server.post("/v1/locks", &body.to_string()).problem(429, "limit_reached");
    server.until_metric("throttle_peers", 2.0);
    server.until_waiting("A", 1);
    assert!(first.is_silent());
}

#[test]
fn the_lease_ends_the_wait() {
    let server = Server::start(FILE);
    server.v1_holder(&json!({"A": 1}));
    let mut body = json!({"locks": {"A": 1}, "expires_in": "1s", "wait": "10m"});
    server.post("/v1/locks", &body.to_string()).shape(202);
    body["on_timeout"] = json!("leave");
    server.post("/v1/locks", &body.to_string()).problem(409, "not_acquired");
    body["expires_in"] = json!("0s");
    server.post("/v1/locks", &body.to_string()).problem(409, "not_acquired");
    body["on_timeout"] = json!("stay");
    server.post("/v1/locks", &body.to_string()).shape(202);
    server.until_metric("throttle_peers", 1.0);
}
