//! `throttle completions`: what a shell needs to complete the command line.

use std::io;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::arguments::Cli;

/// Arguments of `throttle completions`.
#[derive(Debug, Clone, clap::Args)]
pub struct Completions {
    /// The shell to complete in
    pub shell: Shell,
}

/// Writes the script for the shell to `out`.
pub fn completions(arguments: &Completions, out: &mut dyn io::Write) -> io::Result<()> {
    // By way of memory, as the generator would panic where `out` cannot be written.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "throttle", &mut script);
    out.write_all(&script)
}
