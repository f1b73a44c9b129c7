//! `throttle release`.

use std::{env, error::Error, io};

use serde_json::json;

use super::ask::{Operator, encoded};

/// Arguments of `throttle release`.
#[derive(Debug, Clone, clap::Args)]
pub struct Release {
    /// The id of the peer, as `throttle peers` shows it
    pub peer: String,
    /// Why; its holder is told
    #[arg(short, long)]
    pub reason: Option<String>,
    /// Which server, and how.
    #[command(flatten)]
    pub operator: Operator,
}

impl Release {
    pub(super) async fn run(&self, out: &mut dyn io::Write) -> Result<(), Box<dyn Error>> {
        let path = format!("/v1/peers/{}", encoded(&self.peer));
        // A peer that is gone already is an error here, as the operator may have mistyped its id.
        self.operator.ask("GET", &path, None).await?;
        let reason = self.reason.clone().unwrap_or_else(|| {
            let user = env::var("USER").or_else(|_| env::var("USERNAME"));
            format!("throttle release, by {}", user.as_deref().unwrap_or("an unknown user"))
        });
        self.operator.ask("DELETE", &format!("{path}?reason={}", encoded(&reason)), None).await?;
        let answer = json!({ "released": self.peer, "reason": reason });
        self.operator.tell(out, &answer, &format!("Peer {} is released.", self.peer))
    }
}
