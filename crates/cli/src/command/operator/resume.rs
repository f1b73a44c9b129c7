//! `throttle resume`.

use std::{error::Error, io};

use throttle_api::Resumed;

use super::ask::Operator;
use crate::command::{acquire::quoted, usage::Usage};

/// Arguments of `throttle resume`.
#[derive(Debug, Clone, clap::Args)]
pub struct Resume {
    /// Guessed by who means a semaphore.
    #[arg(hide = true)]
    pub semaphore: Option<String>,
    /// Which server, and how.
    #[command(flatten)]
    pub operator: Operator,
}

impl Resume {
    pub(super) async fn run(&self, out: &mut dyn io::Write) -> Result<(), Box<dyn Error>> {
        if let Some(name) = &self.semaphore {
            let advice = format!(
                "throttle resume ends the time after a start in which nothing is granted anew. To resume a semaphore, \
                 write its full count: throttle semaphore set {} --max N",
                quoted(name)
            );
            return Err(Usage(advice).into());
        }
        let answer = self.operator.ask("POST", "/v1/resume", None).await?;
        self.operator.sum_up(out, answer, |Resumed { was_holding }| {
            let sentence = if was_holding { "Grants are given out again." } else { "Nothing was held back." };
            sentence.to_owned()
        })
    }
}
