//! The `throttle` command.

use std::process::ExitCode;

use clap::Parser as _;
use throttle_server::{cli::Cli, serve};

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
