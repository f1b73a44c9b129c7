use std::{
    io::Write as _,
    process::{Command, Stdio},
    thread,
};

use super::{SEMAPHORES, run};
use crate::support::Server;

#[test]
fn standard_input_and_output_are_the_command_s_own() {
    let server = Server::start(SEMAPHORES);
    let mut child = Command::new(env!("CARGO_BIN_EXE_throttle"))
        .args(["run", "--url", &format!("127.0.0.1:{}", server.port), "--semaphore", "A", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let bytes: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let (mut stdin, sent) = (child.stdin.take().expect("piped"), bytes.clone());
    let writer = thread::spawn(move || stdin.write_all(&sent));
    let output = child.wait_with_output().expect("ended");
    writer.join().expect("no panic").expect("taken");
    assert!(output.stdout == bytes, "other bytes came out than went in");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn the_environment_names_the_tokens_and_the_peer() {
    let server = Server::start(SEMAPHORES);
    let arguments = ["-s", "a name", "-n", "2", "-s", "B", "-s", "A", "sh", "-c", "env; echo ready; read x"];
    let launch = run(&server, &arguments).env("THROTTLE_FENCING_TOKEN", "of a lock around this one");
    let mut process = launch.start();
    process.stdout.line("ready");
    process.wait();
    let lines = process.stdout.all();
    let value = |name: &str| {
        let found = lines.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("no {name} in {lines:#?}"))
    };
    let tokens: serde_json::Value = serde_json::from_str(value("THROTTLE_FENCING_TOKENS")).expect("JSON");
    let names: Vec<_> = tokens.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(names, ["A", "B", "a name"]);
    assert_eq!(tokens["a name"], value("THROTTLE_FENCING_TOKEN"));
    assert_ne!(tokens["a name"], tokens["A"]);
    value("THROTTLE_PEER_ID").parse::<u64>().expect("an id");
}

#[test]
fn the_counts_are_held_while_it_runs() {
    let server = Server::start(SEMAPHORES);
    let process =
        run(&server, &["-s", "a name", "-n", "2", "-s", "B", "sh", "-c", "echo ready; sleep 60"]).start();
    process.stdout.line("ready");
    assert_eq!((server.remainder("a+name"), server.remainder("B"), server.remainder("A")), (0, 2, 1));
}
