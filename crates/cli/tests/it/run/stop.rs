use std::fs::File;

use rustix::process::{Pid, Signal, test_kill_process};

use super::{SEMAPHORES, run, waits_for};
use crate::support::{Process, Server, Terminal, until};

/// Says that it runs, and after SIGTERM ends when the FIFO `end` is opened for writing. It waits for a signal that is
/// blocked, so that none can come between two steps.
const WORKER: &str = "import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
print('working', os.getppid(), flush=True)
signal.sigwait({signal.SIGTERM})
print('stopping', flush=True)
open('end').read()";

fn worker(server: &Server, arguments: &[&str], script: &str) -> (Process, std::path::PathBuf) {
    let launch = run(server, &[&["-s", "A"], arguments, &["--", "sh", "-c", script]].concat());
    let path = launch.path("");
    std::fs::write(path.join("w.py"), WORKER).expect("written");
    let made = std::process::Command::new("mkfifo").arg(path.join("end")).status();
    assert!(made.expect("mkfifo").success());
    (launch.start(), path)
}

/// The process whose number is the last word of a line.
fn process(line: &str) -> Pid {
    let number = line.split(' ').next_back().and_then(|word| word.parse().ok());
    number.and_then(Pid::from_raw).expect("a process id")
}

fn until_gone(process: Pid) {
    until("a process is gone", || test_kill_process(process).is_err());
}

#[test]
fn nobody_gets_the_lock_before_all_of_the_group_has_ended() {
    let server = Server::start(SEMAPHORES);
    let (mut first, path) = worker(&server, &[], "python3 w.py; echo after");
    let shell = process(&first.stdout.line("working"));
    first.signal(Signal::TERM);
    first.stdout.line("stopping");
    until_gone(shell);
    let other = || run(&server, &["--try", "-s", "A", "--", "true"]).start().wait().code();
    assert_eq!((other(), server.remainder("A")), (Some(75), 0));
    // A second signal changes nothing.
    first.signal(Signal::TERM);
    assert_eq!(other(), Some(75));
    drop(File::options().write(true).open(path.join("end")).expect("a reader"));
    assert_eq!(first.wait().code(), Some(143), "that of the command");
    assert_eq!((other(), server.remainder("A")), (Some(0), 1));
    assert_eq!(first.stderr.all(), [""; 0], "it was asked to stop, so nothing is left behind");
}

#[test]
fn what_does_not_end_in_time_is_killed() {
    let server = Server::start(SEMAPHORES);
    let ignoring = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
    for (script, code) in [(ignoring.to_owned(), 137), (format!("({ignoring}) & wait"), 143)] {
        for signal in [Signal::TERM, Signal::INT] {
            let script = script.replace("TERM", if signal == Signal::TERM { "TERM" } else { "INT" });
            let arguments = ["-s", "A", "--stop-timeout", "100ms", "--", "sh", "-c", &script];
            let mut process = run(&server, &arguments).start();
            process.stdout.line("ready");
            process.signal(signal);
            let code = if code == 143 && signal == Signal::INT { 130 } else { code };
            assert_eq!(process.wait().code(), Some(code), "{script}");
            // This waits for the end of all who could write.
            process.stdout.all();
            assert_eq!(server.remainder("A"), 1);
        }
    }
}

#[test]
fn a_hangup_and_the_signals_of_users_do_not_ask_it_to_end() {
    let server = Server::start(SEMAPHORES);
    for (signal, name) in [(Signal::HUP, "HUP"), (Signal::USR1, "USR1"), (Signal::USR2, "USR2")] {
        let arguments = ["-s", "A", "--stop-timeout", "0s", "--", "python3", "-c", &waits_for(name)];
        let mut process = run(&server, &arguments).stdin(std::process::Stdio::piped()).start();
        process.stdout.line("ready");
        process.signal(signal);
        process.stdout.line("got it");
        process.close_stdin();
        assert_eq!(process.wait().code(), Some(5), "{name}");
    }
}

#[test]
fn processes_left_behind_keep_the_lock_and_are_told_of() {
    let server = Server::start(SEMAPHORES);
    // It ends when its standard input does, which is when the test drops the other end.
    let (input, held) = std::io::pipe().expect("a pipe");
    let launch = run(&server, &["-s", "A", "--", "sh", "-c", "exec 3<&0; cat <&3 >/dev/null 2>&1 & exit 3"]);
    let mut process = launch.stdin(input).start();
    process.stderr.line("left processes behind");
    assert_eq!(server.remainder("A"), 0);
    drop(held);
    assert_eq!(process.wait().code(), Some(3));
    assert_eq!(server.remainder("A"), 1);
}

#[test]
fn processes_left_behind_are_stopped_by_a_signal() {
    let server = Server::start(SEMAPHORES);
    let (mut process, path) = worker(&server, &[], "python3 w.py & exit 3");
    process.stdout.line("working");
    process.stderr.line("left processes behind");
    process.signal(Signal::TERM);
    process.stdout.line("stopping");
    drop(File::options().write(true).open(path.join("end")).expect("a reader"));
    assert_eq!(process.wait().code(), Some(3));
}

#[test]
fn what_is_stopped_goes_on_to_end() {
    let server = Server::start(SEMAPHORES);
    // The shell is not stopped, so that nobody notices. Only one of its waits is interrupted.
    let script = "trap 'echo told' TERM
        sh -c 'trap \"echo went on; exit\" TERM; echo stopped $$; kill -STOP $$' & wait; wait; exit 5";
    let mut process = run(&server, &["-s", "A", "--", "bash", "-c", script]).start();
    let stopped = self::process(&process.stdout.line("stopped"));
    until("it is stopped", || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", stopped.as_raw_nonzero()));
        !cfg!(target_os = "linux") || stat.is_ok_and(|stat| stat.contains(") T "))
    });
    process.signal(Signal::TERM);
    process.stdout.line("told");
    process.stdout.line("went on");
    assert_eq!(process.wait().code(), Some(5));
}

#[test]
fn a_lock_that_is_lost_while_it_stops_is_still_a_loss() {
    let server = Server::start(SEMAPHORES);
    let (mut process, _) =
        worker(&server, &["--ttl", "3s"], "echo $THROTTLE_PEER_ID > peer; python3 w.py; echo after");
    process.stdout.line("working");
    let peer = server.holder_of("A");
    process.signal(Signal::TERM);
    process.stdout.line("stopping");
    server.delete(&format!("/v1/peers/{peer}?reason=stuck")).is_empty();
    assert_eq!(process.wait().code(), Some(76));
    process.stderr.line("stuck");
}

#[test]
fn ctrl_z_suspends_what_was_left_behind_too() {
    let server = Server::start(SEMAPHORES);
    let mut terminal = Terminal::open(&server, &["bash", "--norc", "--noprofile", "-i"]);
    terminal.press(&format!(
        "{} run -s A --stop-timeout 100ms -- sh -c '(trap \"echo go\"\"es on\" CONT; while :; do sleep 0.05; done) & echo lea\"\"ves'\n",
        env!("CARGO_BIN_EXE_throttle")
    ));
    terminal.see("leaves");
    terminal.see("left processes behind");
    terminal.press("\x1a");
    terminal.see("Stopped");
    terminal.press("fg\n");
    // Only then Ctrl+C reaches it, and not the shell.
    terminal.see("goes on");
    terminal.press("\x03");
    terminal.press("echo co''de $?\n");
    terminal.see("code 0");
    assert_eq!(server.remainder("A"), 1);
    terminal.press("exit\n");
}
