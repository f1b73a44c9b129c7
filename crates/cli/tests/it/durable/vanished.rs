//! A start with a data directory after the configuration file has vanished.

use std::fs;

use serde_json::json;

use super::home::Home;
use crate::support::Server;

const FILE: &str = "[semaphores]\nA = 3\nB = 1\n'tenant/*' = 2";

#[test]
fn what_the_file_declared_stays_until_it_says_otherwise() {
    let home = Home::new();
    let server = home.start(FILE);
    let holder = server.v1_holder(&json!({ "A": 2, "tenant/x": 1 }));
    server.stop();
    for nothing in [None, Some(""), Some("# nothing")] {
        let launch = home.launch(nothing.unwrap_or_default());
        let file = launch.path("throttle.toml");
        if nothing.is_none() {
            fs::remove_file(&file).expect("removed");
        }
        let server = Server::launch(launch);
        let line = server.process.stderr.line("in the last run");
        let state = if nothing.is_none() { "is not there" } else { "is empty" };
        let expected = format!(
            "The file throttle.toml {state}, but declared 3 semaphores in the last run: \"A\", \"B\", \"tenant/*\"."
        );
        assert!(line.contains(" WARN  throttle] ") && line.contains(&expected), "{line}");
        assert_eq!((server.remainder("A"), server.remainder("B"), server.remainder("tenant/y")), (1, 1, 2));
        let late = server.peer("5m");
        assert_eq!(server.lock(late, "A", 1).status, 200, "they take new requests");
        server.delete(&format!("/peers/{late}")).is(200, "\"Peer released\"");
        server.post("/v1/reload", "").problem(409, "invalid_configuration");
        assert_eq!(server.remainder("B"), 1);
        // Once the file says something, it is heard.
        fs::write(&file, "[semaphores]\nA = 4\nB = 1\n'tenant/*' = 2").expect("written");
        let reloaded = server.post("/v1/reload", "").shape(200);
        assert_eq!((&reloaded["added"], &reloaded["removed"]), (&json!({}), &json!({})));
        assert_eq!(reloaded["changed"]["A"]["before"]["max"], 3);
        fs::write(&file, FILE).expect("written");
        server.post("/v1/reload", "").shape(200);
        server.stop();
    }

    // A start whose file removes what is in use says so, as a reload does.
    let server = home.start("[semaphores]\nC = 1");
    server.process.stderr.line("\"A\" (2 acquired, 0 pending), \"tenant/*\" (1 acquired, 0 pending).");
    server.process.stderr.line("3 semaphores of 3 in the configuration are removed");
    server.delete(&format!("/v1/peers/{holder}")).is_empty();
    server.get("/v1/semaphores/A").problem(404, "unknown_semaphore");
    server.stop();
}

#[test]
fn a_server_that_is_told_its_semaphores_by_flags_needs_no_file() {
    let home = Home::new();
    let start = |flags: &[&str]| Server::launch(home.launch_with(&[&["--port", "0"], flags].concat()));
    let server = start(&["--semaphore", "A=3", "--semaphore", "B=1"]);
    server.holder("B", 1, "1h");
    server.stop();
    let server = start(&["--semaphore", "A=7", "--semaphore", "D=1"]);
    server.process.stderr.line("\"B\" (1 acquired, 0 pending).");
    assert_eq!((server.remainder("A"), server.remainder("D")), (7, 1));
    server.post("/v1/reload", "").shape(200);
}
