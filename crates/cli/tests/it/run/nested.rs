//! `throttle run` within `throttle run`.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use super::run;
use crate::support::{Launch, Process, Server};

const THROTTLE: &str = env!("CARGO_BIN_EXE_throttle");

const SEMAPHORES: &str = r#"[semaphores]
low = 1
mid = { max = 3, level = 1 }
high = { max = 3, level = 2 }
x = { max = 1, deadlock = "detect" }
y = { max = 1, deadlock = "detect" }"#;

/// `throttle run` with these arguments around a shell that knows `$T`, the program, and reads from a pipe.
fn outer(server: &Server, arguments: &[&str], script: &str) -> Process {
    let all = [arguments, &["--", "sh", "-c", script]].concat();
    run(server, &all).env("T", THROTTLE).stdin(Stdio::piped()).start()
}

fn number(line: &str) -> u64 {
    line.split(' ').next_back().and_then(|word| word.parse().ok()).expect("a number")
}

#[test]
fn a_lock_that_the_outer_one_holds_is_had_at_once_and_stays_the_outer_one_s() {
    let server = Server::start(SEMAPHORES);
    let script = "echo outer $THROTTLE_PEER_ID $THROTTLE_FENCING_TOKEN
        $T run -s low -- sh -c 'echo inner $THROTTLE_PEER_ID $THROTTLE_FENCING_TOKEN'; echo code $?; read x";
    let mut process = outer(&server, &["-s", "low"], script);
    process.stdout.line("code 0");
    let told = |who: &str| process.stdout.line(who).split_once(' ').expect("two words").1.to_owned();
    assert_eq!(told("outer"), told("inner"), "the same peer and token");
    assert_eq!(server.remainder("low"), 0);
    process.close_stdin();
    process.wait();
    assert_eq!(server.remainder("low"), 1);
    assert_eq!(process.stderr.all(), [""; 0]);
}

#[test]
fn a_smaller_count_shrinks_nothing_and_a_larger_one_is_refused() {
    let server = Server::start(SEMAPHORES);
    let script = "$T run -s mid -- sh -c 'echo inside; read x'
        $T run -s mid -n 3 -- true; echo code $?; read x";
    let mut process = outer(&server, &["-s", "mid", "-n", "2"], script);
    process.stdout.line("inside");
    assert_eq!(server.remainder("mid"), 1);
    process.write_line();
    process.stdout.line("code 69");
    process.stderr.line(
        "\"mid\" is held with count 2 by a lock around this process, so a count of 3 would wait for what",
    );
    assert_eq!(server.remainder("mid"), 1);
}

#[test]
fn an_inner_one_releases_its_own_lock_only() {
    let server = Server::start(SEMAPHORES);
    let script =
        "$T run -s low -s mid -- sh -c 'echo tokens $THROTTLE_FENCING_TOKENS; read x'; echo code $?; read x";
    let mut process = outer(&server, &["-s", "mid"], script);
    let tokens = process.stdout.line("tokens");
    assert!(tokens.contains("\"low\":") && tokens.contains("\"mid\":"), "{tokens}");
    assert_eq!(server.holder_of("low"), server.holder_of("mid"));
    process.write_line();
    process.stdout.line("code 0");
    assert_eq!((server.remainder("low"), server.remainder("mid")), (1, 2));
}

#[test]
fn levels_count_unless_a_new_peer_is_asked_for() {
    let server = Server::start(SEMAPHORES);
    let script = "$T run -s mid -- true; echo shared $?; $T run --new-peer -s mid -- true; echo new $?";
    let mut process = outer(&server, &["-s", "low"], script);
    process.stdout.line("shared 69");
    process.stderr.line("Take locks from high to low levels");
    process.stdout.line("new 0");
    process.wait();
}

#[test]
fn one_that_waits_for_the_lock_around_it_says_so() {
    let server = Server::start(SEMAPHORES);
    let script =
        "$T run --new-peer --try -s low -- true; echo run $?; $T acquire --try -s low; echo acquire $?";
    let mut process = outer(&server, &["-s", "low"], script);
    process.stdout.line("acquire 75");
    let said = "is that of a lock around this process: it waits for what it holds itself";
    process.stderr.until(said, 2);
    process.wait();
}

