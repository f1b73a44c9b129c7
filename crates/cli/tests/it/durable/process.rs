//! The process: one a directory, and it ends as it is told.

use super::home::Home;
use crate::support::{Client, Server, id, request};

const FILE: &str = "[semaphores]\nA = 1";

#[test]
fn a_directory_has_one_process() {
    let home = Home::new();
    let server = home.start(FILE);
    let holder = server.holder("A", 1, "1h");
    let line = home.launch(FILE).env("THROTTLE_LOG", "error").fails();
    let says = "another process uses it. Stop that one first, or name another directory.";
    assert_eq!(line, format!("The data directory {}: {says}", home.path().display()));
    assert_eq!(server.heartbeat(holder, "1h").status, 200);
    server.kill();
    // The lock goes with the process, however that ends.
    home.start(FILE).stop();
    home.start(FILE).stop();
}

#[test]
fn it_ends_in_order_and_answers_who_waits() {
    let home = Home::new();
    let server = home.start(FILE);
    server.holder("A", 1, "1h");
    let waiters: Vec<u64> = (0..5).map(|_| server.peer("1h")).collect();
    let mut blocked: Vec<_> =
        waiters.iter().map(|&waiter| server.wait_for(waiter, "A", "block_for=10m")).collect();
    server.process.signal(rustix::process::Signal::TERM);
    for (client, waiter) in blocked.iter_mut().zip(&waiters) {
        client.answer().is(202, &waiter.to_string());
    }
    let lines = server.stop_was_asked();
    assert!(lines.last().is_some_and(|line| line.ends_with("Shutdown complete")), "{lines:?}");
    let server = home.start(FILE);
    assert_eq!(server.peers().len(), 6);
}

#[test]
fn a_directory_that_cannot_be() {
    let home = Home::new();
    std::fs::write(home.path(), "a file").expect("written");
    let line = home.launch(FILE).env("THROTTLE_LOG", "error").fails();
    assert!(line.starts_with(&format!("The data directory {}: ", home.path().display())), "{line}");
    std::fs::remove_file(home.path()).expect("removed");
}

#[test]
fn a_port_in_use_leaves_the_directory_as_it_is() {
    let (home, other) = (Home::new(), Home::new());
    let server = home.start(FILE);
    let peer = server.holder("A", 1, "1h");
    server.kill();
    let holder = other.start(FILE);
    let line = home.launch_at(holder.port, FILE).env("THROTTLE_LOG", "error").fails();
    assert!(line.contains("the port is in use"), "{line}");
    let server = home.start(FILE);
    server.heartbeat(peer, "1h").is(200, "Ok");
}

impl Server {
    /// Waits for the end of a server that was told to end.
    fn stop_was_asked(mut self) -> Vec<String> {
        assert_eq!(self.process.wait().code(), Some(0));
        self.process.stderr.all()
    }
}

#[test]
fn requests_in_flight_at_the_end_are_kept_if_they_are_answered() {
    let home = Home::new();
    let server = home.start(FILE);
    let mut clients: Vec<_> = (0..50).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(request("POST", "/v1/peers", r#"{"expires_in":"1h"}"#));
    }
    server.process.signal(rustix::process::Signal::TERM);
    let answered = clients.iter_mut().filter_map(try_answer).count();
    server.stop_was_asked();
    assert!(home.start(FILE).peers().len() >= answered);
}

/// The id of a peer, if there was an answer that made one.
fn try_answer(client: &mut Client) -> Option<String> {
    let answer = client.try_answer()?;
    (answer.status == 201).then(|| id(&answer.json()))
}
