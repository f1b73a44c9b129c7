//! The report: tables for people, JSON for programs, and what was promised against what was found.

use std::path::Path;

use serde::Serialize;

use crate::report_promises::Promise;
use crate::rows::ROWS;
use crate::stats::Spread;
use crate::{Options, Result, cluster, durable, engine, handover, secured, soak, throughput};

/// A row with a smaller ratio to the other server is slower beyond noise.
const NO_SLOWER: f64 = 0.9;

/// All that was measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) rates: Vec<throughput::Line>,
    pub(crate) idle_peers: Vec<throughput::Memory>,
    pub(crate) handover: Vec<handover::Line>,
    pub(crate) blocked_requests: Vec<handover::Memory>,
    pub(crate) engine: Vec<engine::Line>,
    pub(crate) durable: Vec<durable::Line>,
    pub(crate) cluster: Vec<cluster::Line>,
    pub(crate) failover: Option<cluster::Failover>,
    pub(crate) soak: Vec<soak::Sample>,
    pub(crate) secured: Vec<secured::Line>,
    pub(crate) recovery: Option<durable::Recovery>,
    pub(crate) promises: Vec<Promise>,
}

/// Where and how it was measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Machine {
    pub(crate) system: String,
    pub(crate) processor: Option<String>,
    pub(crate) processors: usize,
    pub(crate) command: String,
    pub(crate) connections: usize,
    pub(crate) pipeline: usize,
    pub(crate) rounds: usize,
    pub(crate) slice_ms: u128,
    pub(crate) pinned: bool,
}

impl Machine {
    pub(crate) fn describe(options: &Options) -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        // The name of the program rather than its path, which tells nothing.
        let name = "throttle-bench".to_owned();
        let command = std::iter::once(name).chain(std::env::args().skip(1)).collect::<Vec<_>>().join(" ");
        Self {
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            processor: model.map(|(_, model)| model.trim().to_owned()),
            processors: options.processors,
            command,
            connections: options.connections,
            pipeline: options.pipeline,
            rounds: options.rounds,
            slice_ms: options.slice.as_millis(),
            pinned: options.pin,
        }
    }

    /// How the load was made, and what that means for the figures.
    fn load(&self) -> String {
        let shared = if self.pinned {
            "The load generator has the first processor for itself, the servers have the others."
        } else {
            "The load generator and the server share these processors: a rate is what both need together."
        };
        format!(
            "{} connections with {} open requests each, over the loopback interface.\n{shared}\n\
             The columns \"server us\" and \"client us\" are the processor time of each per operation.\n",
            self.connections, self.pipeline,
        )
    }
}

impl Report {
    /// The tables.
    pub(crate) fn text(&self) -> String {
        let machine = &self.machine;
        let mut text = format!(
            "{}\n{} processors ({}, {}); medians of {} rounds of {} ms\n",
            machine.command,
            machine.processors,
            machine.processor.as_deref().unwrap_or("unknown"),
            machine.system,
            machine.rounds,
            machine.slice_ms,
        );
        if self.engine.is_empty() {
            text += &machine.load();
        }
        self.rate_table(&mut text);
        self.comparison(&mut text);
        self.dashboards_table(&mut text);
        self.handover_table(&mut text);
        self.memory_tables(&mut text);
        self.durable_tables(&mut text);
        self.cluster_table(&mut text);
        self.soak_table(&mut text);
        self.secured_table(&mut text);
        self.engine_table(&mut text);
        self.promises_table(&mut text);
        text
    }