#[test]
fn a_deadlock_is_found() {
    let server = Server::start(SEMAPHORES);
    let mut process = outer(&server, &["-s", "x"], "echo ready; read x; $T run -s y -- true; echo code $?");
    process.stdout.line("ready");
    let other = server.holder("y", 1, "1h");
    let waiting = server.wait_for(other, "x", "block_for=1h");
    process.write_line();
    process.stdout.line("code 69");
    process.stderr.line("would wait for ever");
    drop(waiting);
}

#[test]
fn each_of_three_finds_what_is_held_around_it() {
    let server = Server::start(SEMAPHORES);
    let script = "$T run -s mid -- $T run -s low -- sh -c '
        for name in high mid low; do $T run -s $name -- echo has $name || exit; done'; echo code $?";
    let mut process = outer(&server, &["-s", "high", "-n", "3"], script);
    process.stdout.line("code 0");
    process.stdout.line("has high");
    process.stdout.line("has low");
    process.wait();
    assert_eq!((server.remainder("high"), server.remainder("mid"), server.remainder("low")), (3, 3, 1));
}

#[test]
fn two_side_by_side_exclude_each_other_and_both_find_what_is_around_them() {
    let server = Server::start(SEMAPHORES);
    // Each of them has the lock around them, too, and so has one within.
    let inner =
        "$T run -s low -s high -- sh -c 'echo in $THROTTLE_PEER_ID; read x; $T run -s high -- echo within'";
    let script = format!("exec 3<&0; {inner} <&3 & {inner} <&3 & wait; echo done");
    let mut process = outer(&server, &["-s", "high", "-n", "3"], &script);
    process.stdout.line("in ");
    server.until_waiting("low", 1);
    process.write_line();
    process.stdout.until("in ", 2);
    process.write_line();
    process.stdout.until("within", 2);
    process.stdout.line("done");
    process.wait();
    assert_eq!((server.remainder("low"), server.remainder("high")), (1, 3));
    assert_eq!(process.stderr.all(), [""; 0]);
}

#[test]
fn one_that_is_interrupted_while_it_waits_withdraws_its_request() {
    let server = Server::start(SEMAPHORES);
    server.holder("low", 1, "1h");
    let script = "$T run -s low -- echo ran & echo inner $!; wait $!; echo code $?; read x";
    let process = outer(&server, &["-s", "mid"], script);
    let inner = number(&process.stdout.line("inner"));
    server.until_waiting("low", 1);
    kill(inner, Signal::TERM);
    process.stdout.line("code 143");
    server.until_waiting("low", 0);
    assert_eq!(server.remainder("mid"), 2);
}

#[test]
fn what_a_killed_one_held_comes_free_while_the_outer_one_goes_on() {
    let server = Server::start(SEMAPHORES);
    let script = "$T run -s low -- sleep 60 & echo inner $!; read x";
    let mut process = outer(&server, &["-s", "mid", "--ttl", "3s"], script);
    let inner = number(&process.stdout.line("inner"));
    server.until_metric("throttle_acquired{semaphore=\"low\"}", 1.0);
    let other = server.peer("1h");
    let mut waiting = server.wait_for(other, "low", "block_for=1h");
    kill(inner, Signal::KILL);
    assert_eq!(waiting.answer().status, 200);
    assert_eq!(server.remainder("mid"), 2);
    process.close_stdin();
    assert_eq!(process.wait().code(), Some(1));
}

#[test]
fn its_own_time_changes_nothing_of_the_outer_lease() {
    let server = Server::start(SEMAPHORES);
    let script = "$T run --ttl 1s -s low -- sh -c 'echo inside; read x'";
    let process = outer(&server, &["-s", "mid", "--ttl", "1h"], script);
    process.stdout.line("inside");
    let peer = server.get(&format!("/v1/peers/{}", server.holder_of("low"))).json();
    let time = |key: &str| humantime::parse_rfc3339(peer[key].as_str().expect("a time")).expect("RFC 3339");
    let length = time("expires_at").duration_since(time("created_at")).expect("later");
    assert!(length.as_secs() >= 3600, "{length:?}");
}

#[test]
fn the_end_of_the_outer_one_is_a_loss() {
    let server = Server::start(SEMAPHORES);
    // In a session of its own, so that the outer one does not wait for it, nor pass signals on to it.
    let script = "setsid $T run -s low -- sh -c 'echo inside; exec sleep 60' & read x";
    let mut process = outer(&server, &["-s", "mid", "--ttl", "3s"], script);
    process.stdout.line("inside");
    process.close_stdin();
    assert_eq!(process.wait().code(), Some(1));
    process.stderr.line("throttle run: lost the lock on \"low\"");
    assert_eq!((server.remainder("low"), server.remainder("mid")), (1, 3));
}

