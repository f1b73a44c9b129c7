//! Requests that wait for a grant while their connection is open.

use std::time::{Duration, Instant};

use crate::support::{Server, request};

const FILE: &str = "
[semaphores]
A = 1
B = { max = 3, level = 1 }
";

#[test]
fn a_release_answers_the_next_at_that_moment() {
    let server = Server::start(FILE);
    let holder = server.holder("A", 1, "10m");
    let waiter = server.peer("10m");
    let mut blocked = server.wait_for(waiter, "A", "block_for=10m");
    assert!(blocked.is_silent());
    server.release(holder, "A");
    let answer = blocked.answer();
    answer.is(200, &waiter.to_string());
    assert_eq!(server.lock(waiter, "A", 1).token(), answer.token());
}

#[test]
fn first_come_first_served() {
    let server = Server::start(FILE);
    let mut holder = server.holder("A", 1, "10m");
    let mut waiters: Vec<_> = (0..5)
        .map(|_| {
            let peer = server.peer("10m");
            (peer, server.wait_for(peer, "A", "block_for=10m"))
        })
        .collect();
    server.until_waiting("A", 5);
    let mut last = 0;
    while !waiters.is_empty() {
        let (next, mut blocked) = waiters.remove(0);
        assert!(blocked.is_silent());
        server.delete(&format!("/peers/{holder}"));
        let answer = blocked.answer();
        answer.is(200, &next.to_string());
        assert!(answer.token() > last);
        last = answer.token();
        assert!(waiters.iter_mut().all(|(_, other)| other.is_silent()));
        holder = next;
    }
}

#[test]
fn a_release_wakes_all_that_fit() {
    let server = Server::start(FILE);
    let holder = server.holder("B", 3, "10m");
    let mut waiters: Vec<_> =
        (0..4).map(|_| server.wait_for(server.peer("10m"), "B", "block_for=10m")).collect();
    let mut last = waiters.pop().expect("four");
    server.release(holder, "B");
    for waiter in &mut waiters {
        assert_eq!(waiter.answer().status, 200);
    }
    server.until_metric("throttle_blocked_requests", 1.0);
    assert!(last.is_silent());
}

#[test]
fn a_wait_ends_with_its_time_and_keeps_its_place() {
    let server = Server::start(FILE);
    let holder = server.holder("A", 1, "10m");
    let waiter = server.peer("10m");
    let start = Instant::now();
    server.put(&format!("/peers/{waiter}/A?block_for=300ms"), "1").is(202, &waiter.to_string());
    assert!(start.elapsed() >= Duration::from_millis(300));
    let later = server.peer("10m");
    assert_eq!(server.lock(later, "A", 1).status, 202);
    server.release(holder, "A");
    assert_eq!(server.lock(waiter, "A", 1).status, 200);
}

#[test]
fn a_wait_ends_with_the_promised_time_of_its_peer() {
    let server = Server::start(FILE);
    let holder = server.holder("A", 1, "10m");
    let waiter = server.peer("10m");
    // The second request is there when the first ends, and is read within the margin after the promised time.
    let mut client = server.connect();
    let path = format!("/peers/{waiter}/A?block_for=10m&expires_in=");
    let start = Instant::now();
    client.send([request("PUT", &(path.clone() + "4s"), "1"), request("PUT", &(path + "10m"), "1")].concat());
    client.answer().is(202, &waiter.to_string());
    assert!(start.elapsed() >= Duration::from_secs(4));
    server.until_metric("throttle_blocked_requests", 1.0);
    server.release(holder, "A");
    client.answer().is(200, &waiter.to_string());
}

#[test]
fn a_heartbeat_prolongs_a_wait() {
    let server = Server::start(FILE);
    let holder = server.holder("A", 1, "10m");
    let waiter = server.peer("10m");
    let other = server.peer("10m");
    let mut blocked = server.wait_for(waiter, "A", "block_for=10m&expires_in=1s");
    server.heartbeat(waiter, "10m").is(200, "Ok");
    // Ends no earlier than the time that the waiter had at first.
    server.put(&format!("/peers/{other}/A?block_for=1s"), "1").is(202, &other.to_string());
    assert!(blocked.is_silent());
    server.release(holder, "A");
    assert_eq!(blocked.answer().status, 200);
}

#[test]
fn the_end_of_a_peer_ends_its_wait() {
    let server = Server::start(FILE);
    server.holder("A", 1, "10m");
    let waiter = server.peer("10m");
    let mut blocked = server.wait_for(waiter, "A", "block_for=10m");
    server.delete(&format!("/peers/{waiter}")).is(200, "\"Peer released\"");
    blocked.answer().is(400, "Unknown peer");
    server.until_waiting("A", 0);
    // In the first dialect too.
    let body = r#"{"expires_in":"10m","pending":{"A":1}}"#;
    let mut blocked = server.send("POST", "/peers/7/block_until_acquired?timeout_ms=600000", body);
    server.until_metric("throttle_blocked_requests", 1.0);
    server.delete("/peers/7");
    blocked.answer().is(400, "Unknown peer");
}

#[test]
fn the_release_of_what_is_waited_for_ends_the_wait() {
    let server = Server::start(FILE);
    server.holder("A", 1, "10m");
    let waiter = server.peer("10m");
    let mut blocked = server.wait_for(waiter, "A", "block_for=10m");
    server.release(waiter, "A");
    blocked.answer().is(202, &waiter.to_string());
    server.until_waiting("A", 0);
}

