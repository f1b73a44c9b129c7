//! `throttle backup`: a copy of a data directory, also while a server uses it.

use std::{error::Error, io, path::PathBuf};

use throttle_journal::sqlite;

use throttle_service::printable::printable;

/// Arguments of `throttle backup`.
#[derive(Debug, Clone, clap::Args)]
#[command(allow_missing_positional = true)]
pub struct Backup {
    /// The data directory to copy; a server may be using it
    #[arg(long, env = "THROTTLE_DATA_DIR", value_name = "DIR", required_unless_present = "dir")]
    pub data_dir: Option<PathBuf>,
    /// The data directory to copy, as --data-dir names it
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The directory to make; it must be empty if it is there
    pub to: PathBuf,
}

/// Copies, and says to `out` what was copied. The error is one line.
pub fn backup(arguments: &Backup, out: &mut dyn io::Write) -> Result<(), Box<dyn Error>> {
    let from =
        arguments.dir.as_ref().or(arguments.data_dir.as_ref()).ok_or("Name the data directory to copy.")?;
    let to = &arguments.to;
    let end = sqlite::backup(from, to)
        .map_err(|error| format!("The data directory {} was not copied: {error}.", from.display()))?;
    writeln!(
        out,
        "{} has everything up to batch {} of {}. A server starts from it with --data-dir {}.",
        printable(to.display()),
        end.number,
        printable(from.display()),
        printable(to.display())
    )?;
    Ok(())
}