#[test]
fn what_is_taken_from_the_outer_one_is_a_loss_for_the_inner_one() {
    let server = Server::start(SEMAPHORES);
    let script = "setsid $T run -s mid -- sh -c 'echo inside; exec sleep 60'; echo code $?; read x";
    let mut process = outer(&server, &["-s", "mid", "--ttl", "3s"], script);
    process.stdout.line("inside");
    let peer = server.holder_of("mid");
    server.delete(&format!("/v1/peers/{peer}?reason=stuck")).is_empty();
    assert_eq!(process.wait().code(), Some(76));
    // Of both.
    process.stderr.until("stuck", 2);
}

#[test]
fn a_server_that_forgot_everything_gets_all_back() {
    // The second has nothing that is not held around it.
    for (inner, held) in [("low", &["low", "mid"] as &[_]), ("mid", &["mid"])] {
        let server = Server::start(SEMAPHORES);
        let script = format!("$T run -s {inner} -- sh -c 'echo inside; read x'; echo code $?");
        let mut process = outer(&server, &["-s", "mid", "--ttl", "12s"], &script);
        process.stdout.line("inside");
        let (peer, port) = (server.holder_of(inner), server.port.to_string());
        drop(server);
        // Back before a lease of this length can end.
        let again = Launch::new(&["--port", &port]).file(SEMAPHORES).env("THROTTLE_LOG", "info");
        let server = Server::launch(again);
        for semaphore in held {
            server.until_metric(&format!("throttle_acquired{{semaphore=\"{semaphore}\"}}"), 1.0);
            assert_eq!(server.holder_of(semaphore), peer);
        }
        process.write_line();
        process.stdout.line("code 0");
        assert!(process.wait().success());
        assert_eq!((server.remainder("low"), server.remainder("mid")), (1, 3));
        assert_eq!(process.stderr.all(), [""; 0]);
    }
}

/// What leans on a lock around it hands on no right to ask in the name of its peer: another may use that.
#[test]
fn one_within_one_that_leans_does_not_take_what_a_sibling_holds() {
    let server = Server::start(SEMAPHORES);
    let inner = "$T run -s low -- sh -c 'echo in; read x'";
    let script = format!("exec 3<&0; {inner} <&3 & $T run -s mid -- {inner} <&3 & wait; echo done");
    let mut process = outer(&server, &["-s", "mid"], &script);
    process.stdout.line("in");
    // The other one waits for it.
    server.until_waiting("low", 1);
    process.write_line();
    process.stdout.until("in", 2);
    process.write_line();
    process.stdout.line("done");
    process.wait();
    assert_eq!((server.remainder("low"), server.remainder("mid")), (1, 3));
}

/// `throttle run` in an environment as an outer one has it.
fn in_environment(server: &Server, peer: u64, url: &str) -> Launch {
    let script = "echo peer $THROTTLE_PEER_ID";
    let launch = run(server, &["-s", "low", "--", "sh", "-c", script]);
    launch
        .env("THROTTLE_PEER_ID", &peer.to_string())
        .env("THROTTLE_PEER_TTL_MS", "60000")
        .env("THROTTLE_PEER_URL", url)
}

#[test]
fn a_peer_that_is_gone_is_told_of_and_one_of_another_server_is_not() {
    let (server, another) = (Server::start(SEMAPHORES), Server::start(SEMAPHORES));
    let here = format!("http://127.0.0.1:{}", server.port);
    let there = format!("http://127.0.0.1:{}", another.port);
    let (code, out, err) = in_environment(&server, 42, &here).run();
    assert_eq!(code, 0);
    assert_ne!(out, "peer 42");
    assert!(
        err.starts_with(&format!("throttle run: peer 42 at {here}, which THROTTLE_PEER_ID names")),
        "{err}"
    );
    let (code, out, err) = in_environment(&server, another.peer("1h"), &there).run();
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    // The same server by another name; what it holds is not known to be held around the process.
    let peer = server.holder("mid", 1, "1h");
    let (code, out, err) = in_environment(&server, peer, &there).run();
    assert_eq!((code, err.as_str()), (0, ""));
    assert_ne!(out, format!("peer {peer}"), "nothing says who else uses it");
    assert_eq!(server.remainder("mid"), 2);
}

fn kill(process: u64, signal: Signal) {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(process, signal).expect("it is there");
}
