//! What Throttle promises of itself, and what was found.

use serde::Serialize;

use crate::report::{Report, Table, count};
use crate::stats::Spread;

/// What a request that waits may take, with its connection, in bytes.
const BLOCKED_BYTES_MAX: f64 = 20.0 * 1024.0;

/// A bound that Throttle is to keep, and the figure found.
#[derive(Debug, Serialize)]
pub(crate) struct Promise {
    pub(crate) what: String,
    pub(crate) found: f64,
    /// The same ratio by the processor time of the server alone: no client dilutes it, and what else runs on
    /// the machine hardly moves it.
    pub(crate) by_work: Option<f64>,
    /// `found` is to be at least this.
    pub(crate) at_least: Option<f64>,
    /// `found` is to be at most this.
    pub(crate) at_most: Option<f64>,
    pub(crate) kept: bool,
}

impl Promise {
    fn at_least(what: String, found: f64, by_work: Option<f64>, bound: f64) -> Self {
        Self { what, found, by_work, at_least: Some(bound), at_most: None, kept: found >= bound }
    }

    fn at_most(what: String, found: f64, bound: f64) -> Self {
        Self { what, found, by_work: None, at_least: None, at_most: Some(bound), kept: found <= bound }
    }

    fn wanted(&self) -> String {
        match (self.at_least, self.at_most) {
            (Some(bound), _) => format!("at least {bound:.2}"),
            (None, Some(bound)) => format!("at most {bound:.0}"),
            (None, None) => String::new(),
        }
    }

    fn found(&self) -> String {
        if self.at_most.is_some() { format!("{:.0}", self.found) } else { format!("{:.2}", self.found) }
    }
}

impl Report {
    /// Holds the figures against what Throttle promises of itself.
    pub(crate) fn judge(&mut self, name: &'static str) {
        let mut promises = Vec::new();
        let mut add = |what: String, rate: Option<Spread>, work: Option<Spread>, at_least: f64| {
            let Some(rate) = rate else { return };
            let by_work = work.map(|work| work.median);
            promises.push(Promise::at_least(what, rate.median, by_work, at_least));
        };
        let own = || self.rates.iter().filter(|line| line.server == name);
        for row in ["heartbeat", "heartbeat-any", "cycle"] {
            if let Some(line) = own().filter(|line| line.row == row).max_by_key(|line| line.idle_peers) {
                let what =
                    format!("{row}: rate with {} idle peers to that with none", count(line.idle_peers));
                add(what, line.vs_empty, line.work_vs_empty, 0.9);
            }
        }
        if let Some(line) = own().find(|line| line.row == "heartbeat" && line.idle_peers == 0) {
            let what = "heartbeat: rate to that of the bare server".into();
            add(what, line.vs_bare, line.work_vs_bare, 0.85);
            let what = "heartbeat: by server time, to that of the bare server".into();
            add(what, line.work_vs_bare, None, 0.95);
        }
        if let Some(line) = own().find(|line| line.row == "session" && line.idle_peers == 0) {
            let what = "session: rate to that of the bare server".into();
            add(what, line.vs_bare, line.work_vs_bare, 0.9);
        }
        for line in &self.rates {
            let what = format!("{}: rate with dashboards open to that with none", line.row);
            add(what, line.vs_unwatched, line.work_vs_unwatched, 0.9);
        }
        let handover = self.handover.iter().filter(|line| line.server == name);
        if let Some(line) = handover.max_by_key(|line| line.waiters) {
            let what = format!("hand-over: rate with {} waiters to that with fewest", count(line.waiters));
            add(what, line.rate_vs_first, None, 0.5);
        }
        if let Some(line) = self.durable.iter().find(|line| line.row == "cycle") {
            add("cycle: durable rate to that in memory".into(), Some(line.ratio), None, 0.75);
        }
        for line in self.secured.iter().filter(|line| line.what == "tokens") {
            add(format!("{}: rate with tokens to that without", line.row), Some(line.ratio), line.work, 0.93);
        }
        let blocked = self.blocked_requests.iter().filter(|line| line.server == name);
        if let Some(line) = blocked.max_by_key(|line| line.connections) {
            // All but one wait.
            let waiting = line.connections.saturating_sub(1).max(1);
            let each = line.blocked.saturating_sub(line.before) as f64 / waiting as f64;
            let what = format!("{} requests that wait: bytes each, with its connection", count(waiting));
            promises.push(Promise::at_most(what, each, BLOCKED_BYTES_MAX));
        }
        self.promises = promises;
    }

