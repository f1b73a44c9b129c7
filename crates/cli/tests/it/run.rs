//! `throttle run`: a command under a lock.

mod contention;
mod exit_codes;
#[path = "../../../client/tests/it/support/gateway.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "as the tests of the client have it")]
pub(crate) mod gateway;
mod labels;
mod loss;
mod nested;
mod old_server;
mod signals;
mod stop;
mod streams;
mod terminal;

use crate::support::{Launch, Server};

const SEMAPHORES: &str =
    "[semaphores]\nA = 1\nB = { max = 3, level = 1 }\n\"a name\" = { max = 2, level = 2 }";

/// `throttle run` with these arguments, to be started.
fn run(server: &Server, arguments: &[&str]) -> Launch {
    run_at(server.port, arguments)
}

fn run_at(port: u16, arguments: &[&str]) -> Launch {
    Launch::new(&[&["run"], arguments].concat()).env("THROTTLE_URL", &format!("http://127.0.0.1:{port}"))
}

/// A program for Python that says "ready", and "got it" after the signal of this name, and ends with exit code 5 when
/// its standard input does. The signal is blocked until it is waited for, so that none can come between two steps.
fn waits_for(name: &str) -> String {
    format!(
        "import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIG{name}}})
print('ready', flush=True)
signal.sigwait({{signal.SIG{name}}})
print('got it', flush=True)
sys.stdin.read()
sys.exit(5)"
    )
}
