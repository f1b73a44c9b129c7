//! Peers that the server does not know, and bring locks.

use serde_json::json;

use super::home::Home;
use crate::support::{Answer, Server};

fn restore(server: &Server, peer: u64, semaphore: &str, count: i64) -> Answer {
    let body = json!({ "expires_in": "1h", "peer_id": peer, "acquired": { semaphore: count } });
    server.post("/restore", &body.to_string())
}

#[test]
fn a_server_that_forgets_nothing_takes_back_what_is_free() {
    let home = Home::new();
    let server = home.start("[semaphores]\nA = 3");
    server.holder("A", 2, "1h");
    let waiter = server.peer("1h");
    server.lock(waiter, "A", 2).is(202, &waiter.to_string());
    restore(&server, 1, "A", 1).is(200, "Ok");
    let refused = restore(&server, 2, "A", 1);
    refused.says(409, "does not fit");
    assert!(refused.text().contains('3'), "{}", refused.text());
    server.heartbeat(2, "1h").is(400, "Unknown peer");
    assert_eq!(server.remainder("A"), 0);
    server.kill();
    let server = home.start("[semaphores]\nA = 3");
    restore(&server, 1, "A", 1).is(200, "Ok");
    restore(&server, 2, "A", 1).says(409, "does not fit");
    assert_eq!(server.remainder("A"), 0);
}

#[test]
fn the_first_dialect_is_no_way_around() {
    let home = Home::new();
    let server = home.start("[semaphores]\nA = 1");
    server.holder("A", 1, "1h");
    let body = r#"{"expires_in":"1h","active":{"A":1}}"#;
    server.put("/peers/7", body).says(409, "does not fit");
    server.put("/peers/7", r#"{"expires_in":"1h","active":{}}"#).is(200, "Ok");
}

#[test]
fn a_file_may_say_otherwise() {
    let settings = |restore: &str| format!("[semaphores]\nA = 1\n[recovery]\nrestore = \"{restore}\"");
    let home = Home::new();
    let server = home.start(&settings("allow"));
    server.holder("A", 1, "1h");
    restore(&server, 1, "A", 1).is(200, "Ok");
    assert_eq!(server.remainder("A"), -1);
    server.kill();
    let server = home.start(&settings("deny"));
    assert_eq!(server.remainder("A"), -1);
    restore(&server, 1, "A", 1).is(200, "Ok");
    let refused = restore(&server, 2, "A", 1);
    assert_eq!(refused.status, 409, "{}", refused.text());
    server.kill();

    let server = Server::start(&settings("if_free"));
    restore(&server, 1, "A", 1).is(200, "Ok");
    restore(&server, 2, "A", 1).says(409, "does not fit");
    let server = Server::start(&settings("deny"));
    assert_eq!(restore(&server, 1, "A", 1).status, 409);
    let body = r#"{"expires_in":"1h","peer_id":3,"acquired":{}}"#;
    server.post("/restore", body).is(200, "Ok");
    let line = crate::support::Launch::new(&["--port", "0"]).file(settings("maybe")).fails();
    assert!(line.contains("maybe") && line.contains("if_free"), "{line}");
}

#[test]
fn without_a_directory_all_come_back() {
    let server = Server::start("[semaphores]\nA = 1");
    restore(&server, 1, "A", 1).is(200, "Ok");
    restore(&server, 2, "A", 1).is(200, "Ok");
    assert_eq!(server.remainder("A"), -1);
}
