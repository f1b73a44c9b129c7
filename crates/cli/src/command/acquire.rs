//! `throttle acquire`: locks that outlive the process which took them.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    time::Duration,
};

use serde_json::Value;
use throttle_client::{Client, Error, Guard};
use throttle_service::printable::json;

use super::run::{
    Asking, Wanted,
    acquire::{Caller, UNAVAILABLE, acquire as ask},
    notice::fail,
};
use crate::{
    command::{advice::told, duration::ttl},
    environment::variable,
    platform::{Signals, is_standard_output, parent},
};

/// Begins every line for people.
const COMMAND: &str = "throttle acquire";
/// A broken output, as in a shell.
const FAILURE: i32 = 1;

pub(crate) const LONG_ABOUT: &str = "\
Acquires locks and leaves them held.

It waits until the locks are granted, tells which peer holds them, and ends. Nothing renews them: they are free again \
after --ttl, unless throttle renew moves that, throttle run --peer or a program takes them over, or throttle release \
gives them back before.";

const AFTER_LONG_HELP: &str = "\
Examples:
  eval \"$(throttle acquire --semaphore database --ttl 10m)\"
          Take a place; $THROTTLE_PEER_ID is its peer
  throttle acquire --semaphore deploy >> \"$GITHUB_ENV\"
          The same for the later steps of a job
  throttle run --peer \"$THROTTLE_PEER_ID\" -- ./import.sh
          Take it over, keep it while the command runs, and give it back
  throttle release \"$THROTTLE_PEER_ID\"
          Give it back

It writes to its standard output:
  THROTTLE_PEER_ID         the id under which the server knows the holder
  THROTTLE_FENCING_TOKEN   the fencing token of the first semaphore
  THROTTLE_FENCING_TOKENS  the tokens of all of them, as JSON: {\"A\":\"123\",\"B\":\"124\"}

Exit codes:
  0    the locks are held
  69   the server cannot be reached, or refuses: an unknown semaphore, or a count above its maximum
  75   the locks were not granted in time (--conflict-exit-code)
  128 + N if signal N came while it waited for the locks
  2    a wrong command line";

/// How the locks are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Output {
    /// Lines for the eval of a shell; without its quotes in the file that `GITHUB_ENV` or `GITHUB_OUTPUT` names
    #[default]
    Env,
    /// Lines for what takes them as they are, such as a report of variables in GitLab
    Dotenv,
    /// The peer, as JSON
    Json,
}

/// Arguments of `throttle acquire`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = AFTER_LONG_HELP)]
pub struct Acquire {
    /// The locks.
    #[command(flatten)]
    pub wanted: Wanted,
    /// How to ask for them.
    #[command(flatten)]
    pub asking: Asking,
    /// How long the locks are held if nothing renews them, such as 30s or 1h; at least 1s
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = ttl)]
    pub ttl: Duration,
    /// How the locks are told of
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// Acquires the locks and leaves them held. Returns the exit code for this process.
///
/// # Errors
///
/// If the system refuses what this needs, such as to listen for signals.
pub fn acquire(arguments: &Acquire) -> io::Result<i32> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let Acquire { wanted, asking, ttl, output } = arguments;
        let caller = Caller { command: COMMAND, program: None, is_alone: true };
        let mut asking = asking.clone();
        // This process is gone when people look.
        if let Some(parent) = parent().filter(|_| !asking.no_labels) {
            asking.label.insert(0, ("pid".to_owned(), parent.to_string()));
        }
        match ask(wanted, *ttl, &asking, &caller, &mut signals).await {
            Ok(guard) => leave(guard, wanted, *output, &asking).await,
            // There is nothing yet that could be gone.
            Err(failure) => Ok(failure.tell(COMMAND, &asking, UNAVAILABLE)),
        }
    })
}

/// Tells what is held, and leaves it held.
async fn leave(guard: Guard, wanted: &Wanted, output: Output, asking: &Asking) -> io::Result<i32> {
    let tokens: BTreeMap<String, Option<u64>> =
        guard.tokens().into_iter().map(|(name, token)| (name.to_owned(), token)).collect();
    let first = tokens.get(&wanted.first.0).copied().flatten();
    let peer = match guard.hand_over().await {
        Ok(peer) => peer,
        Err(error) => return Ok(fail(COMMAND, &told(&error), UNAVAILABLE)),
    };
    match tell_of(peer, first, &tokens, output, asking).await {
        Ok(()) => Ok(0),
        Err(error) => {
            // Nobody knows of the peer, so nobody could release it.
            if let Ok(client) = asking.connection.client().build() {
                let _ = client.release(peer).await;
            }
            let why = format!("the locks are released, as they cannot be told of: {error}");
            Ok(fail(COMMAND, &why, FAILURE))
        }
    }
}

async fn tell_of(
    peer: u64,
    first: Option<u64>,
    tokens: &BTreeMap<String, Option<u64>>,
    output: Output,
    asking: &Asking,
) -> Result<(), Box<dyn std::error::Error>> {
    let text = match output {
        Output::Json => format!("{}\n", json(&look(peer, asking).await?, true)),
        Output::Dotenv => lines(peer, first, tokens, str::to_owned),
        Output::Env if ["GITHUB_ENV", "GITHUB_OUTPUT"].into_iter().any(is_written_to) => {
            lines(peer, first, tokens, str::to_owned)
        }
        Output::Env => lines(peer, first, tokens, quoted),
    };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

async fn look(peer: u64, asking: &Asking) -> Result<Value, Error> {
    let client: Client = asking.connection.client().build()?;
    client.send("GET", &format!("/v1/peers/{peer}"), None).await
}

fn lines(
    peer: u64,
    first: Option<u64>,
    tokens: &BTreeMap<String, Option<u64>>,
    written: impl Fn(&str) -> String,
) -> String {
    let known =
        tokens.iter().filter_map(|(name, token)| Some((name.clone(), Value::String((*token)?.to_string()))));
    let tokens = json(&Value::Object(known.collect()), false);
    let first = first.map(|token| token.to_string()).unwrap_or_default();
    let variables = [
        ("THROTTLE_PEER_ID", peer.to_string()),
        ("THROTTLE_FENCING_TOKEN", first),
        ("THROTTLE_FENCING_TOKENS", tokens),
    ];
    let lines = variables.into_iter().map(|(name, value)| format!("{name}={}", written(&value)));
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

/// A value as a shell reads it.
pub(crate) fn quoted(value: &str) -> String {
    let is_plain = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_plain { value.to_owned() } else { format!("'{}'", value.replace('\'', r"'\''")) }
}

/// Whether the standard output is the file that this variable names.
fn is_written_to(name: &str) -> bool {
    variable(name).and_then(|path| fs::metadata(path).ok()).is_some_and(|file| is_standard_output(&file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_what_was_meant() {
        let tokens = BTreeMap::from([("it's".to_owned(), Some(8)), ("new\nline".to_owned(), None)]);
        assert_eq!(
            lines(7, Some(8), &tokens, quoted),
            "THROTTLE_PEER_ID=7\nTHROTTLE_FENCING_TOKEN=8\nTHROTTLE_FENCING_TOKENS='{\"it'\\''s\":\"8\"}'\n"
        );
        assert_eq!(
            lines(7, None, &BTreeMap::new(), quoted),
            "THROTTLE_PEER_ID=7\nTHROTTLE_FENCING_TOKEN=''\nTHROTTLE_FENCING_TOKENS='{}'\n"
        );
    }
}
