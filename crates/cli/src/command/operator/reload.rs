//! `throttle reload`.

use std::{error::Error, io};

use throttle_api::Difference;

use super::ask::Operator;

/// Arguments of `throttle reload`.
#[derive(Debug, Clone, clap::Args)]
pub struct Reload {
    /// Which server, and how.
    #[command(flatten)]
    pub operator: Operator,
}

impl Reload {
    pub(super) async fn run(&self, out: &mut dyn io::Write) -> Result<(), Box<dyn Error>> {
        let answer = self.operator.ask("POST", "/v1/reload", None).await?;
        self.operator.sum_up(out, answer, summary)
    }
}

fn summary(difference: Difference) -> String {
    let Difference { added, changed, removed, needs_restart, warnings, .. } = difference;
    let (added, changed, removed) = (names(added.keys()), names(changed.keys()), names(removed.keys()));
    let mut sentence = format!("Added: {added}; changed: {changed}; removed: {removed}.");
    if !needs_restart.is_empty() {
        sentence = format!("{sentence} Needs a restart: {}.", needs_restart.join(", "));
    }
    for warning in warnings {
        sentence = format!("{sentence} Warning: {warning}");
    }
    sentence
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
