//! `throttle peers`.

use std::{error::Error, io};

use serde_json::Value;

use super::{
    ask::{Operator, encoded},
    table::{cell, table},
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
        self.operator.show(out, &items, has_more, rows)
    }
}

fn rows(items: &[Value]) -> String {
    let row = |peer: &Value| {
        let held = peer["locks"].as_array().into_iter().flatten();
        let held = held.map(|lock| format!("{}={}", cell(&lock["semaphore"]), cell(&lock["count"])));
        let asked = pairs(&peer["pending"]["locks"], "=");
        let place = cell(&peer["pending"]["position"]);
        let waits_for = if asked == "-" { asked } else { format!("{asked} (place {place})") };
        let held: Vec<String> = held.collect();
        let held = if held.is_empty() { "-".to_owned() } else { held.join(" ") };
        [cell(&peer["id"]), held, waits_for, cell(&peer["expires_at"]), pairs(&peer["labels"], ":")]
    };
    table(["PEER", "HOLDS", "WAITS FOR", "EXPIRES AT", "LABELS"], items.iter().map(row))
}

/// The entries of an object, `-` if there are none.
fn pairs(object: &Value, between: &str) -> String {
    let entries = object.as_object().into_iter().flatten();
    let entries =
        entries.map(|(key, value)| format!("{}{between}{}", cell(&Value::from(key.as_str())), cell(value)));
    let entries: Vec<String> = entries.collect();
    if entries.is_empty() { "-".to_owned() } else { entries.join(" ") }
}
