//! A waiter must be there: whoever waited with its connection open, and has had none for too long, is passed over.

use serde_json::{Value, json};

use crate::support::{Client, Launch, Server, id, until};

const FILE: &str = "
[semaphores]
A = 1
[queue]
absent_after = \"500ms\"
";

/// The grace is longer than any test.
const PATIENT: &str = "
[semaphores]
A = 1
[queue]
absent_after = \"1h\"
";

/// A dialect: how its clients wait with an open connection, and how they ask again.
struct Dialect {
    /// Makes a peer that waits for `A`, and returns its id.
    wait: fn(&Server) -> (String, Client),
    /// Asks again, to wait if need be. The status is 200 once it has the lock.
    again: fn(&Server, &str) -> Client,
}

const DIALECTS: [Dialect; 4] = [
    Dialect {
        wait: |server| {
            let peer = server.peer("1h");
            (peer.to_string(), server.wait_for(peer, "A", "block_for=1h"))
        },
        again: |server, peer| server.send("PUT", &format!("/peers/{peer}/A?block_for=1h"), "1"),
    },
    Dialect {
        wait: |server| {
            let made = server.post("/acquire", r#"{"pending":{"A":1},"expires_in":"1h"}"#);
            (made.number::<u64>().to_string(), block_until_acquired(server, made.number()))
        },
        again: |server, peer| block_until_acquired(server, peer.parse().expect("a number")),
    },
    Dialect {
        wait: |server| {
            let peer = server.v1_peer("1h");
            let body = json!({ "locks": { "A": 1 }, "wait": "1h" });
            let client = server.blocked("PUT", &format!("/v1/peers/{peer}/locks"), &body);
            (peer, client)
        },
        again: |server, peer| put_locks(server, peer),
    },
    Dialect {
        wait: |server| {
            let body = json!({ "locks": { "A": 1 }, "wait": "1h", "expires_in": "1h" });
            let client = server.blocked("POST", "/v1/locks", &body);
            (last_in_queue(server)["peer"].as_str().expect("text").to_owned(), client)
        },
        again: |server, peer| put_locks(server, peer),
    },
];

fn block_until_acquired(server: &Server, peer: u64) -> Client {
    let body = r#"{"expires_in":"1h","pending":{"A":1}}"#;
    let before = server.metric("throttle_blocked_requests");
    let client = server.send("POST", &format!("/peers/{peer}/block_until_acquired?timeout_ms=3600000"), body);
    let holds = || server.get(&format!("/peers/{peer}/is_acquired")).text() == "true";
    until("it waits, or has it", || server.metric("throttle_blocked_requests") > before || holds());
    client
}

fn put_locks(server: &Server, peer: &str) -> Client {
    let body = json!({ "locks": { "A": 1 }, "wait": "1h" });
    server.send("PUT", &format!("/v1/peers/{peer}/locks"), &body.to_string())
}

fn queue(server: &Server) -> Vec<Value> {
    let seen = server.get("/v1/semaphores/A").shape(200);
    seen["queue"].as_array().expect("a list").clone()
}

fn last_in_queue(server: &Server) -> Value {
    queue(server).pop().expect("somebody waits")
}

fn is_absent(server: &Server, peer: &str) -> bool {
    queue(server).iter().any(|waiter| waiter["peer"] == peer && waiter["absent"] == true)
}

/// Its client hangs up, and the server has noticed.
fn hang_up(server: &Server, client: Client) {
    let before = server.metric("throttle_blocked_requests");
    drop(client);
    server.until_metric("throttle_blocked_requests", before - 1.0);
}

#[test]
fn a_dead_waiter_is_passed_over_and_keeps_its_place_in_every_dialect() {
    for Dialect { wait, again } in DIALECTS {
        let server = Server::start(FILE);
        let holder = server.holder("A", 1, "1h");
        let (dead, client) = wait(&server);
        let next = server.peer("1h");
        let mut waiting = server.wait_for(next, "A", "block_for=1h");
        hang_up(&server, client);
        server.release(holder, "A");
        // No lease ends meanwhile; before, it was granted to the dead one.
        waiting.answer().is(200, &next.to_string());
        assert!(is_absent(&server, &dead));
        // Whoever comes later stands behind it, once it is back.
        let late = server.peer("1h");
        let mut waiting = server.wait_for(late, "A", "block_for=1h");
        let mut back = again(&server, &dead);
        server.until_metric("throttle_blocked_requests", 2.0);
        assert!(!is_absent(&server, &dead));
        assert_eq!(queue(&server)[0]["peer"], dead);
        server.release(next, "A");
        assert_eq!(back.answer().status, 200);
        assert!(waiting.is_silent());
    }
}

#[test]
fn an_absent_waiter_is_served_at_once_if_it_is_its_turn() {
    for Dialect { wait, again } in DIALECTS {
        let server = Server::start(FILE);
        let holder = server.holder("A", 1, "1h");
        let (dead, client) = wait(&server);
        hang_up(&server, client);
        until("it is absent", || is_absent(&server, &dead));
        server.release(holder, "A");
        assert_eq!(server.remainder("A"), 1);
        assert_eq!(again(&server, &dead).answer().status, 200);
    }
}

#[test]
fn within_the_grace_it_holds_its_place_and_is_not_granted_what_nobody_takes() {
    let server = Server::start(PATIENT);
    let holder = server.holder("A", 1, "1h");
    let gone = server.peer("1h");
    let client = server.wait_for(gone, "A", "block_for=1h");
    let next = server.peer("1h");
    let mut waiting = server.wait_for(next, "A", "block_for=1h");
    hang_up(&server, client);
    server.release(holder, "A");
    assert_eq!(server.remainder("A"), 1);
    assert!(waiting.is_silent());
    server.put(&format!("/peers/{gone}/A?block_for=1h"), "1").is(200, &gone.to_string());
    server.release(gone, "A");
    waiting.answer().is(200, &next.to_string());
}

#[test]
fn a_second_connection_keeps_it_present() {
    let server = Server::start(FILE);
    let holder = server.holder("A", 1, "1h");
    let peer = server.peer("1h");
    let first = server.wait_for(peer, "A", "block_for=1h");
    let mut second = server.wait_for(peer, "A", "block_for=1h");
    hang_up(&server, first);
    let other = server.peer("1h");
    // Longer than the grace.
    server.put(&format!("/peers/{other}/A?block_for=1s"), "1").is(202, &other.to_string());
    server.release(holder, "A");
    second.answer().is(200, &peer.to_string());
}

#[test]
fn who_never_waited_with_a_connection_is_never_absent() {
    let server = Server::start(FILE);
    let holder = server.holder("A", 1, "1h");
    let polling = server.peer("1h");
    server.lock(polling, "A", 1).is(202, &polling.to_string());
    let other = server.peer("1h");
    server.put(&format!("/peers/{other}/A?block_for=1s"), "1").is(202, &other.to_string());
    assert!(!is_absent(&server, &polling.to_string()));
    server.release(holder, "A");
    assert_eq!(server.remainder("A"), 0);
    server.get(&format!("/peers/{polling}/is_acquired")).is(200, "true");
}

#[test]
fn a_wait_whose_time_is_over_begins_an_absence_too() {
    let server = Server::start(FILE);
    let holder = server.holder("A", 1, "1h");
    let peer = server.peer("1h");
    server.put(&format!("/peers/{peer}/A?block_for=1ms"), "1").is(202, &peer.to_string());
    until("it is absent", || is_absent(&server, &peer.to_string()));
    server.release(holder, "A");
    // A question about it is as good as asking again.
    server.get(&format!("/peers/{peer}/is_acquired")).is(200, "true");
}

/// As a service manager, or the system that runs out of memory, ends it.
#[cfg(unix)]
#[test]
fn a_command_that_is_killed_while_it_waits_holds_up_nobody() {
    let server = Server::start(FILE);
    let holder = server.holder("A", 1, "1h");
    let url = format!("http://127.0.0.1:{}", server.port);
    let arguments = ["run", "-s", "A", "--ttl", "1h", "--", "echo", "never"];
    let mut dead = Launch::new(&arguments).env("THROTTLE_URL", &url).start();
    server.until_metric("throttle_blocked_requests", 1.0);
    dead.signal(rustix::process::Signal::KILL);
    dead.wait();
    let next = server.peer("1h");
    let mut waiting = server.wait_for(next, "A", "block_for=1h");
    server.release(holder, "A");
    waiting.answer().is(200, &next.to_string());
    assert_eq!(dead.stdout.all(), Vec::<String>::new());
}

#[test]
fn the_last_word_of_a_session_that_leaves_is_its_end() {
    let server = Server::start(PATIENT);
    let holder = server.v1_holder(&json!({ "A": 1 }));
    let body = json!({ "locks": { "A": 1 }, "wait": "1h", "expires_in": "1h", "on_timeout": "leave" });
    drop(server.blocked("POST", "/v1/locks", &body));
    // Nobody knows of its peer, so there is nobody to come back.
    server.until_waiting("A", 0);
    assert_eq!(id(&server.get(&format!("/v1/peers/{holder}")).shape(200)), holder);
}
