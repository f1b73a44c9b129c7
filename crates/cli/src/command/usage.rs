//! Wrong command lines, told as clap tells of them: with the usage of the subcommand, and exit code 2.

use std::{error::Error, fmt};

use clap::{ArgMatches, Command, CommandFactory as _, error::ErrorKind};
use throttle_client::Error as ClientError;
use throttle_service::printable::printable;

use crate::arguments::Cli;

/// The exit code.
pub const WRONG: i32 = 2;

/// A command line that makes no sense, which clap could not see.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Error for Usage {}

/// Why the command line or the environment is wrong, if that is what the error says.
pub fn wrong(error: &(dyn Error + 'static)) -> Option<String> {
    match (error.downcast_ref(), error.downcast_ref()) {
        (Some(Usage(why)), _) | (_, Some(ClientError::Configuration(why))) => Some(why.clone()),
        _ => None,
    }
}

/// The names of the subcommands that were given, from the outside to the inside.
pub fn path(matches: &ArgMatches) -> Vec<&str> {
    let first = matches.subcommand();
    let all = std::iter::successors(first, |(_, inner)| inner.subcommand());
    all.map(|(name, _)| name).collect()
}

/// The definition of a subcommand, as far as there is one.
pub fn of(path: &[&str]) -> Command {
    let mut command = Cli::command();
    command.build();
    for name in path {
        match command.find_subcommand(name) {
            Some(inner) => command = inner.clone(),
            None => break,
        }
    }
    command
}

/// What is told.
pub fn error(path: &[&str], why: &str) -> clap::Error {
    of(path).error(ErrorKind::ValueValidation, printable(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_is_that_of_the_subcommand() {
        for (line, expected) in [
            (&["throttle", "run", "-s", "A", "true"] as &[_], "Usage: throttle run "),
            (&["throttle", "semaphore", "rm", "A"], "Usage: throttle semaphore rm "),
            (&["throttle", "semaphore", "A"], "Usage: throttle semaphore <NAME>"),
            (&["throttle"], "Usage: throttle [OPTIONS]"),
        ] {
            let matches = Cli::command().try_get_matches_from(line).expect("valid");
            let error = error(&path(&matches), "why");
            let text = error.to_string();
            assert!(text.starts_with("error: why\n\n") && text.contains(expected), "{text}");
            assert_eq!(error.exit_code(), WRONG);
        }
    }
}
