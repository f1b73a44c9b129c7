//! The tables of servers that keep a log: in a directory, and in etcd.

use crate::report::{Report, Table, around, count, each, mebibytes, ratio};
use crate::{cluster, durable, soak};

impl Report {
    pub(crate) fn durable_tables(&self, text: &mut String) {
        if !self.durable.is_empty() {
            let header = &["Durable", "memory/s", "durable/s", "ratio", "memory p99 us", "durable p99 us"];
            let mut table = Table::new(header);
            for durable::Line { row, rates, ratio: found, p99_us } in &self.durable {
                let [memory, disk] = rates.map(|rate| count(rate.median as usize));
                let [memory_p99, disk_p99] = p99_us.map(|time| count(time.median as usize));
                table.row([(*row).to_owned(), memory, disk, ratio(Some(*found)), memory_p99, disk_p99]);
            }
            table.print(text);
        }
        if let Some(durable::Recovery { leases, bytes, seconds, snapshot_seconds }) = &self.recovery {
            let mut table = Table::new(&["Recovery", "leases", "seconds", "MiB on disk", "bytes per lease"]);
            for (name, (bytes, seconds)) in
                ["journal as it grew", "after a snapshot"].into_iter().zip(bytes.iter().zip(seconds))
            {
                table.row([
                    name.to_owned(),
                    count(*leases),
                    format!("{seconds:.2}"),
                    mebibytes(*bytes),
                    each(0, *bytes, *leases),
                ]);
            }
            table.print(text);
            text.extend(["The snapshot took ", &format!("{snapshot_seconds:.2} s.\n")]);
        }
    }

    pub(crate) fn cluster_table(&self, text: &mut String) {
        if !self.cluster.is_empty() {
            let mut table = Table::new(&["Cluster", "asked", "operations/s", "spread", "p99 us"]);
            for cluster::Line { row, asked, rate, p99_us } in &self.cluster {
                table.row([
                    (*row).to_owned(),
                    (*asked).to_owned(),
                    count(rate.median as usize),
                    around(*rate),
                    count(p99_us.median as usize),
                ]);
            }
            table.print(text);
        }
        if let Some(cluster::Failover { kills, median, worst }) = &self.failover {
            text.extend([format!(
                "{kills} leaders were killed; a change was acknowledged again after {median:.2} s (median), \
                 {worst:.2} s (worst).\n"
            )]);
        }
    }

    pub(crate) fn soak_table(&self, text: &mut String) {
        if self.soak.is_empty() {
            return;
        }
        let header =
            ["Minutes", "operations/s", "p99 us", "last batch", "etcd db MiB", "etcd MiB", "leader MiB"];
        let mut table = Table::new(&[&header[..], &["standby MiB", "changes of leader"]].concat());
        for soak::Sample { minutes, rate, p99_us, db_bytes, memory, position, changes } in &self.soak {
            let [etcd, leader, standby] = memory.map(mebibytes);
            table.row([
                format!("{minutes:.0}"),
                count(*rate as usize),
                count(*p99_us as usize),
                count(*position as usize),
                mebibytes(*db_bytes),
                etcd,
                leader,
                standby,
                changes.to_string(),
            ]);
        }
        table.print(text);
    }
}
