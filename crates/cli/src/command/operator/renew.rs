//! `throttle renew`.

use std::{error::Error, fmt, io, time::Duration};

use serde_json::{Value, json};
use throttle_api::Peer;
use throttle_client::Error as ClientError;

use super::{ask::Operator, text::until};
use crate::command::{connection::located, duration::ttl, run::peer_id};

/// Arguments of `throttle renew`.
#[derive(Debug, Clone, clap::Args)]
pub struct Renew {
    /// The id of the peer, as throttle acquire told it
    #[arg(value_parser = peer_id)]
    pub peer: u64,
    /// How long it is to live from now on, such as 30s or 1h; at least 1s [default: as long as before]
    #[arg(long, value_name = "DURATION", value_parser = ttl)]
    pub ttl: Option<Duration>,
    /// Which server, and how.
    #[command(flatten)]
    pub operator: Operator,
}

/// The peer is gone, and so is all it held.
#[derive(Debug)]
pub struct Lost(String);

impl fmt::Display for Lost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Error for Lost {}

impl Renew {
    pub(super) async fn run(&self, out: &mut dyn io::Write) -> Result<(), Box<dyn Error>> {
        let path = format!("/v1/peers/{}/heartbeat", self.peer);
        let body = match self.ttl {
            Some(ttl) => json!({ "expires_in": humantime::format_duration(ttl).to_string() }),
            None => json!({}),
        };
        let client = self.operator.client()?;
        let answer = client.send("POST", &path, Some(body)).await;
        let answer: Value = answer.map_err(|error| lost(located(&client, error)))?;
        self.operator.sum_up(out, answer, |peer: Peer| {
            let left = until(peer.expires_at, client.server_time());
            format!("Peer {} is promised what it holds for {left} from now.", peer.id)
        })
    }
}

/// A peer that is gone has an exit code of its own.
fn lost(error: ClientError) -> Box<dyn Error> {
    match error {
        ClientError::Problem { code, detail, .. } if code == "peer_gone" => Box::new(Lost(detail)),
        error => error.into(),
    }
}
