use std::process::Stdio;

use rustix::process::Signal;

use super::{SEMAPHORES, run, waits_for};
use crate::support::Server;

#[test]
fn each_is_passed_on_and_the_command_decides() {
    let server = Server::start(SEMAPHORES);
    for (signal, name) in [
        (Signal::HUP, "HUP"),
        (Signal::INT, "INT"),
        (Signal::QUIT, "QUIT"),
        (Signal::TERM, "TERM"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
    ] {
        let arguments = ["-s", "A", "--", "python3", "-c", &waits_for(name)];
        let mut process = run(&server, &arguments).stdin(Stdio::null()).start();
        process.stdout.line("ready");
        process.signal(signal);
        process.stdout.line("got it");
        assert_eq!(process.wait().code(), Some(5), "{name}");
        assert_eq!(server.remainder("A"), 1);
    }
}

#[test]
fn the_whole_group_gets_them() {
    let server = Server::start(SEMAPHORES);
    let script = "import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
child = os.fork()
if not child:
    print('ready', flush=True)
signal.sigwait({signal.SIGTERM})
print('leader' if child else 'background', flush=True)
os._exit(5)";
    let mut process = run(&server, &["-s", "A", "--", "python3", "-c", script]).start();
    process.stdout.line("ready");
    process.signal(Signal::TERM);
    process.stdout.line("background");
    process.stdout.line("leader");
    assert_eq!(process.wait().code(), Some(5));
}

#[test]
fn while_waiting_it_withdraws_and_runs_nothing() {
    let server = Server::start(SEMAPHORES);
    server.holder("A", 1, "1h");
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let mut process = run(&server, &["-s", "A", "--", "echo", "ran"]).start();
        server.until_waiting("A", 1);
        process.signal(signal);
        assert_eq!(process.wait().code(), Some(code));
        assert_eq!((process.stdout.all(), process.stderr.all()), (vec![], vec![]));
        server.until_waiting("A", 0);
    }
}

#[test]
fn what_was_ignored_stays_ignored() {
    let server = Server::start(SEMAPHORES);
    // As under nohup. The command would end by the signal that it sends itself.
    let throttle = env!("CARGO_BIN_EXE_throttle");
    let status = std::process::Command::new("sh")
        .args(["-c", "trap '' HUP; exec \"$0\" run -s A -- sh -c 'kill -HUP $$; exit 4'", throttle])
        .env("THROTTLE_URL", format!("http://127.0.0.1:{}", server.port))
        .status();
    assert_eq!(status.expect("ended").code(), Some(4));
}
