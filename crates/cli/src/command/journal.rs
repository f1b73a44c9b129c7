//! `throttle journal inspect`: what a journal has in it.

use std::{
    error::Error,
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use throttle_api::Stamp;
use throttle_core::Time;
use throttle_journal::{End, Entry, LogError, Record, Wall, decode, sqlite};

use super::operator::Format;
use throttle_service::printable::{self, printable};

/// The subcommands of `throttle journal`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum JournalCommand {
    /// Checks a journal, and shows every record in it; a server may be using it
    Inspect(Inspect),
}

/// Arguments of `throttle journal inspect`.
#[derive(Debug, Clone, clap::Args)]
pub struct Inspect {
    /// The data directory
    #[arg(long, env = "THROTTLE_DATA_DIR", value_name = "DIR", required_unless_present = "dir")]
    pub data_dir: Option<PathBuf>,
    /// The data directory, as --data-dir names it
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Only the batches after this one, without the snapshot
    #[arg(long, value_name = "NUMBER")]
    pub after: Option<u64>,
    /// How the records are shown; as JSON, one a line, times are microseconds since the epoch in the time of leases,
    /// from which `wall` records tell how far the wall clock is ahead
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

impl JournalCommand {
    /// Does it. The error is one line.
    pub fn run(&self, out: &mut dyn io::Write) -> Result<(), Box<dyn Error>> {
        let Self::Inspect(arguments) = self;
        match arguments.run(out) {
            // Whoever read the output has seen enough.
            Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(Failure::Output(error)) => Err(error.into()),
            Err(Failure::Journal(error)) => {
                Err(format!("The data directory {}: {error}.", arguments.path().display()).into())
            }
            Ok(()) => Ok(()),
        }
    }
}

enum Failure {
    Output(io::Error),
    Journal(LogError),
}

impl Inspect {
    /// One of them is there.
    fn path(&self) -> &Path {
        self.dir.as_ref().or(self.data_dir.as_ref()).map_or(Path::new(""), PathBuf::as_path)
    }

    fn run(&self, out: &mut dyn io::Write) -> Result<(), Failure> {
        let mut output = Ok(());
        let mut wall = Wall::default();
        let mut show = |entry: Entry<'_>| {
            let (number, is_wanted) = match entry {
                Entry::Piece(_) => (None, self.after.is_none()),
                Entry::Batch { position, .. } => {
                    (Some(position.number), self.after.is_none_or(|after| position.number > after))
                }
            };
            decode(entry.body(), |record| {
                if let Record::Wall { ahead_us } = record {
                    wall = Wall::ahead_by_micros(ahead_us);
                }
                if is_wanted && output.is_ok() {
                    output = writeln!(out, "{}", self.line(number, &record, wall));
                }
                match &output {
                    Ok(()) => Ok(()),
                    Err(error) => Err(LogError::Io(error.to_string())),
                }
            })
        };
        let read = sqlite::inspect(self.path(), &mut show);
        output.map_err(Failure::Output)?;
        let (journal, end) = read.map_err(Failure::Journal)?;
        if self.output == Format::Table {
            let End { number, snapshot_bytes, batch_bytes, .. } = end;
            writeln!(
                out,
                "Journal {journal:016x} is whole. It ends with batch {number}: {snapshot_bytes} bytes of snapshot, \
                 {batch_bytes} bytes of batches behind it."
            )
            .map_err(Failure::Output)?;
        }
        Ok(())
    }

    fn line(&self, batch: Option<u64>, record: &Record, wall: Wall) -> String {
        let record = serde_json::to_value(record).unwrap_or_default();
        if self.output == Format::Json {
            return printable::json(&json!({ "batch": batch, "record": record }), false);
        }
        let mut line = batch.map_or_else(|| "snapshot".to_owned(), |number| number.to_string());
        for (kind, fields) in record.as_object().into_iter().flatten() {
            let _ = write!(line, " {kind}");
            for (name, value) in fields.as_object().into_iter().flatten() {
                if !value.is_null() {
                    let _ = write!(line, " {name}={}", shown(name, value, wall));
                }
            }
        }
        line
    }
}

/// A value for people: times by the wall clock, lengths of time as such.
fn shown(name: &str, value: &Value, wall: Wall) -> String {
    match (name, value.as_u64(), value.get("secs").and_then(Value::as_u64)) {
        ("at" | "since" | "until", Some(micros), _) => {
            Stamp::from_micros(wall.at(Time::from_micros(micros)).as_micros()).to_string()
        }
        (_, _, Some(seconds)) => {
            let nanos = value.get("nanos").and_then(Value::as_u64).unwrap_or_default();
            let length = Duration::from_secs(seconds) + Duration::from_nanos(nanos);
            humantime::format_duration(length).to_string().replace(' ', "")
        }
        _ => printable(value),
    }
}