#[test]
fn a_client_that_hangs_up_keeps_its_place_until_its_expiry() {
    let server = Server::start(FILE);
    let holder = server.holder("A", 1, "10m");
    let gone = server.peer("10m");
    drop(server.wait_for(gone, "A", "block_for=10m"));
    server.until_metric("throttle_blocked_requests", 0.0);
    server.until_waiting("A", 1);
    let later = server.peer("10m");
    let mut blocked = server.wait_for(later, "A", "block_for=10m");
    server.release(holder, "A");
    // Kept for the one that is gone, which is granted it when it asks again.
    server.get(&format!("/peers/{gone}/is_acquired")).is(200, "true");
    assert!(blocked.is_silent());
    let again = server.put(&format!("/peers/{gone}/A?block_for=10m"), "1");
    again.is(200, &gone.to_string());
    server.release(gone, "A");
    assert!(blocked.answer().token() > again.token());
    server.delete(&format!("/peers/{later}"));

    server.holder("A", 1, "10m");
    let gone = server.peer("10m");
    drop(server.wait_for(gone, "A", "block_for=10m&expires_in=1s"));
    server.until_waiting("A", 0);
    server.lock(gone, "A", 1).is(400, "Unknown peer");
}

#[test]
fn a_grant_that_races_with_a_hang_up_finds_the_peer() {
    let server = Server::start(FILE);
    for round in 0..20 {
        let holder = server.holder("A", 1, "10m");
        let gone = server.peer("10m");
        let blocked = server.wait_for(gone, "A", "block_for=10m");
        let mut release = server.connect();
        // Both orders, with as little between them as there can be.
        let release_now = request("DELETE", &format!("/peers/{holder}/A"), "");
        if round % 2 == 0 {
            release.send(release_now);
            drop(blocked);
        } else {
            drop(blocked);
            release.send(release_now);
        }
        release.answer().is(200, "Ok");
        server.get(&format!("/peers/{gone}/is_acquired")).is(200, "true");
        server.put(&format!("/peers/{gone}/A?block_for=10m"), "1").is(200, &gone.to_string());
        assert_eq!(server.remainder("A"), 0);
        server.delete(&format!("/peers/{gone}"));
        assert_eq!(server.remainder("A"), 1);
    }
    server.until_metric("throttle_blocked_requests", 0.0);
}

#[test]
fn an_expiry_grants_the_next_at_that_moment_and_not_before() {
    let server = Server::start(FILE);
    let start = Instant::now();
    let holder = server.holder("A", 1, "1s");
    let waiter = server.peer("10m");
    let mut blocked = server.send("PUT", &format!("/peers/{waiter}/A?block_for=10m"), "1");
    let answer = blocked.answer();
    // The time that was promised, and a twentieth of it as the margin.
    assert!(start.elapsed() >= Duration::from_millis(1_050), "{:?}", start.elapsed());
    answer.is(200, &waiter.to_string());
    server.heartbeat(holder, "1s").is(400, "Unknown peer");
    server.heartbeat(waiter, "10m").is(200, "Ok");
}

#[test]
fn a_renewal_at_the_very_end_of_a_lease_arrives_in_time() {
    // As the clients 0.2 to 0.5 do it: they renew when the promised time is over.
    let server = Server::start(FILE);
    let holder = server.holder("A", 1, "10m");
    let other = server.peer("10m");
    let renew = |expires_in: &str| {
        let body = format!(r#"{{"expires_in":"{expires_in}"}}"#);
        request("PUT", &format!("/peers/{holder}"), &body)
    };
    // All in one go: the wait of another peer is the time between the two renewals.
    let wait = request("PUT", &format!("/peers/{other}/A?block_for=4s"), "1");
    let mut client = server.connect();
    client.send([renew("4s"), wait, renew("10m")].concat());
    client.answer().is(200, "Ok");
    client.answer().is(202, &other.to_string());
    client.answer().is(200, "Ok");
    assert_eq!(server.lock(holder, "A", 1).status, 200);
}

#[test]
fn without_a_margin_a_lease_ends_with_its_promised_time() {
    let server = Server::start(&format!("{FILE}\n[expiry]\nmargin = \"0s\""));
    server.holder("A", 1, "2s");
    let other = server.peer("10m");
    // Begins after the lease, and lasts as long.
    let answer = server.put(&format!("/peers/{other}/A?block_for=2s"), "1");
    answer.is(200, &other.to_string());
}

#[cfg(unix)]
#[test]
fn shutdown_answers_every_request_that_waits() {
    use rustix::process::Signal;

    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start(FILE);
        server.holder("A", 1, "10m");
        let mut blocked: Vec<_> = (0..3)
            .map(|_| {
                let peer = server.peer("10m");
                (peer, server.wait_for(peer, "A", "block_for=10m"))
            })
            .collect();
        let body = r#"{"expires_in":"10m","pending":{"A":1}}"#;
        let mut first = server.send("POST", "/peers/7/block_until_acquired?timeout_ms=600000", body);
        server.until_metric("throttle_blocked_requests", 4.0);
        // Neither who says nothing nor who has said only a part holds up the end.
        let _idle = server.connect();
        let mut partial = server.connect();
        partial.send("PUT /peers/7 HTTP/1.1\r\n");

        let start = Instant::now();
        server.process.signal(signal);
        for (peer, client) in &mut blocked {
            client.answer().is(202, &peer.to_string());
            assert_eq!(client.rest(), "");
        }
        first.answer().is(200, "false");
        assert_eq!(server.process.wait().code(), Some(0));
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        assert!(server.process.stderr.all().iter().any(|line| line.ends_with("Shutdown signal received")));
    }
}
