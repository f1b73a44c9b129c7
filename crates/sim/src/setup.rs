//! What a seed decides before anything happens: the rules, the semaphores, the clients, the faults.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use throttle_core::{Account, Deadlock, Limits, Order, Origin, Owner, Quota, RestorePolicy, Settings, Spec};
use throttle_journal::Rules;
use throttle_node::Bounds;

use crate::cluster::setup::Cluster;
use crate::message::Request;
use crate::time::{MS, Micros, SECOND, duration};

/// Who clients may be.
const OWNERS: [&str; 2] = ["ann", "bob"];
/// Who is none of them.
pub const THIEF: &str = "thief";

/// Everything that a run is made of, but for its events.
#[derive(Clone, Debug)]
pub struct Setup {
    pub seed: u64,
    pub is_durable: bool,
    pub settings: Settings,
    pub bounds: Bounds,
    /// How long grants are held back after a start with empty state.
    pub hold_grants: Micros,
    pub snapshot_bytes_min: u64,
    /// Whether clients ask one for what the other holds, and operators resize that: nearly all that happens.
    pub is_tangled: bool,
    /// What the file declares, patterns among it.
    pub declared: BTreeMap<String, Spec>,
    /// The names that clients ask for.
    pub names: Vec<Arc<str>>,
    pub clients: usize,
    /// Whose the peers of clients are: each client is one of these. Without any, nobody has to say who he is.
    pub owners: Vec<Account>,
    /// The longest lease that a client asks for.
    pub lease_max: Micros,
    pub faults: Faults,
    /// The servers, if there are several.
    pub cluster: Option<Cluster>,
    /// How many steps the faulty part has.
    pub steps: usize,
}

/// What a seed decides, with so many steps in its faulty part.
pub type Draw = fn(u64, usize) -> Setup;

/// Which faults there are, and how strong.
#[derive(Clone, Debug)]
pub struct Faults {
    /// The longest way of a message.
    pub delay_max: Micros,
    /// In percent of the messages.
    pub lost: u32,
    pub doubled: u32,
    /// The longest time that a write takes.
    pub write_max: Micros,
    /// In a thousand steps.
    pub crashes: u32,
    pub pauses: u32,
    /// In a thousand steps: the server is stopped and started again.
    pub stops: u32,
    /// In percent of the crashes of a durable server: its data directory is lost with it.
    pub lost_logs: u32,
    /// In percent of the writes.
    pub failing_writes: u32,
    /// Whether the wall clock is set back and forth.
    pub clock_is_set: bool,
    /// In a thousand steps.
    pub operators: u32,
    /// Whether operators resize and remove.
    pub resizes: bool,
    /// In a thousand steps: somebody names a peer that is not his.
    pub thefts: u32,
    /// Whether clients die, stand still and forget to renew.
    pub careless: bool,
}

impl Faults {
    /// None at all, on a quick network.
    pub fn none() -> Self {
        Self {
            delay_max: 2 * MS,
            lost: 0,
            doubled: 0,
            write_max: MS,
            crashes: 0,
            pauses: 0,
            stops: 0,
            lost_logs: 0,
            failing_writes: 0,
            clock_is_set: false,
            operators: 0,
            resizes: false,
            thefts: 0,
            careless: false,
        }
    }
}

impl Setup {
    /// What this seed decides.
    pub fn draw(seed: u64, steps: usize) -> Self {
        let random = &mut fastrand::Rng::with_seed(seed);
        let is_durable = random.bool();
        let is_tangled = random.u8(0..12) == 0;
        let ((declared, names), faults) = if is_tangled {
            (tangled(random), Faults { operators: 50, resizes: true, ..Faults::none() })
        } else {
            (semaphores(random), faults(random, is_durable))
        };
        let lease_max = random.u64(1..=20) * SECOND;
        let absent_after = Duration::from_millis(*pick(random, &[0, 200, 2_000, 10_000]));
        let restore = *pick(random, &[RestorePolicy::Allow, RestorePolicy::IfFree, RestorePolicy::Deny]);
        let mut settings = Settings {
            margin_max: Duration::from_millis(*pick(random, &[0, 100, 30_000])),
            ageing_step: Duration::from_secs(*pick(random, &[1, 60, 3_600])),
            absent_after,
            pass_within: Duration::from_millis(*pick(random, &[0, 1_000, 60_000])),
            restore,
            step: *pick(random, &[1, 3, 1_000]),
            limits: Limits {
                peers: *pick(random, &[6, 1_000]),
                waiters_per_semaphore: *pick(random, &[2, 1_000]),
                locks_per_peer: *pick(random, &[2, 8]),
                locks_per_request: *pick(random, &[2, 32]),
                locks_per_queue: *pick(random, &[6, 20_000]),
                semaphores: *pick(random, &[12, 1_000]),
                members_per_pattern: *pick(random, &[1, 1_000]),
                deadlock_walk: *pick(random, &[3, 1_000]),
            },
        };
        if is_tangled {
            // Nothing else is in the way there.
            settings = Settings { step: 1_000, limits: Settings::default().limits, ..settings };
        }
        let bounds = Bounds {
            waits: *pick(random, &[2, 1_000]),
            endings: *pick(random, &[1, 10_000]),
            idempotency_keys: *pick(random, &[2, 100_000]),
            events: *pick(random, &[1, 100_000]),
        };
        // Long enough that every lease of the forgotten state is over, or none at all.
        let hold_grants = if random.bool() { 0 } else { lease_max + lease_max / 20 + SECOND };
        Self {
            seed,
            is_durable,
            is_tangled,
            settings,
            bounds,
            hold_grants,
            snapshot_bytes_min: *pick(random, &[400, 4_000, 1 << 30]),
            declared,
            names,
            clients: random.usize(2..=12),
            owners: if random.bool() { owners(random) } else { Vec::new() },
            lease_max,
            faults,
            cluster: None,
            steps,
        }
    }

