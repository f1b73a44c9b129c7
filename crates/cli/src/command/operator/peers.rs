//! `throttle peers`.

use std::{collections::BTreeMap, error::Error, io};

use throttle_api::Peer;
use throttle_service::printable::printable;

use super::{
    ask::{Operator, encoded},
    table::table,
};

/// Arguments of `throttle peers`.
#[derive(Debug, Clone, clap::Args)]
pub struct Peers {
    /// Only peers with this label
    #[arg(long, value_name = "KEY:VALUE")]
    pub label: Option<String>,
    /// Only peers that hold this semaphore or wait for it
    #[arg(short, long, value_name = "NAME")]
    pub semaphore: Option<String>,
    /// The most peers that are shown
    #[arg(long, default_value_t = 10_000)]
    pub limit: usize,
    /// Which server, and how.
    #[command(flatten)]
    pub operator: Operator,
}

impl Peers {
    pub(super) async fn run(&self, out: &mut dyn io::Write) -> Result<(), Box<dyn Error>> {
        let filter = |key: &str, value: &Option<String>| {
            value.as_ref().map(|value| format!("&{key}={}", encoded(value))).unwrap_or_default()
        };
        let query = filter("label", &self.label) + &filter("semaphore", &self.semaphore);
        let (items, has_more) = self.operator.list("/v1/peers", &query, self.limit).await?;
        self.operator.show(out, items, has_more, rows)
    }
}

fn rows(items: &[Peer]) -> String {
    let row = |peer: &Peer| {
        let held = peer.locks.iter().map(|lock| format!("{}={}", printable(&lock.semaphore), lock.count));
        let waits_for = peer.pending.as_ref().map_or_else(
            || "-".to_owned(),
            |pending| {
                let asked: BTreeMap<_, _> = pending.locks.iter().map(|(name, count)| (name, count)).collect();
                let asked = asked.into_iter().map(|(name, count)| format!("{}={count}", printable(name)));
                format!("{} (place {})", joined(asked), pending.position)
            },
        );
        let labels = peer.labels.iter();
        let labels = labels.map(|(key, value)| format!("{}:{}", printable(key), printable(value)));
        [peer.id.to_string(), joined(held), waits_for, peer.expires_at.to_string(), joined(labels)]
    };
    table(["PEER", "HOLDS", "WAITS FOR", "EXPIRES AT", "LABELS"], items.iter().map(row))
}

/// All of it in one cell, `-` if there is nothing.
fn joined(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join(" ") }
}
