//! How locks are asked for: what `throttle run` and `throttle acquire` have in common.

use std::time::Duration;

use crate::command::{connection::Connection, duration::duration};

/// How to ask for locks.
#[derive(Debug, Clone, clap::Args)]
pub struct Asking {
    /// Give up when they are not granted in this time, such as 10m or 90s [default: wait without end]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub wait: Option<Duration>,
    /// Give up when they are not granted at once
    #[arg(long, conflicts_with = "wait")]
    pub r#try: bool,
    /// Who goes first of those who wait: the higher number; waiting outranks it with time
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub priority: i32,
    /// What people see who look at who holds a lock; can be given many times
    ///
    /// Without it they see host, pid, user and program: those of the command, or of who called throttle acquire. A
    /// label of the same key takes the place of one of these. KEY:VALUE is understood, too.
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub label: Vec<(String, String)>,
    /// Tell nothing of this process but what --label says
    #[arg(long)]
    pub no_labels: bool,
    /// The exit code when the locks were not granted in time
    #[arg(short = 'E', long, value_name = "CODE", default_value_t = 75)]
    pub conflict_exit_code: u8,
    /// Which server to ask.
    #[command(flatten)]
    pub connection: Connection,
}

/// The first `=` or `:` divides, so that a value may contain both.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once(['=', ':']).ok_or("write KEY=VALUE, such as team=blue")?;
    if key.is_empty() {
        return Err("the key is missing; write KEY=VALUE, such as team=blue".to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}
