//! `throttle release`.

use std::{error::Error, io};

use serde_json::json;
use throttle_client::user;

use super::ask::{Operator, by, encoded};
use crate::command::run::peer_id;

/// Arguments of `throttle release`.
#[derive(Debug, Clone, clap::Args)]
pub struct Release {
    /// The id of the peer, as `throttle peers` shows it
    #[arg(value_parser = peer_id)]
    pub peer: u64,
    /// Why; its holder is told
    #[arg(short, long)]
    pub reason: Option<String>,
    /// Which server, and how.
    #[command(flatten)]
    pub operator: Operator,
}

impl Release {
    pub(super) async fn run(&self, out: &mut dyn io::Write) -> Result<(), Box<dyn Error>> {
        let path = format!("/v1/peers/{}", self.peer);
        // A peer that is gone already is an error here, as the operator may have mistyped its id.
        self.operator.ask("GET", &path, None).await?;
        let reason = self.reason.clone().unwrap_or_else(|| by("throttle release", &user()));
        self.operator.ask("DELETE", &format!("{path}?reason={}", encoded(&reason)), None).await?;
        let answer = json!({ "released": self.peer.to_string(), "reason": reason });
        self.operator.tell(out, &answer, &format!("Peer {} is released.", self.peer))
    }
}
