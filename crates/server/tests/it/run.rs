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
