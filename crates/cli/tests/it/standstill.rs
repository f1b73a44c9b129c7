//! A server that itself stood still, as on a suspended machine, takes nobody's lease for over.

use std::{thread, time::Duration};

use rustix::process::Signal;

use crate::support::Server;

#[test]
fn leases_move_by_the_time_that_the_server_stood_still() {
    let server = Server::start("[semaphores]\nA = 1\nB = 1");
    let waiter = server.peer("10m");
    let other = server.holder("B", 1, "10m");
    let holder = server.holder("A", 1, "1s");
    let mut blocked = server.connect();
    blocked.send(crate::support::request("PUT", &format!("/peers/{waiter}/A?block_for=10m"), "1"));

    server.process.signal(Signal::STOP);
    thread::sleep(Duration::from_millis(2_500));
    let mut asked_meanwhile = server.send("GET", &format!("/peers/{holder}/is_acquired"), "");
    server.process.signal(Signal::CONT);
    asked_meanwhile.answer().is(200, "true");
    server.heartbeat(holder, "10m").is(200, "Ok");
    assert!(blocked.is_silent());
    assert_eq!(server.remainder("A"), 0);

    // From now on time passes as before.
    server.heartbeat(other, "500ms").is(200, "Ok");
    server.until_metric("throttle_acquired{semaphore=\"B\"}", 0.0);
    server.heartbeat(other, "10m").is(400, "Unknown peer");
    server.release(holder, "A");
    blocked.answer().is(200, &waiter.to_string());
}
