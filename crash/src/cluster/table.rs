//! How long the service was away.

use std::{collections::BTreeMap, time::Duration};

use clap::ValueEnum as _;

use super::{act::Act, large::Counted, late::Told, servers::LEASE};

#[derive(Default)]
pub(super) struct Table {
    away: BTreeMap<Act, Vec<Duration>>,
    /// How long the service was away, and how long of that etcd itself, where the leaders of both died.
    both: Vec<(Duration, Duration)>,
    pub(super) violated: Option<Act>,
    pub(super) late: Told,
    pub(super) large: Counted,
    left_out: Vec<(Act, &'static str)>,
}

impl Table {
    pub(super) fn add(&mut self, act: Act, away: Duration) {
        self.away.entry(act).or_default().push(away);
    }

    /// The same, where etcd itself was away for so long at the beginning.
    pub(super) fn add_etcd(&mut self, away: Duration, etcd: Duration) {
        self.both.push((away, etcd));
    }

    /// An act that cannot be played here.
    pub(super) fn left_out(&mut self, act: Act, why: &'static str) {
        self.left_out.push((act, why));
    }

    pub(super) fn print(&self) {
        println!("{:>52} {:>6} {:>10} {:>9} {:>9}", "", "rounds", "violations", "median", "longest");
        let mut sum = 0;
        for &act in Act::value_variants() {
            let mut away = self.away.get(&act).cloned().unwrap_or_default();
            let violations = usize::from(self.violated == Some(act));
            away.sort_unstable();
            let rounds = away.len() + violations;
            sum += rounds;
            let shown = |time: Option<&Duration>| {
                time.map_or_else(|| "-".to_owned(), |time| format!("{:.2} s", time.as_secs_f64()))
            };
            let (median, longest) = (shown(middle(&away)), shown(away.last()));
            println!("{:>52} {rounds:>6} {violations:>10} {median:>9} {longest:>9}", act.words());
        }
        println!("{:>52} {sum:>6} {:>10}", "all", usize::from(self.violated.is_some()));
        let Told { refused, new } = self.late;
        println!(
            "requests to a leader that stood still: {refused} answered 503, {new} passed on to its successor"
        );
        println!("commands above 1.5 MiB: {}", self.large);
        for (act, why) in &self.left_out {
            println!("left out, {}: {why}", act.words());
        }
        for (act, more) in [(Act::KillLeader, 1), (Act::KillBothLeaders, 4)] {
            let away = self.away.get(&act).map(Vec::as_slice).unwrap_or_default();
            let bound = LEASE + Duration::from_secs(more);
            let above = away.iter().filter(|away| **away > bound).count();
            println!("{}: {above} of {} above {} s", act.words(), away.len(), bound.as_secs());
        }
        let mut etcd: Vec<_> = self.both.iter().map(|(_, etcd)| *etcd).collect();
        etcd.sort_unstable();
        if let (Some(median), Some(longest)) = (middle(&etcd), etcd.last()) {
            let bound = LEASE + Duration::from_secs(1);
            let above = self.both.iter().filter(|(away, etcd)| *away > *etcd + bound).count();
            println!(
                "of that etcd itself was away for {:.2} s (median), {:.2} s (longest); {above} of {} above {} s after it",
                median.as_secs_f64(),
                longest.as_secs_f64(),
                etcd.len(),
                bound.as_secs()
            );
        }
    }
}

/// The median of what is in order.
fn middle(sorted: &[Duration]) -> Option<&Duration> {
    sorted.get(sorted.len().saturating_sub(1) / 2)
}
