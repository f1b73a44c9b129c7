//! Planted faults: ways to break core, node or log, each of which the simulator finds.

use std::process::ExitCode;

pub fn run(_: u64, _: u64, _: usize) -> ExitCode {
    ExitCode::FAILURE
}
