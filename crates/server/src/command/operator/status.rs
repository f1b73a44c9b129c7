//! `throttle status`.

use std::{
    error::Error,
    io::{self, IsTerminal as _},
    time::Duration,
};

use serde_json::Value;

use super::{
    ask::{Operator, encoded},
    table::{cell, table},
};

const PAUSE: Duration = Duration::from_secs(1);
/// Moves the cursor to the upper left and clears what is below it.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Arguments of `throttle status`.
#[derive(Debug, Clone, clap::Args)]
pub struct Status {
    /// Only these semaphores
    pub semaphores: Vec<String>,
    /// Shows it anew each second, until it is interrupted
    #[arg(short, long)]
    pub watch: bool,
    /// The most semaphores that are shown
    #[arg(long, default_value_t = 10_000)]
    pub limit: usize,
    /// Which server, and how.
    #[command(flatten)]
    pub operator: Operator,
}

impl Status {
    pub(super) async fn run(&self, out: &mut dyn io::Write) -> Result<(), Box<dyn Error>> {
        loop {
            let (items, has_more) = self.semaphores().await?;
            if self.watch && io::stdout().is_terminal() {
                out.write_all(CLEAR.as_bytes())?;
            }
            self.operator.show(out, &items, has_more, rows)?;
            out.flush()?;
            if !self.watch {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn semaphores(&self) -> Result<(Vec<Value>, bool), Box<dyn Error>> {
        if self.semaphores.is_empty() {
            return self.operator.list("/v1/semaphores", "", self.limit).await;
        }
        let mut items = Vec::new();
        for name in &self.semaphores {
            items.push(self.operator.ask("GET", &format!("/v1/semaphores/{}", encoded(name)), None).await?);
        }
        Ok((items, false))
    }
}

fn rows(items: &[Value]) -> String {
    let head = ["SEMAPHORE", "MAX", "ACQUIRED", "PENDING", "WAITING", "LONGEST WAIT", "ORIGIN"];
    let fields = ["name", "max", "acquired", "pending", "waiting", "longest_wait", "origin"];
    table(head, items.iter().map(|item| fields.map(|field| cell(&item[field]))))
}
