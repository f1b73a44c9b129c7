//! `throttle backup`: a copy of a data directory, also while a server uses it.

use std::{error::Error, io, path::PathBuf};

use throttle_journal::sqlite;

use throttle_service::printable::printable;

/// Arguments of `throttle backup`.
#[derive(Debug, Clone, clap::Args)]
pub struct Backup {
    /// The data directory to copy; a server may be using it
    #[arg(long, env = "THROTTLE_DATA_DIR", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// The directory to make; it must be empty if it is there
    pub to: PathBuf,
}

/// Copies, and says to `out` what was copied. The error is one line.
pub fn backup(arguments: &Backup, out: &mut dyn io::Write) -> Result<(), Box<dyn Error>> {
    let (from, to) = (&arguments.data_dir, &arguments.to);
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
