//! The dialect of the clients 0.1.0 to 0.1.9.

use crate::support::{Client, Server};

const FILE: &str = "
[semaphores]
A = 1
B = { max = 5, level = 1 }
";

fn acquire(server: &Server, pending: &str) -> crate::support::Answer {
    server.post("/acquire", &format!(r#"{{"pending":{pending},"expires_in":"5min"}}"#))
}

fn block(server: &Server, peer: u64, timeout: &str, pending: &str) -> Client {
    let body = format!(r#"{{"expires_in":"5min","active":{{}},"pending":{pending}}}"#);
    server.send("POST", &format!("/peers/{peer}/block_until_acquired{timeout}"), &body)
}

#[test]
fn a_peer_comes_with_its_locks() {
    let server = Server::start(FILE);
    let answer = acquire(&server, r#"{"A":1,"B":2}"#);
    assert_eq!(answer.status, 201);
    let peer: u64 = answer.number();
    assert_eq!((server.remainder("A"), server.remainder("B")), (0, 3));
    server.get(&format!("/peers/{peer}/is_acquired")).is(200, "true");
    server.delete(&format!("/peers/{peer}")).is(200, "\"Peer released\"");
    assert_eq!((server.remainder("A"), server.remainder("B")), (1, 5));
    server.post("/remove_expired", "").is(200, "0");
}

#[test]
fn several_semaphores_are_granted_in_one_step() {
    let server = Server::start(FILE);
    let first: u64 = acquire(&server, r#"{"A":1}"#).number();
    let answer = acquire(&server, r#"{"A":1,"B":5}"#);
    assert_eq!(answer.status, 202);
    let second: u64 = answer.number();
    assert_eq!(server.remainder("B"), 5, "all or nothing");
    server.get(&format!("/peers/{second}/is_acquired")).is(200, "false");
    server.delete(&format!("/peers/{first}"));
    server.get(&format!("/peers/{second}/is_acquired")).is(200, "true");
    assert_eq!((server.remainder("A"), server.remainder("B")), (0, 0));
}

#[test]
fn a_refused_request_leaves_no_peer() {
    let server = Server::start(FILE);
    acquire(&server, r#"{"nope":1}"#).is(400, "Unknown semaphore");
    acquire(&server, r#"{"A":1,"nope":1}"#).is(400, "Unknown semaphore");
    acquire(&server, "{}").says(400, "nothing to acquire");
    acquire(&server, r#"{"A":0}"#).says(400, "at least 1");
    acquire(&server, r#"{"A":2}"#).says(409, "Lock can never be acquired.");
    server.get("/peers/").is(200, "[]");
}

#[test]
fn a_lease_of_no_length() {
    let server = Server::start(FILE);
    let answer = server.post("/acquire", r#"{"pending":{"A":1},"expires_in":"0s"}"#);
    assert_eq!(answer.status, 201);
    assert_eq!(server.remainder("A"), 1);
    server.get("/peers/").is(200, "[]");
}

#[test]
fn blocking_ends_with_the_grant() {
    let server = Server::start(FILE);
    let holder: u64 = acquire(&server, r#"{"A":1}"#).number();
    block(&server, holder, "?timeout_ms=600000", r#"{"A":1}"#).answer().is(200, "true");
    let waiter: u64 = acquire(&server, r#"{"A":1}"#).number();
    block(&server, waiter, "?timeout_ms=20", r#"{"A":1}"#).answer().is(200, "false");
    block(&server, waiter, "?timeout_ms=0", r#"{"A":1}"#).answer().is(200, "false");
    let mut blocked = block(&server, waiter, "?timeout_ms=18446744073709551615", r#"{"A":1}"#);
    server.until_metric("throttle_blocked_requests", 1.0);
    assert!(blocked.is_silent());
    server.delete(&format!("/peers/{holder}"));
    blocked.answer().is(200, "true");
    assert_eq!(server.remainder("A"), 0);
}

#[test]
fn blocking_without_a_time_ends_with_the_promised_time() {
    let server = Server::start(FILE);
    acquire(&server, r#"{"A":1}"#);
    let body = r#"{"expires_in":"4s","active":{},"pending":{"A":1}}"#;
    server.post("/peers/7/block_until_acquired", body).is(200, "false");
}

#[test]
fn an_unknown_id_comes_back_with_its_request() {
    let server = Server::start(FILE);
    let holder: u64 = acquire(&server, r#"{"A":1}"#).number();
    let mut blocked = block(&server, 7, "?timeout_ms=600000", r#"{"A":1}"#);
    server.until_waiting("A", 1);
    server.until_metric("throttle_peers", 2.0);
    server.delete(&format!("/peers/{holder}"));
    blocked.answer().is(200, "true");
    server.get("/peers/7/is_acquired").is(200, "true");
    assert_eq!(server.remainder("A"), 0);
    // What a known peer says of its locks is not looked at.
    block(&server, 7, "?timeout_ms=0", r#"{"nope":1}"#).answer().is(200, "true");
    // A refused request brings back no peer, so that to ask again is refused too.
    for _ in 0..2 {
        block(&server, 8, "?timeout_ms=0", r#"{"nope":1}"#).answer().is(400, "Unknown semaphore");
        block(&server, 8, "?timeout_ms=0", r#"{"A":2}"#).answer().says(409, "Lock can never be acquired.");
    }
    server.until_metric("throttle_peers", 1.0);
}

#[test]
fn an_unknown_id_comes_back_with_what_it_holds() {
    let server = Server::start(FILE);
    let body = r#"{"expires_in":"5min","active":{"B":2},"pending":{"A":1}}"#;
    server.post("/peers/7/block_until_acquired?timeout_ms=0", body).is(200, "true");
    assert_eq!((server.remainder("A"), server.remainder("B")), (0, 3));
}

#[test]
fn a_heartbeat_brings_a_peer_back() {
    let server = Server::start(FILE);
    let body = r#"{"expires_in":"5min","active":{"A":1}}"#;
    server.put("/peers/7", body).is(200, "Ok");
    assert_eq!(server.remainder("A"), 0);
    server.put("/peers/7", body).is(200, "Ok");
    assert_eq!(server.remainder("A"), 0);
    // Beyond the full count too: who holds what is not for the server to say.
    server.put("/peers/8", body).is(200, "Ok");
    assert_eq!(server.remainder("A"), -1);
    server.put("/peers/9", r#"{"expires_in":"5min","active":{"nope":1}}"#).is(400, "Unknown semaphore");
    // In the later dialect it does not.
    server.put("/peers/9", r#"{"expires_in":"5min"}"#).is(400, "Unknown peer");
}

#[test]
fn freeze_is_not_served() {
    let server = Server::start(FILE);
    server.post("/freeze?for=100ms", "").says(404, "<h1>");
    server.post("/freeze", "").says(404, "<h1>");
}
