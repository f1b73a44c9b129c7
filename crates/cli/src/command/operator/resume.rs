//! `throttle resume`.

use std::{error::Error, io};

use throttle_api::Resumed;

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
        self.operator.sum_up(out, answer, |Resumed { was_holding }| {
            let sentence = if was_holding { "Grants are given out again." } else { "Nothing was held back." };
            sentence.to_owned()
        })
    }
}
