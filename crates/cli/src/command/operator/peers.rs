//! `throttle peers`.

use std::{collections::BTreeMap, error::Error, io, time::SystemTime};

use throttle_api::Peer;
use throttle_service::printable::printable;

use super::{
    ask::{Operator, encoded, list},
    table::{
        Column::{Cut, Kept, Spare, Whole},
        table,
    },
    text::{more_of, name_of, until},
};
use crate::command::run::label;

/// Arguments of `throttle peers`.
#[derive(Debug, Clone, clap::Args)]
pub struct Peers {
    /// Only peers with this label; KEY:VALUE is understood, too
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub label: Option<(String, String)>,
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
        let label = self.label.as_ref().map(|(key, value)| format!("{key}:{value}"));
        let filter = |key: &str, value: Option<&String>| {
            value.map(|value| format!("&{key}={}", encoded(value))).unwrap_or_default()
        };
        let query = filter("label", label.as_ref()) + &filter("semaphore", self.semaphore.as_ref());
        let client = self.operator.client()?;
        let (items, has_more) = list(&client, "/v1/peers", &query, self.limit).await?;
        self.operator.show(out, items, has_more, |items: &[Peer]| rows(items, client.server_time()))
    }
}

fn rows(items: &[Peer], now: SystemTime) -> String {
    let row = |peer: &Peer| {
        let held = peer.locks.iter().map(|lock| format!("{}={}", printable(&lock.semaphore), lock.count));
        let waits_for = peer.pending.as_ref().map_or_else(
            || "-".to_owned(),
            |pending| {
                let asked: BTreeMap<_, _> = pending.locks.iter().map(|(name, count)| (name, count)).collect();
                let asked = asked.into_iter().map(|(name, count)| format!("{}={count}", printable(name)));
                format!("#{} {}", pending.position, joined(asked))
            },
        );
        let left = until(peer.expires_at, now);
        let expires = if left == "due" { left } else { format!("in {left}") };
        let labels = peer.labels.to_map();
        let [who, more] =
            [name_of(&labels), more_of(&labels)].map(|text| text.map_or("-".to_owned(), printable));
        [who, peer.id.to_string(), joined(held), waits_for, expires, more]
    };
    let columns =
        [Kept("WHO"), Whole("PEER"), Cut("HOLDS"), Cut("WAITS FOR"), Spare("EXPIRES"), Spare("MORE")];
    table(columns, items.iter().map(row))
}

/// All of it in one cell, `-` if there is nothing.
fn joined(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join(" ") }
}