    fn rate_table(&self, text: &mut String) {
        if self.rates.is_empty() {
            return;
        }
        let other = self.rates.iter().any(|line| line.vs_other.is_some());
        let mut header =
            vec!["Rate", "server", "idle peers", "per second", "spread", "vs 0 peers", "vs bare"];
        if other {
            header.push("vs other");
        }
        header.extend(["server us", "client us"]);
        let mut table = Table::new(&header);
        let mut last = "";
        for line in &self.rates {
            if line.row != last && !last.is_empty() {
                table.gap();
            }
            let mut row = vec![
                if line.row == last { String::new() } else { line.row.to_owned() },
                line.server.to_owned(),
                count(line.idle_peers),
                count(line.rate.median as usize),
                around(line.rate),
                ratio(line.vs_empty),
                ratio(line.vs_bare),
            ];
            if other {
                row.push(ratio(line.vs_other));
            }
            row.extend([tenths(line.server_us), tenths(line.client_us)]);
            table.row(row);
            last = line.row;
        }
        table.print(text);
        for row in ROWS.iter().filter(|row| self.rates.iter().any(|line| line.row == row.name)) {
            text.extend([row.name, ": ", row.about, ".\n"]);
        }
    }

    /// Each row beside the same row of the other server.
    fn comparison(&self, text: &mut String) {
        let mut table = Table::new(&[
            "Beside the other",
            "idle peers",
            "per second",
            "other",
            "ratio",
            "",
            "by server us",
        ]);
        let mut is_empty = true;
        for line in &self.rates {
            let (Some(ratio), Some(other)) = (line.vs_other, line.other_rate) else { continue };
            is_empty = false;
            let verdict = if ratio.median >= NO_SLOWER { "" } else { "SLOWER" };
            table.row([
                line.row.to_owned(),
                count(line.idle_peers),
                count(line.rate.median as usize),
                count(other.median as usize),
                format!("{:.2} ({:.2} to {:.2})", ratio.median, ratio.min, ratio.max),
                verdict.to_owned(),
                line.work_vs_other.map_or_else(|| "-".into(), |work| format!("{:.2}", work.median)),
            ]);
        }
        if !is_empty {
            table.print(text);
        }
    }

    /// Each row with dashboards open beside the same row with none.
    fn dashboards_table(&self, text: &mut String) {
        let mut table =
            Table::new(&["Dashboards", "per second", "ratio to none", "by server us", "updates a slice"]);
        let mut is_empty = true;
        for line in &self.rates {
            let (Some(ratio), Some(updates)) = (line.vs_unwatched, line.updates) else { continue };
            is_empty = false;
            table.row([
                line.row.to_owned(),
                count(line.rate.median as usize),
                format!("{:.2} ({:.2} to {:.2})", ratio.median, ratio.min, ratio.max),
                line.work_vs_unwatched.map_or_else(|| "-".into(), |work| format!("{:.2}", work.median)),
                format!("{updates:.1}"),
            ]);
        }
        if !is_empty {
            table.print(text);
        }
    }

    fn handover_table(&self, text: &mut String) {
        if self.handover.is_empty() {
            return;
        }
        let mut table = Table::new(&[
            "Hand-over",
            "waiters",
            "grants/s",
            "spread",
            "rate vs first",
            "median us",
            "p99 us",
            "median vs first",
            "server us",
        ]);
        for line in &self.handover {
            table.row([
                line.server.to_owned(),
                count(line.waiters),
                count(line.rate.median as usize),
                around(line.rate),
                ratio(line.rate_vs_first),
                format!("{:.1}", line.latency_us.median),
                format!("{:.1}", line.p99_us.median),
                ratio(line.latency_vs_first),
                tenths(line.server_us),
            ]);
        }
        table.print(text);
    }

    fn memory_tables(&self, text: &mut String) {
        if !self.idle_peers.is_empty() {
            let mut table = Table::new(&[
                "Memory",
                "idle peers",
                "before MiB",
                "after MiB",
                "bytes per peer",
                "made per second",
            ]);
            for line in &self.idle_peers {
                table.row([
                    line.server.to_owned(),
                    count(line.idle_peers),
                    mebibytes(line.before),
                    mebibytes(line.after),
                    each(line.before, line.after, line.idle_peers),
                    count(line.fill_rate as usize),
                ]);
            }
            table.print(text);
        }
        if !self.blocked_requests.is_empty() {
            let mut table = Table::new(&[
                "Memory",
                "blocked",
                "peers MiB",
                "connected MiB",
                "blocked MiB",
                "bytes per connection",
                "bytes per blocked",
                "sum",
            ]);
            for line in &self.blocked_requests {
                let blocked = line.connections - 1;
                table.row([
                    line.server.to_owned(),
                    count(blocked),
                    mebibytes(line.before),
                    mebibytes(line.connected),
                    mebibytes(line.blocked),
                    each(line.before, line.connected, line.connections),
                    each(line.connected, line.blocked, blocked),
                    each(line.before, line.blocked, blocked),
                ]);
            }
            table.print(text);
        }
    }

