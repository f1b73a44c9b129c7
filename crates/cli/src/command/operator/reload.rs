//! `throttle reload`.

use std::{error::Error, io};

use serde_json::Value;

use super::{ask::Operator, table::cell};

/// Arguments of `throttle reload`.
#[derive(Debug, Clone, clap::Args)]
pub struct Reload {
    /// Which server, and how.
    #[command(flatten)]
    pub operator: Operator,
}

impl Reload {
    pub(super) async fn run(&self, out: &mut dyn io::Write) -> Result<(), Box<dyn Error>> {
        let difference = self.operator.ask("POST", "/v1/reload", None).await?;
        let names = |part: &str| {
            let names = difference[part]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, _)| cell(&Value::from(name.as_str())));
            let names: Vec<String> = names.collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        let (added, changed, removed) = (names("added"), names("changed"), names("removed"));
        let mut sentence = format!("Added: {added}; changed: {changed}; removed: {removed}.");
        let later: Vec<String> =
            difference["needs_restart"].as_array().into_iter().flatten().map(cell).collect();
        if !later.is_empty() {
            sentence = format!("{sentence} Needs a restart: {}.", later.join(", "));
        }
        for warning in difference["warnings"].as_array().into_iter().flatten().map(cell) {
            sentence = format!("{sentence} Warning: {warning}");
        }
        self.operator.tell(out, &difference, &sentence)
    }
}
