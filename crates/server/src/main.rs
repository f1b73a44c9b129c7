//! The `throttle` command.

use std::process::ExitCode;

use clap::Parser as _;
use mimalloc::MiMalloc;
use throttle_server::{cli::Cli, serve};

/// Small objects come and go with every request, on any thread; this costs less than the system's allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match serve::run(&cli.serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("throttle: {error}");
            ExitCode::FAILURE
        }
    }
}
