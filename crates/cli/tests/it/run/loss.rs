use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::process::{Pid, Signal, test_kill_process};

use super::{SEMAPHORES, run, run_at};
use crate::support::{Proxy, Server, until};

/// Writes its peer id, then runs until it is killed, or for so long that nobody could overlook it.
const STUBBORN: &str = "trap '' TERM; echo $THROTTLE_PEER_ID; i=0
    while [ $i -lt 600 ]; do sleep 0.05; i=$((i + 1)); done; echo survived";

fn peer(line: &str) -> u64 {
    line.parse().expect("an id")
}

#[test]
fn an_operator_releases_the_lock() {
    let server = Server::start(SEMAPHORES);
    let script = "trap 'echo told; kill $!; exit 0' TERM; sleep 60 & echo $THROTTLE_PEER_ID; wait";
    for (arguments, code) in [(&[] as &[_], 76), (&["--lost-exit-code", "3"], 3)] {
        let all = [&["-s", "A", "--ttl", "1s"], arguments, &["--", "sh", "-c", script]].concat();
        let mut process = run(&server, &all).start();
        let peer = peer(&process.stdout.line(""));
        server.delete(&format!("/peers/{peer}")).is(200, "\"Peer released\"");
        process.stdout.line("told");
        assert_eq!(process.wait().code(), Some(code));
        process.stderr.line("throttle run: lost the lock on \"A\"");
    }
}

#[test]
fn the_operator_s_reason_is_shown() {
    let server = Server::start(SEMAPHORES);
    // Noticed by a renewal, and by the release at the end.
    for (ttl, script) in
        [("1s", "echo $THROTTLE_PEER_ID; exec sleep 60"), ("1h", "echo $THROTTLE_PEER_ID; read x")]
    {
        let launch = run(&server, &["-s", "A", "--ttl", ttl, "--", "sh", "-c", script]);
        let mut process = launch.stdin(std::process::Stdio::piped()).start();
        let peer = peer(&process.stdout.line(""));
        server.delete(&format!("/v1/peers/{peer}?reason=stuck+since+noon")).is_empty();
        process.close_stdin();
        assert_eq!(process.wait().code(), Some(76));
        process.stderr.line("stuck since noon");
    }
}

#[test]
fn a_command_that_ignores_sigterm_is_killed_with_its_children() {
    let server = Server::start(SEMAPHORES);
    let script = format!("({STUBBORN}) & {STUBBORN}");
    let leader_obeys = format!("({STUBBORN}) & sleep 60");
    for script in [script, leader_obeys] {
        let arguments = ["-s", "A", "--ttl", "1s", "--grace", "100ms", "--", "sh", "-c", &script];
        let mut process = run(&server, &arguments).start();
        let peer = peer(&process.stdout.line(""));
        server.delete(&format!("/peers/{peer}")).is(200, "\"Peer released\"");
        assert_eq!(process.wait().code(), Some(76));
        // This waits for the end of all who could write.
        assert!(!process.stdout.all().iter().any(|line| line == "survived"));
    }
}

#[test]
fn a_loss_that_nobody_could_notice_in_time_is_told_at_the_end() {
    let server = Server::start(SEMAPHORES);
    let mut process =
        run(&server, &["-s", "A", "--ttl", "1h", "--", "sh", "-c", "echo $THROTTLE_PEER_ID; read x"])
            .stdin(std::process::Stdio::piped())
            .start();
    let peer = peer(&process.stdout.line(""));
    server.delete(&format!("/peers/{peer}")).is(200, "\"Peer released\"");
    process.close_stdin();
    assert_eq!(process.wait().code(), Some(76));
}

#[test]
fn when_the_network_fails_it_is_dead_before_another_holds_the_lock() {
    let server = Server::start(SEMAPHORES);
    let proxy = Proxy::to(server.port);
    let script = "trap '' TERM; echo ready; while :; do date +%s%N >> times; sleep 0.01; done";
    let launch = run_at(proxy.port, &["-s", "A", "--ttl", "6s", "--", "sh", "-c", script]);
    let times = launch.path("times");
    let mut process = launch.start();
    process.stdout.line("ready");
    let other = server.peer("1h");
    let mut waiting = server.wait_for(other, "A", "block_for=1h");
    proxy.cut();
    assert_eq!(waiting.answer().status, 200);
    let granted = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
    assert_eq!(process.wait().code(), Some(76));
    let times = fs::read_to_string(times).expect("text");
    let last: u128 = times.lines().next_back().expect("a line").parse().expect("nanoseconds");
    assert!(last < granted, "written {} ms after the grant", last.saturating_sub(granted) / 1_000_000);
    process.stderr.line("no renewal reached the server");
}

#[test]
#[cfg(target_os = "linux")]
fn the_command_dies_with_throttle_run() {
    let server = Server::start(SEMAPHORES);
    let mut process = run(&server, &["-s", "A", "--ttl", "1s", "--", "sh", "-c", STUBBORN]).start();
    process.stdout.line("");
    let other = server.peer("1h");
    let mut waiting = server.wait_for(other, "A", "block_for=1h");
    process.signal(Signal::KILL);
    assert!(!process.stdout.all().iter().any(|line| line == "survived"));
    assert_eq!(waiting.answer().status, 200);
}

/// Leaves a process behind that is in a session of its own, and tells its number.
#[cfg(target_os = "linux")]
fn leaves_behind(script: &str) -> String {
    format!("(setsid sh -c '{script}' & echo left $!)\necho peer $THROTTLE_PEER_ID\nexec sleep 60")
}

#[cfg(target_os = "linux")]
#[test]
fn what_the_command_left_behind_ends_with_the_lock() {
    let server = Server::start(SEMAPHORES);
    for (script, grace) in
        [("exec sleep 600", "10s"), ("trap \"\" TERM; while :; do sleep 0.05; done", "100ms")]
    {
        let script = leaves_behind(script);
        let arguments = ["-s", "A", "--ttl", "1s", "--grace", grace, "--", "sh", "-c", &script];
        let mut process = run(&server, &arguments).start();
        let left = left(&process.stdout.line("left"));
        let peer = peer(process.stdout.line("peer").trim_start_matches("peer "));
        assert!(test_kill_process(left).is_ok(), "it goes on");
        server.delete(&format!("/peers/{peer}")).is(200, "\"Peer released\"");
        assert_eq!(process.wait().code(), Some(76));
        assert!(test_kill_process(left).is_err(), "it is gone, and waited for");
    }
}

/// The number of what was left behind.
#[cfg(target_os = "linux")]
fn left(line: &str) -> Pid {
    let number = line.strip_prefix("left ").and_then(|number| number.parse().ok());
    number.and_then(Pid::from_raw).expect("a process id")
}

/// What a container is like whose first process is `throttle run`: nobody else waits for those that are left behind.
#[cfg(target_os = "linux")]
#[test]
fn those_that_are_left_behind_and_end_are_waited_for() {
    let server = Server::start(SEMAPHORES);
    let script = leaves_behind("exit 3");
    let mut process = run(&server, &["-s", "A", "--", "sh", "-c", &script]).start();
    let left = left(&process.stdout.line("left"));
    until("it is waited for", || test_kill_process(left).is_err());
    process.signal(Signal::TERM);
    assert_eq!(process.wait().code(), Some(143));
}
