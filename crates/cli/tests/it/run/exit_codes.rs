use serde_json::json;

use super::{SEMAPHORES, run, run_at};
use crate::support::{Launch, Server, free_port};

#[test]
fn the_command_s_own_is_passed_on() {
    let server = Server::start(SEMAPHORES);
    for (script, expected) in [("true", 0), ("exit 7", 7), ("kill -KILL $$", 137), ("kill -TERM $$", 143)] {
        let (code, stdout, stderr) = run(&server, &["--semaphore", "A", "--", "sh", "-c", script]).run();
        assert_eq!((code, &*stdout, &*stderr), (expected, "", ""), "{script}");
        assert_eq!(server.remainder("A"), 1, "released");
    }
}

#[test]
fn a_command_that_cannot_be_run_is_told_as_by_a_shell() {
    let server = Server::start(SEMAPHORES);
    for (command, expected) in
        [("/no/such/command", 127), ("no-such-command", 127), ("/", 126), ("./file", 126)]
    {
        let launch = run(&server, &["--semaphore", "A", command]);
        std::fs::write(launch.path("file"), "no program").expect("written");
        let (code, _, stderr) = launch.run();
        assert_eq!(code, expected, "{stderr}");
        assert!(stderr.starts_with(&format!("throttle run: {command}: ")), "{stderr}");
        assert_eq!(server.remainder("A"), 1, "released");
    }
}

#[test]
fn a_lock_that_is_not_granted_in_time() {
    let server = Server::start(SEMAPHORES);
    let holder = server.holder("A", 1, "1h");
    for (arguments, expected) in [
        (&["--try"] as &[_], 75),
        (&["--wait", "100ms"], 75),
        (&["--try", "-E", "9"], 9),
        (&["--try", "--conflict-exit-code", "0"], 0),
    ] {
        let all = [&["--semaphore", "A"], arguments, &["--", "echo", "ran"]].concat();
        let (code, stdout, stderr) = run(&server, &all).run();
        assert_eq!((code, &*stdout), (expected, ""), "{stderr}");
        assert!(stderr.contains("was not granted in time"), "{stderr}");
        let why = format!(": its place in the queue was 1; \"A\" is held by peer {holder}");
        assert!(stderr.ends_with(&why), "{stderr}");
        server.until_waiting("A", 0);
    }
}

#[test]
fn of_a_pause_and_a_rate_a_command_says_that_nobody_holds_it_up() {
    let server = Server::start("[semaphores]\nA = 0");
    let (code, _, stderr) = run(&server, &["-s", "A", "--try", "--", "echo", "ran"]).run();
    assert_eq!(code, 75);
    assert!(stderr.ends_with(": its place in the queue was 1; \"A\" is paused"), "{stderr}");
    let server = Server::start("[semaphores]\nA = { max = 1, per = '1h' }");
    let holder = server.v1_holder(&json!({"A": 1}));
    server.delete(&format!("/v1/peers/{holder}")).is_empty();
    let (code, _, stderr) = run(&server, &["-s", "A", "--try", "--", "echo", "ran"]).run();
    assert_eq!(code, 75);
    assert!(stderr.contains("was 1; \"A\" is held back by its rate until 2"), "{stderr}");
}

#[test]
fn what_the_server_refuses() {
    let server = Server::start(SEMAPHORES);
    for (arguments, expected) in [
        (&["-s", "Z"] as &[_], "No semaphore is called \"Z\""),
        (&["-s", "B", "-n", "4"], "never be granted"),
    ] {
        let (code, stdout, stderr) = run(&server, &[arguments, &["--", "echo", "ran"]].concat()).run();
        assert_eq!((code, &*stdout), (69, ""), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }
}

#[test]
fn a_server_out_of_reach() {
    let (code, stdout, stderr) = run_at(free_port(), &["-s", "A", "--try", "echo", "ran"]).run();
    assert_eq!((code, &*stdout), (69, ""), "{stderr}");
    assert!(stderr.contains("no connection to the server"), "{stderr}");
}

/// Nothing listens where the proxy should be. The server is not to blame: it was not asked.
#[test]
fn a_proxy_that_is_out_of_reach_is_named() {
    let dead = format!("http://127.0.0.1:{}", free_port());
    for command in [&["run", "-s", "A", "--try", "--", "true"] as &[_], &["status"]] {
        let launch = Launch::new(command).env("THROTTLE_URL", "http://throttle.invalid:8000");
        let (code, _, stderr) = launch.env("HTTP_PROXY", &dead).run();
        assert_eq!(code, 69, "{stderr}");
        let expected =
            format!("no connection to the proxy {dead} (HTTP_PROXY); the server itself was not asked");
        assert!(stderr.contains(&expected), "{stderr}");
    }
}
