//! The configuration file, read again.

use std::fs;

use serde_json::json;

use crate::support::{Launch, Server};

struct Edited {
    server: Server,
    file: std::path::PathBuf,
}

impl Edited {
    fn start(text: &str) -> Self {
        let launch = Launch::new(&["--port", "0"]).file(text).env("THROTTLE_LOG", "info");
        let file = launch.path("throttle.toml");
        Self { server: Server::launch(launch), file }
    }

    fn edit(&self, text: &str) -> &Server {
        fs::write(&self.file, text).expect("written");
        &self.server
    }
}

#[test]
fn what_changed_comes_into_force_and_is_told() {
    let edited = Edited::start("[semaphores]\nA = 1\nB = 1\nC = 1\n'p/*' = 1");
    let server = &edited.server;
    server.holder("A", 1, "5m");
    let waiter = server.peer("5m");
    let mut blocked = server.wait_for(waiter, "A", "block_for=1m");
    edited.edit(
        "port = 1\n[semaphores]\nA = { max = 2, level = 3 }\nB = 1\nD = { max = 4, per = '1s' }\n'q/*' = 2",
    );
    let difference = server.post("/v1/reload", "").shape(200);
    assert_eq!(
        difference,
        json!({
            "added": {
                "D": {"max": 4, "level": 0, "per": "1s", "deadlock": "hierarchy"},
                "q/*": {"max": 2, "level": 0, "per": null, "deadlock": "hierarchy"}
            },
            "changed": {"A": {
                "before": {"max": 1, "level": 0, "per": null, "deadlock": "hierarchy"},
                "now": {"max": 2, "level": 3, "per": null, "deadlock": "hierarchy"}
            }},
            "removed": {
                "C": {"max": 1, "level": 0, "per": null, "deadlock": "hierarchy"},
                "p/*": {"max": 1, "level": 0, "per": null, "deadlock": "hierarchy"}
            },
            "needs_restart": []
        })
    );
    assert_eq!(blocked.answer().status, 200, "growing wakes who waits");
    server.get("/v1/semaphores/C").problem(404, "unknown_semaphore");
    assert_eq!(server.remainder("q/x"), 2);
    server.get("/remainder?semaphore=p/x").is(400, "Unknown semaphore");
    let line = server.process.stderr.line("was reloaded");
    assert!(line.contains("Added: \"D\", \"q/*\"; changed: \"A\"; removed: \"C\", \"p/*\"."), "{line}");
    assert_eq!(server.post("/v1/reload", "").shape(200)["changed"], json!({}));
}

#[test]
fn a_wrong_file_changes_nothing() {
    let edited = Edited::start("[semaphores]\nA = 1");
    let server = edited.edit("[semaphores]\nA = 2\nB = -1");
    let detail = server.post("/v1/reload", "").problem(409, "invalid_configuration");
    assert!(detail.contains("throttle.toml:3: semaphores.B"), "{detail}");
    assert_eq!(server.remainder("A"), 1);
}

#[test]
fn the_later_word_wins() {
    let edited = Edited::start("[semaphores]\nA = 1\nB = 1");
    let server = &edited.server;
    for name in ["A", "B"] {
        server.ask("PATCH", &format!("/v1/semaphores/{name}"), r#"{"max": 7}"#).shape(200);
    }
    edited.edit("[semaphores]\nA = 1\nB = 2").post("/v1/reload", "").shape(200);
    let origin = |name: &str| server.get(&format!("/v1/semaphores/{name}")).shape(200)["origin"].clone();
    assert_eq!(
        (server.remainder("A"), origin("A")),
        (7, json!("runtime")),
        "the file says what it said before"
    );
    assert_eq!((server.remainder("B"), origin("B")), (2, json!("file")), "the file was edited since");
}

#[test]
fn a_used_semaphore_that_is_gone_drains() {
    let edited = Edited::start("[semaphores]\nA = 1");
    let server = &edited.server;
    let holder = server.holder("A", 1, "5m");
    let waiter = server.peer("5m");
    let mut blocked = server.wait_for(waiter, "A", "block_for=1m");
    edited.edit("").post("/v1/reload", "").shape(200);
    let late = server.peer("5m");
    server.put(&format!("/peers/{late}/A"), "1").is(400, "Unknown semaphore");
    assert_eq!(server.lock(holder, "A", 1).status, 200, "whoever holds it goes on");
    server.release(holder, "A");
    assert_eq!(blocked.answer().status, 200, "whoever waits has a turn");
    server.release(waiter, "A");
    server.get("/v1/semaphores/A").problem(404, "unknown_semaphore");
}

#[cfg(unix)]
#[test]
fn sighup_reloads() {
    let edited = Edited::start("[semaphores]\nA = 1");
    let server = edited.edit("[semaphores]\nA = 3");
    server.process.signal(rustix::process::Signal::HUP);
    server.process.stderr.line("was reloaded");
    assert_eq!(server.remainder("A"), 3);
    edited.edit("[semaphores]\nA = x");
    server.process.signal(rustix::process::Signal::HUP);
    server.process.stderr.line("the file is wrong");
    assert_eq!(server.remainder("A"), 3);
}
