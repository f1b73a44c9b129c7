//! What a seed decides of a cluster: its servers, and what goes wrong between them and etcd.

use crate::{
    setup::{Faults, Setup, pick},
    time::{MS, Micros, SECOND},
};

/// A margin that is as long as the rules allow: a clock that is quick is no reason to end a lease early.
const MARGIN: std::time::Duration = std::time::Duration::from_secs(30);

/// A cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub servers: usize,
    /// How long after a leader's last sign of life etcd ends its lease.
    pub lease: Micros,
    /// How long a server waits for an answer of etcd.
    pub deadline: Micros,
    /// How often a server that follows reads the log.
    pub tail_every: Micros,
    /// Whether a server that follows passes requests on.
    pub forwards: bool,
    /// The most bytes of a value of the log.
    pub part_bytes: usize,
    /// Whether etcd is told to forget old revisions.
    pub compacts: bool,
    /// The longest way of a message between the servers and etcd.
    pub etcd_delay_max: Micros,
    /// In percent of the requests to etcd: they get lost on the way there, their answers do, or they arrive long after
    /// they were given up.
    pub lost: u32,
    pub unanswered: u32,
    pub late: u32,
    /// In percent of the messages between servers and etcd: they take nearly as long as somebody waits for them.
    pub sluggish: u32,
    /// In a thousand steps: two parties cannot reach each other for a while.
    pub cuts: u32,
    /// In a thousand steps: etcd has no quorum for a while, its quota is used up for a while, another member of it
    /// leads, it tells for a while that leases live and does not look, it deletes the lease of the leader.
    pub outages: u32,
    pub floods: u32,
    pub elections: u32,
    pub lies: u32,
    pub revocations: u32,
    /// By how much the clocks of servers may be too fast or too slow, in percent.
    pub drift: u64,
}

impl Setup {
    /// What this seed decides for a cluster.
    pub fn draw_cluster(seed: u64, steps: usize) -> Self {
        let mut setup = Self::draw(seed, steps);
        let random = &mut fastrand::Rng::with_seed(seed ^ 0xc105);
        let mut often = |most: u32| if random.bool() { random.u32(1..=most) } else { 0 };
        let quiet = often(6) == 1;
        let mut cluster = Cluster {
            servers: 0,
            lease: 0,
            deadline: 0,
            tail_every: 200 * MS,
            forwards: false,
            compacts: false,
            part_bytes: 0,
            etcd_delay_max: 0,
            lost: often(8),
            unanswered: often(8),
            late: often(12),
            sluggish: often(20),
            cuts: often(12),
            outages: often(3),
            floods: often(4),
            elections: often(4),
            lies: often(4),
            revocations: often(4),
            drift: 0,
        };
        if quiet {
            cluster = cluster.without_faults();
        }
        cluster.drift = if quiet { 0 } else { *pick(random, &[0, 0, 1, 4]) };
        cluster.servers = random.usize(2..=3);
        cluster.lease = random.u64(2..=5) * SECOND;
        cluster.deadline = *pick(random, &[300 * MS, 700 * MS, 2 * SECOND]);
        cluster.etcd_delay_max = *pick(random, &[2 * MS, 20 * MS, 150 * MS]);
        cluster.forwards = random.u8(0..4) > 0;
        cluster.compacts = random.u8(0..4) > 0;
        cluster.part_bytes = *pick(random, &[40, 300, 1 << 20]);
        setup.is_durable = true;
        if cluster.drift > 0 {
            setup.settings.margin_max = MARGIN;
        }
        let Faults { lost_logs, failing_writes, delay_max, write_max, .. } = &mut setup.faults;
        // Nothing of a log is on a disk of a server.
        (*lost_logs, *failing_writes, *write_max) = (0, 0, MS);
        // There is one more way, from the server that a client speaks to to the one that leads.
        *delay_max *= 2;
        setup.snapshot_bytes_min = *pick(random, &[400, 1_000, 4_000, 20_000]);
        setup.cluster = Some(cluster);
        setup
    }
}

impl Cluster {
    /// The same without what goes wrong at random.
    #[must_use]
    pub fn without_faults(self) -> Self {
        Self {
            lost: 0,
            unanswered: 0,
            late: 0,
            sluggish: 0,
            cuts: 0,
            outages: 0,
            floods: 0,
            elections: 0,
            lies: 0,
            revocations: 0,
            ..self
        }
    }
}
