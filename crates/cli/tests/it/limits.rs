//! The bounds of `[limits]`, and the clear answer at each of them.

use crate::support::{Client, Server, request};

fn start(limits: &str) -> Server {
    Server::start(&format!("[semaphores]\nA = 1\nB = {{ max = 1, level = 1 }}\nC = 5\n[limits]\n{limits}"))
}

#[test]
fn connections() {
    let server = start("connections = 16");
    let mut open: Vec<Client> = (0..16).map(|_| server.send("GET", "/health", "")).collect();
    for client in &mut open {
        client.answer().is(200, "Ok");
    }
    let mut refused = server.connect();
    refused.send(request("POST", "/new_peer", r#"{"expires_in":"5m"}"#));
    let answer = refused.answer();
    answer.says(503, "Too many connections are open.");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(refused.rest(), "", "and then it ends");
    // Those that are open go on, and one that ends makes room.
    open[3].send(request("GET", "/health", ""));
    open[3].answer().is(200, "Ok");
    open.pop();
    crate::support::until("there is room again", || server.get("/health").status == 200);
}

#[test]
fn blocked_requests() {
    let server = start("blocked_requests = 1");
    let holder = server.holder("A", 1, "10m");
    let first = server.peer("10m");
    let mut blocked = server.wait_for(first, "A", "block_for=10m");
    let second = server.peer("10m");
    server.put(&format!("/peers/{second}/A?block_for=10m"), "1").is_limit();
    // The request is in the queue nevertheless, ahead of whoever comes later.
    server.until_waiting("A", 2);
    let third = server.peer("10m");
    assert_eq!(server.lock(third, "A", 1).status, 202);
    let body = r#"{"expires_in":"10m","pending":{"A":1}}"#;
    server.post("/peers/7/block_until_acquired?timeout_ms=600000", body).is_limit();
    server.until_waiting("A", 4);
    assert!(blocked.is_silent());
    server.release(holder, "A");
    assert_eq!(blocked.answer().status, 200);
    server.put(&format!("/peers/{third}/A?block_for=1ms"), "1").is(202, &third.to_string());
    server.release(first, "A");
    server.put(&format!("/peers/{second}/A?block_for=10m"), "1").is(200, &second.to_string());
}

#[test]
fn peers() {
    let server = start("peers = 2");
    let first = server.peer("10m");
    server.peer("10m");
    server.post("/new_peer", r#"{"expires_in":"5m"}"#).is_limit();
    server.post("/acquire", r#"{"pending":{"A":1},"expires_in":"5m"}"#).is_limit();
    server.post("/restore", r#"{"expires_in":"5m","peer_id":7,"acquired":{"A":1}}"#).is_limit();
    server.put("/peers/7", r#"{"expires_in":"5m","active":{"A":1}}"#).is_limit();
    let body = r#"{"expires_in":"10m","pending":{"A":1}}"#;
    server.post("/peers/7/block_until_acquired?timeout_ms=600000", body).is_limit();
    assert_eq!(server.lock(first, "A", 1).status, 200);
    server.delete(&format!("/peers/{first}"));
    server.peer("10m");
}

#[test]
fn waiters_per_semaphore() {
    let server = start("waiters_per_semaphore = 1");
    let holder = server.holder("A", 1, "10m");
    let first = server.peer("10m");
    assert_eq!(server.lock(first, "A", 1).status, 202);
    let second = server.peer("10m");
    server.lock(second, "A", 1).is_limit();
    server.put(&format!("/peers/{second}/A?block_for=10m"), "1").is_limit();
    server.post("/acquire", r#"{"pending":{"A":1},"expires_in":"5m"}"#).is_limit();
    server.until_metric("throttle_peers", 3.0);
    // Who is in the queue may ask again, and who needs no queue is served.
    assert_eq!(server.lock(first, "A", 1).status, 202);
    assert_eq!(server.lock(second, "C", 1).status, 200);
    server.release(holder, "A");
    server.release(first, "A");
    server.release(second, "C");
    assert_eq!(server.lock(second, "A", 1).status, 200);
}

#[test]
fn locks_per_peer() {
    let server = start("locks_per_peer = 1");
    let peer = server.holder("B", 1, "10m");
    server.lock(peer, "A", 1).is_limit();
    assert_eq!(server.lock(peer, "B", 1).status, 200);
    server.post("/acquire", r#"{"pending":{"A":1,"C":1},"expires_in":"5m"}"#).is_limit();
    server.post("/restore", r#"{"expires_in":"5m","peer_id":7,"acquired":{"A":1,"B":1}}"#).is_limit();
    server.until_metric("throttle_peers", 1.0);
    server.release(peer, "B");
    assert_eq!(server.lock(peer, "A", 1).status, 200);
}

#[test]
fn body_bytes() {
    let server = start("body_bytes = 1024");
    let body = |bytes: usize| format!("{:<bytes$}", r#"{"expires_in":"5m"}"#);
    assert_eq!(server.post("/new_peer", &body(1024)).status, 200);
    server.post("/new_peer", &body(1025)).says(413, "1024 bytes");
    // Of a length that is not announced too.
    for (bytes, status) in [(1024, 200), (1025, 413)] {
        let mut client = server.connect();
        client.send(format!(
            "POST /new_peer HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             transfer-encoding: chunked\r\n\r\n{bytes:x}\r\n{}\r\n0\r\n\r\n",
            body(bytes)
        ));
        assert_eq!(client.answer().status, status);
    }
}

#[test]
fn expires_in_max() {
    let server = start("expires_in_max = '1m'");
    server.peer("1m");
    server.post("/new_peer", r#"{"expires_in":"61s"}"#).says(400, "from 0s to 1m");
}

#[test]
fn the_time_for_a_head() {
    let server = start("head_timeout = '200ms'");
    let mut silent = server.connect();
    assert_eq!(silent.rest(), "");
    let mut slow = server.connect();
    slow.send("GET /health HTTP/1.1\r\nhost: ");
    slow.answer().says(408, "head of the request");
    assert_eq!(slow.rest(), "");
    let mut second = server.send("GET", "/health", "");
    second.answer().is(200, "Ok");
    second.send("GET /he");
    second.answer().says(408, "head of the request");
}

#[test]
fn the_time_for_a_body() {
    let server = start("body_timeout = '200ms'");
    let mut slow = server.connect();
    let whole = request("POST", "/new_peer", r#"{"expires_in":"5m"}"#);
    slow.send(&whole[..whole.len() - 1]);
    slow.answer().says(408, "body of the request");
    assert_eq!(slow.rest(), "");
}

#[test]
fn the_time_between_two_requests() {
    let server = start("idle_timeout = '1s'");
    let mut idle = server.send("GET", "/health", "");
    idle.answer().is(200, "Ok");
    assert_eq!(idle.rest(), "");
}