    /// Who sends a request, as far as the server asks.
    pub fn account_of(&self, request: &Request) -> Account {
        match request.client {
            _ if request.is_theft => Owner::new(THIEF).into(),
            Some(client) if !self.owners.is_empty() => self.owners[client % self.owners.len()].clone(),
            _ => Owner::NOBODY.into(),
        }
    }

    /// By what a log is played.
    pub fn rules(&self) -> Rules {
        Rules { core: self.settings.clone(), idempotency_keys: self.bounds.idempotency_keys }
    }

    /// The longest time that a peer lives after its last renewal.
    pub fn longest_life(&self) -> Micros {
        let margin = u64::try_from(self.settings.margin_max.as_micros()).unwrap_or(u64::MAX);
        self.lease_max + margin.min(self.lease_max / 20)
    }

    /// Whether operators change, pause and remove semaphores.
    pub fn changes_semaphores(&self) -> bool {
        self.faults.operators > 0 && self.faults.resizes
    }

    /// The longest rate of a semaphore, if one has any.
    pub fn longest_rate(&self) -> Micros {
        let rates = self.declared.values().filter_map(|spec| spec.per);
        rates.map(|per| u64::try_from(per.as_micros()).unwrap_or(u64::MAX)).max().unwrap_or(0)
    }

    /// The semaphore or pattern that a name belongs to.
    pub fn spec_of(&self, name: &str) -> Option<Spec> {
        let pattern = || name.split_once('/').and_then(|(front, _)| self.declared.get(&format!("{front}/*")));
        self.declared.get(name).or_else(pattern).copied()
    }
}

/// Few semaphores, in whose order nobody asks.
fn tangled(random: &mut fastrand::Rng) -> (BTreeMap<String, Spec>, Vec<Arc<str>>) {
    let spec = |max| Spec { deadlock: Deadlock::Detect, ..Spec::with_max(max) };
    let letters = ["a", "b", "c"].into_iter().take(random.usize(2..=3));
    let declared: BTreeMap<_, _> =
        letters.map(|letter| (letter.to_owned(), spec(random.i64(1..=3)))).collect();
    let names = declared.keys().map(|name| name.as_str().into()).collect();
    (declared, names)
}

fn semaphores(random: &mut fastrand::Rng) -> (BTreeMap<String, Spec>, Vec<Arc<str>>) {
    let (mut declared, mut names) = (BTreeMap::new(), Vec::new());
    let kinds = random.u8(0..3);
    for letter in ["a", "b", "c", "d"].into_iter().take(random.usize(1..=4)) {
        let deadlock = match kinds {
            0 => Deadlock::Hierarchy,
            1 => Deadlock::Detect,
            _ => *pick(random, &[Deadlock::Hierarchy, Deadlock::Detect]),
        };
        let spec = Spec {
            max: random.i64(1..=4),
            level: random.i32(0..3),
            per: (random.u8(0..4) == 0).then(|| rate(random)),
            deadlock,
            order: if random.u8(0..3) == 0 { Order::Pass } else { Order::Strict },
            origin: Origin::File,
        };
        declared.insert(letter.to_owned(), spec);
        names.push(letter.into());
    }
    if random.bool() {
        let spec = Spec { origin: Origin::Pattern, ..Spec::with_max(random.i64(1..=2)) };
        declared.insert("t/*".to_owned(), spec);
        names.extend(["t/1".into(), "t/2".into()]);
    }
    (declared, names)
}

/// Who clients are, and how much each may use.
fn owners(random: &mut fastrand::Rng) -> Vec<Account> {
    let mut share = |few| *pick(random, &[few, 1_000]);
    let quota = Quota { peers: share(2), pending: share(1), members: share(1), blocked: share(1) };
    OWNERS.map(|name| Account { owner: Owner::new(name), quota }).to_vec()
}

/// A rate, often longer than the server is down.
fn rate(random: &mut fastrand::Rng) -> Duration {
    let longest = *pick(random, &[3 * SECOND, 60 * SECOND]);
    duration(random.u64(MS..=longest))
}

fn faults(random: &mut fastrand::Rng, is_durable: bool) -> Faults {
    if random.u8(0..6) == 0 {
        return Faults::none();
    }
    let mut often = |most: u32| if random.bool() { random.u32(1..=most) } else { 0 };
    let clock_is_set = often(1) == 1 && (is_durable || often(1) == 1);
    Faults {
        stops: often(3),
        // Tokens go on only where the clock does, or the log.
        lost_logs: if is_durable && !clock_is_set { often(30) } else { 0 },
        lost: often(15),
        doubled: often(10),
        crashes: often(15),
        pauses: often(6),
        failing_writes: if is_durable { often(5) } else { 0 },
        operators: often(60),
        thefts: often(60),
        delay_max: *pick(random, &[MS, 20 * MS, 400 * MS]),
        write_max: *pick(random, &[MS, 30 * MS, 600 * MS]),
        clock_is_set,
        resizes: random.bool(),
        careless: random.bool(),
    }
}

/// One of these.
pub fn pick<'a, T>(random: &mut fastrand::Rng, from: &'a [T]) -> &'a T {
    &from[random.usize(..from.len())]
}
