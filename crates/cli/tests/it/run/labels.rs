use serde_json::{Value, json};

use super::{SEMAPHORES, run};
use crate::support::Server;

/// The one holder of a semaphore.
fn holder(server: &Server, semaphore: &str) -> Value {
    let seen = server.get(&format!("/v1/semaphores/{semaphore}")).shape(200);
    seen["holders"].as_array().expect("a list")[0].clone()
}

#[test]
fn the_server_is_told_who_holds_the_lock() {
    let server = Server::start(SEMAPHORES);
    let command = ["--", "/bin/sh", "-c", "echo ready; sleep 60"];
    let process = run(&server, &[&["-s", "A"], &command[..]].concat()).env("USER", "jane").start();
    process.stdout.line("ready");
    let labels = holder(&server, "A")["labels"].clone();
    assert_eq!((&labels["program"], &labels["user"]), (&json!("sh"), &json!("jane")));
    assert!(labels["host"].is_string() && labels["pid"].is_string(), "{labels}");

    let own = ["-s", "B", "--label", "team=blue", "--label", "program=nightly import"];
    let process = run(&server, &[&own, &command[..]].concat()).start();
    process.stdout.line("ready");
    let labels = holder(&server, "B")["labels"].clone();
    assert_eq!((&labels["program"], &labels["team"]), (&json!("nightly import"), &json!("blue")));
    assert!(labels["host"].is_string());

    let nothing_else = ["-s", "a name", "--no-labels", "--label", "team=blue"];
    let process = run(&server, &[&nothing_else, &command[..]].concat()).start();
    process.stdout.line("ready");
    assert_eq!(holder(&server, "a%20name")["labels"], json!({"team": "blue"}));

    // As peers shows a label, and as it takes one.
    let process = run(&server, &[&["-s", "B", "--label", "team:red=er"], &command[..]].concat()).start();
    process.stdout.line("ready");
    let found = server.get("/v1/peers?label=team:red%3Der").shape(200);
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1), "{found}");

    let (code, _, stderr) = run(&server, &["-s", "A", "--label", "=b", "true"]).run();
    assert_eq!(code, 2);
    assert!(stderr.contains("the key is missing"), "{stderr}");
}

/// The rule that the Python client and watch have, too.
#[test]
fn the_user_is_found_also_where_no_variable_tells() {
    let server = Server::start(SEMAPHORES);
    let id = std::process::Command::new("id").arg("-un").output().expect("id runs");
    let name = String::from_utf8(id.stdout).expect("text");
    let command = ["-s", "B", "--", "/bin/sh", "-c", "echo ready; sleep 60"];
    for (variables, expected) in
        [([("USER", ""), ("LOGNAME", "joe")], "joe"), ([("USER", ""), ("LOGNAME", "")], name.trim())]
    {
        let launch = run(&server, &command);
        let launch = variables.into_iter().fold(launch, |launch, (name, value)| launch.env(name, value));
        let process = launch.start();
        process.stdout.line("ready");
        assert_eq!(holder(&server, "B")["labels"]["user"], expected);
        drop(process);
        let gone = holder(&server, "B")["peer"].clone();
        server.delete(&format!("/v1/peers/{}", gone.as_str().expect("an id"))).is_empty();
    }
}

#[test]
fn the_higher_priority_goes_first() {
    let server = Server::start(SEMAPHORES);
    let holder = server.holder("A", 1, "1h");
    let start = |count: u32, arguments: &[&str]| {
        let process =
            run(&server, &[&["-s", "A"], arguments, &["--", "sh", "-c", "echo ran; sleep 60"]].concat());
        let process = process.start();
        server.until_waiting("A", count);
        process
    };
    let _later = [start(1, &[]), start(2, &["--priority", "-1"])];
    let urgent = start(3, &["--priority", "2"]);
    server.release(holder, "A");
    urgent.stdout.line("ran");
    server.until_waiting("A", 2);
}

#[test]
fn several_semaphores_are_had_at_once_or_not_at_all() {
    let server = Server::start(SEMAPHORES);
    let holder = server.holder("A", 1, "1h");
    // From low levels to high ones: one after the other they would be refused.
    let mut process = run(&server, &["-s", "A", "-s", "B", "-n", "2", "--", "echo", "ran"]).start();
    server.until_waiting("A", 1);
    assert_eq!(server.remainder("B"), 3, "it holds nothing while it waits");
    server.release(holder, "A");
    process.stdout.line("ran");
    assert_eq!(process.wait().code(), Some(0));
    assert_eq!((server.remainder("A"), server.remainder("B")), (1, 3));
}
