//! The subcommands of an operator, against a real server.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Launch, Server};

/// Runs a subcommand against a server: its exit code, standard output and standard error.
fn throttle(server: &Server, arguments: &[&str]) -> (i32, String, String) {
    Launch::new(arguments).env("THROTTLE_URL", &format!("http://127.0.0.1:{}", server.port)).run()
}

/// What it writes, if all went well.
#[track_caller]
fn said(server: &Server, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = throttle(server, arguments);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    stdout
}

fn json_of(server: &Server, arguments: &[&str]) -> Value {
    serde_json::from_str(&said(server, &[arguments, &["-o", "json"]].concat())).expect("JSON")
}

#[test]
fn status_shows_the_semaphores() {
    let server = Server::start("[semaphores]\nA = 2\nlong_name = 1\n'b/c' = 3");
    server.holder("A", 2, "5m");
    let waiter = server.peer("5m");
    assert_eq!(server.lock(waiter, "A", 1).status, 202);
    let table = said(&server, &["status"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "SEMAPHORE  MAX  ACQUIRED  PENDING  WAITING  LONGEST WAIT  ORIGIN");
    assert!(lines[1].starts_with("A          2    2         1        1        "), "{table}");
    assert_eq!(lines.len(), 4);
    assert_eq!(said(&server, &["status", "b/c"]).lines().count(), 2);
    assert_eq!(json_of(&server, &["status", "A"])["items"][0]["holders_total"], 1);
    assert_eq!(json_of(&server, &["status"])["items"].as_array().expect("a list").len(), 3);
    assert!(said(&server, &["status", "--limit", "2"]).contains("There are more"));
    let (code, _, stderr) = throttle(&server, &["status", "a"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("No semaphore is called \"a\"") && stderr.contains("near"), "{stderr}");
}

#[test]
fn status_can_be_watched() {
    let server = Server::start("[semaphores]\nA = 1");
    let url = format!("http://127.0.0.1:{}", server.port);
    let watch = Launch::new(&["status", "--watch"]).env("THROTTLE_URL", &url).start();
    watch.stdout.line("A          1    0");
    server.holder("A", 1, "5m");
    watch.stdout.line("A          1    1");
}

#[test]
fn peers_are_shown_and_released_with_a_reason() {
    let server = Server::start("[semaphores]\nA = 1\nB = 1");
    let labels = json!({"host": "w1\u{1b}[31m", "pid": "7"});
    let body = json!({"locks": {"A": 1}, "expires_in": "5m", "labels": labels});
    let holder = server.post("/v1/locks", &body.to_string()).shape(201);
    let id = holder["id"].as_str().expect("an id");
    let waiter = server.peer("5m");
    assert_eq!(server.lock(waiter, "A", 1).status, 202);
    let table = said(&server, &["peers"]);
    assert!(table.starts_with("PEER  "), "{table}");
    assert!(table.contains("A=1") && table.contains("A=1 (place 1)"), "{table}");
    assert!(table.contains("host:w1\\u{1b}[31m pid:7"), "signs that steer a terminal are escaped: {table}");
    assert_eq!(said(&server, &["peers", "--label", "pid:7"]).lines().count(), 2);
    assert_eq!(said(&server, &["peers", "--semaphore", "B"]).lines().count(), 1);
    assert_eq!(json_of(&server, &["peers", "--label", "pid:7"])["items"][0]["id"], id);

    let answer = said(&server, &["release", id, "--reason", "stuck since noon"]);
    assert_eq!(answer, format!("Peer {id} is released."));
    let detail = server.get(&format!("/v1/peers/{id}")).problem(410, "peer_gone");
    assert!(detail.contains("stuck since noon"), "{detail}");
    assert!(server.get(&format!("/peers/{waiter}/is_acquired")).text() == "true", "the next one has it");
    let (code, stdout, stderr) = throttle(&server, &["release", id]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("was released by an operator"), "{stderr}");
}

#[test]
fn semaphores_are_set_and_removed() {
    let server = Server::start("[semaphores]\nA = 1");
    let set = |arguments: &[&str]| json_of(&server, &[&["semaphore", "set"], arguments].concat());
    let made = set(&["B", "--max", "3", "--level", "-2", "--per", "1s"]);
    assert_eq!((&made["max"], &made["level"], &made["per"]), (&json!(3), &json!(-2), &json!("1s")));
    let changed = set(&["B", "--max", "0"]);
    assert_eq!((&changed["max"], &changed["level"]), (&json!(0), &json!(-2)), "what is not named stays");
    let changed = set(&["B", "--per", "none", "--deadlock", "detect"]);
    assert_eq!((&changed["per"], &changed["deadlock"]), (&Value::Null, &json!("detect")));
    assert_eq!(throttle(&server, &["semaphore", "set", "C", "--level", "1"]).0, 1, "a new one needs a max");
    assert_eq!(throttle(&server, &["semaphore", "set", "A"]).0, 1);
    assert_eq!(throttle(&server, &["semaphore", "set", "A", "--max=-1"]).0, 1);

    server.holder("A", 1, "5m");
    let (code, _, stderr) = throttle(&server, &["semaphore", "rm", "A"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("in use by 1 locks"), "{stderr}");
    assert_eq!(said(&server, &["semaphore", "rm", "A", "--force"]), "Semaphore \"A\" is removed.");
    server.get("/v1/semaphores/A").problem(404, "unknown_semaphore");
}

#[test]
fn the_file_is_read_again() {
    let launch = Launch::new(&["--port", "0"]).file("[semaphores]\nA = 1").env("THROTTLE_LOG", "info");
    let file = launch.path("throttle.toml");
    let server = Server::launch(launch);
    fs::write(&file, "[semaphores]\nB = 1\n[queue]\nageing_step = '5m'").expect("written");
    let answer = said(&server, &["reload"]);
    assert_eq!(
        answer,
        "Added: B; changed: none; removed: A. Needs a restart: queue. \
         Warning: 1 of 1 semaphores of the configuration are removed: \"A\"."
    );
    fs::write(&file, "[semaphores]\nB = x").expect("written");
    assert_eq!(throttle(&server, &["reload"]).0, 1);
}

#[test]
fn a_server_out_of_reach_has_an_exit_code_of_its_own() {
    let url = format!("http://127.0.0.1:{}", crate::support::free_port());
    let (code, stdout, stderr) = Launch::new(&["status", "--url", &url]).run();
    assert_eq!((code, stdout.as_str()), (69, ""));
    assert!(stderr.contains(&url), "{stderr}");
}
