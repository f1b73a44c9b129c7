//! `throttle health`.

use std::{error::Error, io, time::Duration};

use throttle_service::printable::printable;

use crate::command::Connection;

/// Arguments of `throttle health`.
#[derive(Debug, Clone, clap::Args)]
pub struct Health {
    /// Asks only whether the process lives: not whether it serves, or has read its journal
    #[arg(long)]
    pub live: bool,
    /// How long a server has for its answer
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = timeout)]
    pub timeout: Duration,
    /// Which server, and how.
    #[command(flatten)]
    pub connection: Connection,
}

impl Health {
    pub(super) async fn run(&self, out: &mut dyn io::Write) -> Result<(), Box<dyn Error>> {
        let client = self.connection.client().timeout(self.timeout).build()?;
        let url = client.url();
        let (state, outcome) =
            if self.live { ("alive", client.live().await) } else { ("ready", client.ready().await) };
        // A text rather than the error: all that is wrong has one exit code, as those who ask expect.
        let answer = outcome.map_err(|error| format!("{url} is not {state}: {error}"))?;
        writeln!(out, "{} is {state}: {}", printable(url), printable(answer))?;
        Ok(())
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("an answer needs some time to arrive, for instance 3s".to_owned()),
        Ok(timeout) => Ok(timeout),
        Err(error) => Err(error.to_string()),
    }
}
