use serde_json::json;

use super::{SEMAPHORES, run, run_at};
use crate::support::{Launch, Server, free_port, id};

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

#[test]
fn a_server_out_of_reach_is_told_while_it_is_tried_and_at_the_end() {
    for (command, rest) in [("run", &["true"] as &[_]), ("acquire", &[])] {
        let port = free_port();
        let arguments = [&[command, "-s", "A", "--wait", "8s"], rest];
        let url = format!("http://127.0.0.1:{port}");
        let (code, stdout, stderr) = Launch::new(&arguments.concat()).env("THROTTLE_URL", &url).run();
        assert_eq!((code, &*stdout), (69, ""), "{stderr}");
        let missing = format!("no connection to the server at {url}: connection refused");
        let lines: Vec<&str> = stderr.lines().collect();
        let [first, last] = lines[..] else { panic!("{stderr}") };
        let tried = format!("throttle {command}: {missing}. It is tried again and again, for ");
        assert!(first.starts_with(&tried) && first.ends_with("s more"), "{first}");
        assert!(last.contains(&missing), "{last}");
        let remedy = ". Is it running there? --url or THROTTLE_URL says where else to ask; a server has port 8000 unless it \
                      is told another";
        assert!(last.ends_with(remedy), "{last}");
    }
}

#[test]
fn a_name_that_nobody_knows_and_a_port_that_was_forgotten_are_told() {
    for (url, expected) in [
        (
            "http://throttle.invalid:8000",
            "at http://throttle.invalid:8000: its name is not known. Is the name right? --url",
        ),
        ("http://127.0.0.1", "and without a port in the URL it is 80 that is asked"),
    ] {
        let (code, _, stderr) = Launch::new(&["status"]).env("THROTTLE_URL", url).run();
        assert_eq!(code, 69, "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }
}

#[test]
fn all_that_was_missing_is_named() {
    let server = Server::start(SEMAPHORES);
    let holder = server.holder("A", 1, "1h");
    let other = server.holder("B", 3, "1h");
    let (code, _, stderr) = run(&server, &["-s", "A", "-s", "B", "-n", "2", "--try", "true"]).run();
    assert_eq!(code, 75, "{stderr}");
    assert!(stderr.contains("\"A\" (count 1) and \"B\" (count 2) were not granted in time by "), "{stderr}");
    let why = format!("\"A\" is held by peer {holder}; \"B\" is held by peer {other}");
    assert!(stderr.ends_with(&why), "{stderr}");
}

#[test]
fn a_wait_that_an_operator_ends_is_told_as_that() {
    let server = Server::start("[semaphores]\nA = 1\n't/*' = 1");
    // The request that makes the peer waits for a moment only, and is answered with 202. The next one is withdrawn.
    let until_blocked = |answers: u32| {
        server.until_metric("throttle_http_requests_total{code=\"202\",dialect=\"v1\"}", answers.into());
        server.until_metric("throttle_blocked_requests", 1.0);
    };
    for (answers, name, expected) in [
        (
            1,
            "A",
            "throttle run: the semaphore \"A\" was removed from the server while a lock on it was waited for",
        ),
        (
            2,
            "t/1",
            "throttle run: the wait for a lock on \"t/1\" was ended at the server: somebody withdrew the request, or \
                 removed a semaphore by force",
        ),
    ] {
        server.v1_holder(&json!({name: 1}));
        let mut process = run(&server, &["-s", name, "--", "echo", "ran"]).start();
        until_blocked(answers);
        let path = format!("/v1/semaphore?name={}&force=true", name.replace('/', "%2F"));
        server.delete(&path).is_empty();
        assert_eq!(process.wait().code(), Some(69));
        assert_eq!(process.stderr.all(), [expected]);
    }
    server.v1_holder(&json!({"t/2": 1}));
    let mut process = run(&server, &["-s", "t/2", "--", "echo", "ran"]).start();
    until_blocked(3);
    let peers = server.get("/v1/peers").json();
    let mut peers = peers["items"].as_array().into_iter().flatten();
    let waiter = id(peers.find(|peer| peer["pending"].is_object()).expect("who waits"));
    server.delete(&format!("/v1/peers/{waiter}?reason=stuck")).is_empty();
    assert_eq!(process.wait().code(), Some(69));
    process.stderr.line(&format!("throttle run: the wait for a lock was ended (peer {waiter} at "));
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
