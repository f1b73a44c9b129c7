//! The time after a start with empty state in which nothing is granted anew.

use serde_json::json;

use super::home::Home;
use crate::support::{Launch, Server, id};

#[test]
fn peers_come_back_before_anything_is_granted() {
    let server = Server::start("[semaphores]\nA = 2\n[recovery]\nhold_grants = \"1h\"");
    server.process.stderr.line("Nothing is granted anew for 1h, so that peers can come back first.");
    server.get("/readyz").says(200, "nothing is granted anew, so that peers can come back first");
    let first = server.v1_peer("1h");
    let waiting = server.v1_locks(&first, &json!({ "A": 2 })).shape(202);
    assert_eq!(waiting["pending"]["position"], 1);
    let body = json!({ "locks": { "A": 1 }, "wait": "10m" });
    let second = server.v1_peer("1h");
    let mut blocked = server.blocked("PUT", &format!("/v1/peers/{second}/locks"), &body);
    let restored = json!({ "expires_in": "1h", "peer_id": 7, "acquired": { "A": 1 } }).to_string();
    server.post("/restore", &restored).is(200, "Ok");
    assert_eq!(server.remainder("A"), 1);
    // The first in line does not fit beside what came back, and the second does not overtake it.
    let mut first_blocked = server.blocked(
        "PUT",
        &format!("/v1/peers/{first}/locks"),
        &json!({ "locks": { "A": 2 }, "wait": "10m" }),
    );
    assert!(first_blocked.is_silent() && blocked.is_silent(), "what is free is held back");
    assert!(server.metric("throttle_holding_grants") > 0.0);
    let url = format!("http://127.0.0.1:{}", server.port);
    let resume = || Launch::new(&["resume", "--url", &url]).run().1;
    assert_eq!(resume(), "Grants are given out again.");
    assert_eq!(resume(), "Nothing was held back.");
    server.get("/readyz").is(200, "Ok");
    server.until_metric("throttle_holding_grants", 0.0);
    assert!(first_blocked.is_silent() && blocked.is_silent(), "the first in line does not fit yet");
    server.delete("/peers/7").is(200, "\"Peer released\"");
    let granted = first_blocked.answer().shape(200);
    assert_eq!(id(&granted), first);
    assert!(blocked.is_silent());
    server.delete(&format!("/v1/peers/{first}")).is_empty();
    assert_eq!(id(&blocked.answer().shape(200)), second);
}

#[test]
fn it_ends_by_itself() {
    let server = Server::start("[semaphores]\nA = 1\n[recovery]\nhold_grants = \"500ms\"");
    let peer = server.peer("1h");
    let answer = server.send("PUT", &format!("/peers/{peer}/A?block_for=1h"), "1").answer();
    answer.is(200, &peer.to_string());
    server.until_metric("throttle_holding_grants", 0.0);
}

#[test]
fn a_restart_does_not_end_it() {
    let file = "[semaphores]\nA = 2\n[recovery]\nhold_grants = \"1h\"";
    let home = Home::new();
    let server = home.start(file);
    let peer = server.peer("2h");
    server.lock(peer, "A", 1).is(202, &peer.to_string());
    server.kill();
    // Those who may come back are still on their way.
    let server = home.start(file);
    server.lock(peer, "A", 1).is(202, &peer.to_string());
    server.get("/readyz").says(200, "nothing is granted anew, so that peers can come back first");
    server.post("/v1/resume", "").shape(200);
    server.lock(peer, "A", 1).is(200, &peer.to_string());
    server.kill();
    // A server that remembers who holds what need not wait for anybody.
    let server = home.start(file);
    let other = server.holder("A", 1, "2h");
    assert_ne!(other, peer);
    server.get("/readyz").is(200, "Ok");
}