    pub(crate) fn promises_table(&self, text: &mut String) {
        if self.promises.is_empty() {
            return;
        }
        let mut table = Table::new(&["Promise", "found", "wanted", "", "by server us"]);
        for promise in &self.promises {
            let verdict = if promise.kept { "kept" } else { "MISSED" };
            table.row([
                promise.what.clone(),
                promise.found(),
                promise.wanted(),
                verdict.to_owned(),
                promise.by_work.map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}")),
            ]);
        }
        table.print(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{durable, handover, throughput};

    fn line(
        row: &'static str,
        idle_peers: usize,
        vs_empty: Option<f64>,
        vs_bare: Option<f64>,
    ) -> throughput::Line {
        let spread = |value| Spread { median: value, min: value, max: value };
        throughput::Line {
            row,
            server: "throttle",
            idle_peers,
            rate: spread(1.0),
            vs_empty: vs_empty.map(spread),
            vs_bare: vs_bare.map(spread),
            vs_other: None,
            work_vs_other: None,
            other_rate: None,
            work_vs_empty: None,
            work_vs_bare: None,
            vs_unwatched: None,
            work_vs_unwatched: None,
            updates: None,
            server_us: None,
            client_us: None,
        }
    }

    #[test]
    fn promises_are_held_against_the_most_idle_peers() {
        let mut report = Report {
            rates: vec![
                line("heartbeat", 0, None, Some(0.84)),
                line("heartbeat", 10, Some(0.5), Some(0.84)),
                line("heartbeat", 1000, Some(0.95), Some(0.84)),
            ],
            ..Report::default()
        };
        report.judge("throttle");
        assert_eq!(report.promises.iter().map(|promise| promise.kept).collect::<Vec<_>>(), [true, false]);
        report.judge("other");
        assert!(report.promises.is_empty());
    }

    #[test]
    fn what_is_missed_is_said() {
        let spread = |value| Spread { median: value, min: value, max: value };
        let memory = |connections, blocked| handover::Memory {
            server: "throttle",
            connections,
            before: 1_000_000,
            connected: 1_500_000,
            blocked,
        };
        let mut heartbeat = line("heartbeat", 0, None, Some(0.9));
        heartbeat.work_vs_bare = Some(spread(0.94));
        let mut report = Report {
            rates: vec![heartbeat, line("session", 0, None, Some(0.89))],
            durable: vec![durable::Line {
                row: "cycle",
                rates: [spread(2.0), spread(1.0)],
                ratio: spread(0.75),
                p99_us: [spread(1.0), spread(1.0)],
            }],
            // The larger one counts.
            blocked_requests: vec![memory(11, 90_000_000), memory(101, 1_000_000 + 100 * 20_480)],
            ..Report::default()
        };
        report.judge("throttle");
        let kept: Vec<_> = report.promises.iter().map(|promise| (promise.wanted(), promise.kept)).collect();
        let told: Vec<_> = kept.iter().map(|(wanted, kept)| (wanted.as_str(), *kept)).collect();
        assert_eq!(
            told,
            [
                ("at least 0.85", true),
                ("at least 0.95", false),
                ("at least 0.90", false),
                ("at least 0.75", true),
                ("at most 20480", true)
            ]
        );
        let mut text = String::new();
        report.promises_table(&mut text);
        assert_eq!(text.matches("MISSED").count(), 2, "{text}");
        assert!(text.contains("100 requests that wait: bytes each, with its connection"), "{text}");
    }
}
