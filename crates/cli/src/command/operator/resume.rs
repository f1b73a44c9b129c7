//! `throttle resume`.

use std::{error::Error, io};

use super::ask::Operator;

/// Arguments of `throttle resume`.
#[derive(Debug, Clone, clap::Args)]
pub struct Resume {
    /// Which server, and how.
    #[command(flatten)]
    pub operator: Operator,
}

impl Resume {
    pub(super) async fn run(&self, out: &mut dyn io::Write) -> Result<(), Box<dyn Error>> {
        let answer = self.operator.ask("POST", "/v1/resume", None).await?;
        let sentence = match answer["was_holding"].as_bool() {
            Some(true) => "Grants are given out again.",
            _ => "Nothing was held back.",
        };
        self.operator.tell(out, &answer, sentence)
    }
}
