//! The `throttle` command.

use std::{io, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _};
use throttle_server::{
    arguments::{Cli, Command},
    command::{self, usage},
    platform::{Memory, large_pages_on_request},
};
use throttle_service::{printable::printable, serve};

#[global_allocator]
static ALLOCATOR: Memory = Memory;

/// What `sysexits.h` calls a service that is not to be had.
const UNAVAILABLE: u8 = 69;
/// What is held under a lock is not held any more.
const LOST: u8 = 76;

fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.format(&mut usage::of(&usage::path(&matches))).exit(),
    };
    let outcome = match &cli.command {
        None => {
            // It starts no other process, which would be in the same way.
            large_pages_on_request();
            cli.serve.start().map_err(Into::into).and_then(|start| serve::run(&start))
        }
        // Its exit code may be any that the command has; on Windows these do not fit into `ExitCode`.
        Some(Command::Run(arguments)) => match command::run::run(arguments) {
            Ok(code) => std::process::exit(code),
            Err(error) => Err(error.into()),
        },
        Some(Command::Acquire(arguments)) => match command::acquire(arguments) {
            Ok(code) => std::process::exit(code),
            Err(error) => Err(error.into()),
        },
        Some(Command::Operate(arguments)) => arguments.run(&mut io::stdout()),
        Some(Command::Cluster(command)) => command.run(&mut io::stdout()),
        Some(Command::Backup(arguments)) => command::backup(arguments, &mut io::stdout()),
        Some(Command::Journal(command)) => command.run(&mut io::stdout().lock()),
        Some(Command::Token(command)) => command.run(&mut io::stdout().lock()),
        Some(Command::Check(arguments)) => command::check(arguments, &mut io::stdout()),
        Some(Command::Completions(arguments)) => {
            command::completions(arguments, &mut io::stdout()).map_err(Into::into)
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(why) = usage::wrong(&*error) {
                usage::error(&usage::path(&matches), &why).exit();
            }
            eprintln!("throttle: {}", printable(command::advice::told(&*error)));
            match error.downcast_ref() {
                Some(throttle_client::Error::Unreachable { .. }) => ExitCode::from(UNAVAILABLE),
                _ if error.is::<command::operator::Lost>() => ExitCode::from(LOST),
                _ => ExitCode::FAILURE,
            }
        }
    }
}
