//! `throttle status`.

use std::{
    env,
    error::Error,
    io::{self, IsTerminal as _},
    time::Duration,
};

use serde_json::Value;
use throttle_api::Semaphore;
use throttle_service::printable::printable;

use super::{
    ask::{Format, Operator, semaphore},
    table::{
        Column::{Cut, Spare, Whole},
        table,
    },
    text::{level, span},
    watch::{Figures as _, watch},
};

const PAUSE: Duration = Duration::from_secs(1);

/// Arguments of `throttle status`.
#[derive(Debug, Clone, clap::Args)]
pub struct Status {
    /// Only these semaphores
    pub semaphores: Vec<String>,
    /// Shows what happens, until q; without a terminal, writes the table anew each second
    ///
    /// On a terminal: who holds what, who waits and why, as it happens; ? tells the keys.
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
        if self.watch && self.operator.output == Format::Table && is_screen() {
            return watch(&self.operator, &self.semaphores, self.limit).await;
        }
        loop {
            let (items, has_more) = self.semaphores().await?;
            self.operator.show(out, items, has_more, rows)?;
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
            items.push(self.operator.ask("GET", &semaphore(name), None).await?);
        }
        Ok((items, false))
    }
}

/// Whether there is a terminal that more can be done with than to write lines.
fn is_screen() -> bool {
    io::stdout().is_terminal() && env::var_os("TERM").is_none_or(|kind| kind != "dumb")
}

fn rows(items: &[Semaphore]) -> String {
    let columns = [
        Cut("SEMAPHORE"),
        Whole("ACQUIRED"),
        Whole("PENDING"),
        Whole("WAITING"),
        Whole("LONGEST WAIT"),
        Spare("LEVEL"),
        Spare("RATE"),
        Spare("ORIGIN"),
        Whole("NOTE"),
    ];
    let row = |semaphore: &Semaphore| {
        [
            printable(&semaphore.name),
            format!("{}/{}", semaphore.acquired, semaphore.max),
            semaphore.pending.to_string(),
            semaphore.waiting.to_string(),
            if semaphore.waiting > 0 { span(semaphore.longest_wait.0) } else { "-".to_owned() },
            level(semaphore).map_or("-".to_owned(), |level| level.to_string()),
            semaphore.per.map_or_else(|| "-".to_owned(), |per| format!("{} per {per}", semaphore.max)),
            printable(&semaphore.origin),
            note(semaphore),
        ]
    };
    table(columns, items.iter().map(row))
}

/// What is out of the ordinary.
fn note(semaphore: &Semaphore) -> String {
    if semaphore.is_paused() {
        "paused".to_owned()
    } else if semaphore.over() > 0 {
        format!("over by {}", semaphore.over())
    } else if semaphore.cooling > 0 {
        format!("{} not yet due back", semaphore.cooling)
    } else {
        String::new()
    }
}