    fn secured_table(&self, text: &mut String) {
        if !self.secured.is_empty() {
            let mut table = Table::new(&["Safety", "row", "without/s", "with/s", "ratio", "by server us"]);
            for secured::Line { what, row, rates, ratio: found, work } in &self.secured {
                let [without, with] = rates.map(|rate| count(rate.median as usize));
                let (found, work) = (ratio(Some(*found)), ratio(*work));
                table.row([(*what).to_owned(), (*row).to_owned(), without, with, found, work]);
            }
            table.print(text);
        }
    }

    fn engine_table(&self, text: &mut String) {
        if self.engine.is_empty() {
            return;
        }
        let mut table = Table::new(&["Engine", "tasks", "per second", "spread", "vs mutex"]);
        for line in &self.engine {
            table.row([
                line.design.to_owned(),
                count(line.tasks),
                count(line.rate.median as usize),
                around(line.rate),
                ratio(line.vs_mutex),
            ]);
        }
        table.print(text);
    }

    pub(crate) fn write_json(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(file, text + "\n")
            .map_err(|error| format!("cannot write {}: {error}", file.display()).into())
    }
}

pub(crate) fn ratio(ratio: Option<Spread>) -> String {
    ratio.map_or_else(
        || "-".into(),
        |ratio| format!("{:.2} ({:.2}..{:.2})", ratio.median, ratio.min, ratio.max),
    )
}

fn tenths(value: Option<Spread>) -> String {
    value.map_or_else(|| "n/a".into(), |value| format!("{:.1}", value.median))
}

/// How far the extremes lie from the median.
pub(crate) fn around(spread: Spread) -> String {
    let percent = |value: f64| (value / spread.median - 1.0) * 100.0;
    format!("{:+.0}..{:+.0}%", percent(spread.min), percent(spread.max))
}

pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

pub(crate) fn each(before: u64, after: u64, number: usize) -> String {
    count((after.saturating_sub(before) as f64 / number.max(1) as f64).round() as usize)
}

/// A number with its digits in groups of three.
pub(crate) fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Columns as wide as their widest cell; the first two lean left, figures lean right.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(|&name| name.to_owned()).collect()] }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    fn gap(&mut self) {
        self.rows.push(Vec::new());
    }

    pub(crate) fn print(&self, text: &mut String) {
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let columns = self.rows.first().map_or(0, Vec::len);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let left = |column: usize| {
            let mut cells =
                self.rows.iter().skip(1).filter_map(|row| row.get(column)).filter(|cell| !cell.is_empty());
            cells.any(|cell| cell.starts_with(|first: char| first.is_alphabetic()) && cell != "n/a")
        };
        let lean: Vec<bool> = (0..columns).map(left).collect();
        text.push('\n');
        for (index, row) in self.rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).zip(&lean).map(|((cell, &width), &left)| {
                if left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
            if index == 0 {
                let line: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
                text.push_str(&line.join("  "));
                text.push('\n');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_grouped() {
        assert_eq!([count(0), count(999), count(1000), count(1_234_567)], ["0", "999", "1 000", "1 234 567"]);
    }

    #[test]
    fn a_table_is_aligned() {
        let mut table = Table::new(&["name", "per second"]);
        table.row(["a".into(), "7".into()]);
        table.row(["longer".into(), "1 000".into()]);
        let mut text = String::new();
        table.print(&mut text);
        assert_eq!(
            text,
            "\nname    per second\n------  ----------\na                7\nlonger       1 000\n"
        );
    }
}
