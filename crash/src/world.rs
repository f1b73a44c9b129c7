//! All that the outside world knows: the clients with their peers, the semaphores, the grants that were told of.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{
    clock::lifetime,
    ledger::Ledger,
    model::{Ask, Key, Peer, State},
    view::Labels,
};

/// A semaphore as the file or a request declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) max: i64,
    pub(crate) level: i32,
}

/// What is known of a semaphore.
#[derive(Clone, Debug)]
pub(crate) struct Semaphore {
    /// One of these is so. None: there is none of this name.
    pub(crate) specs: Vec<Option<Spec>>,
    /// The largest `max` that it ever has.
    pub(crate) cap: i64,
    pub(crate) per: Option<Duration>,
    pub(crate) detects_deadlocks: bool,
    /// Members come and go.
    pub(crate) is_member: bool,
    /// Only this client changes it.
    pub(crate) owner: Option<usize>,
    /// Only the peers of its owner use it, and it comes and goes.
    pub(crate) is_private: bool,
    /// Count that was released, but is not due back before this.
    pub(crate) cooling: Vec<(i64, Instant)>,
}

/// A request that makes a peer.
#[derive(Clone, Debug)]
pub(crate) struct Creation {
    /// Tells the peer, where the dialect has labels.
    pub(crate) labels: Labels,
    pub(crate) key: Option<Key>,
    /// What it asks for.
    pub(crate) ask: Option<Ask>,
    pub(crate) expires_in: Duration,
    pub(crate) sent: Instant,
}

impl Creation {
    /// A peer that it made.
    pub(crate) fn peer(&self, id: u64) -> Peer {
        let state = State::new(self.expires_in);
        let states = match &self.ask {
            None => vec![state],
            Some(ask) => state.asked(ask, self.sent),
        };
        Peer {
            id,
            labels: self.labels.clone(),
            key: self.key.clone(),
            states: states.into_iter().map(Some).collect(),
            lives_until: self.sent + lifetime(self.expires_in),
            is_abandoned: false,
            is_ended: false,
            is_unsettled: false,
            since: self.sent,
        }
    }
}

/// A peer that is gone.
pub(crate) struct Lost {
    pub(crate) id: u64,
    /// What it held: counts and tokens.
    pub(crate) locks: BTreeMap<String, (i64, Option<u64>)>,
}

#[derive(Default)]
pub(crate) struct Client {
    pub(crate) peers: Vec<Peer>,
    /// Requests whose answer was lost.
    pub(crate) creations: Vec<Creation>,
    /// Peers whose request is to be repeated, as its answer was lost.
    pub(crate) repeats: Vec<u64>,
    /// Peers that are gone, and may try to come back.
    pub(crate) lost: Vec<Lost>,
    /// Makes names that are used once.
    pub(crate) next: u64,
}

#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) kills: u64,
    pub(crate) kills_in_recovery: u64,
    pub(crate) kills_in_snapshot: u64,
    pub(crate) stops: u64,
    pub(crate) snapshots: u64,
    pub(crate) operations: u64,
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    pub(crate) unknown: u64,
    /// Of those, how many turned out to have happened.
    pub(crate) happened: u64,
    pub(crate) grants_checked: u64,
    pub(crate) waiters_checked: u64,
    pub(crate) keys_checked: u64,
    pub(crate) leases_checked: u64,
    pub(crate) expiries_checked: u64,
    pub(crate) events: u64,
    pub(crate) longest_recovery: Duration,
}

pub(crate) struct World {
    pub(crate) clients: Vec<Client>,
    pub(crate) semaphores: BTreeMap<String, Semaphore>,
    /// Those that a request without an answer is about, which may have its effect late: they are left alone until the
    /// next check.
    pub(crate) unsettled: BTreeSet<String>,
    pub(crate) ledger: Ledger,
    /// Grants that readers of events were told of: the token, and when.
    pub(crate) heard: HashMap<(u64, String), (u64, Instant)>,
    pub(crate) instance: Option<String>,
    pub(crate) figures: Figures,
    /// How many requests are still to be sent in this round.
    pub(crate) operations_left: u64,
    /// Whether the process was told to end.
    pub(crate) is_ending: bool,
    /// Whether times that servers tell are worth nothing.
    pub(crate) clocks_jump: bool,
    /// When the last process was known to have ended.
    pub(crate) ended: Option<Instant>,
    /// What went wrong first.
    pub(crate) violation: Option<String>,
}

/// The world, and the word that the round is over.
#[derive(Clone)]
pub(crate) struct Shared {
    world: Arc<Mutex<World>>,
    pub(crate) over: Arc<watch::Sender<bool>>,
}

impl Shared {
    pub(crate) fn new(world: World) -> Self {
        Self { world: Arc::new(Mutex::new(world)), over: Arc::new(watch::Sender::new(false)) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the round with what went wrong.
    pub(crate) fn violated(&self, what: impl fmt::Display) {
        self.lock().violation.get_or_insert(what.to_string());
        self.over.send_replace(true);
    }
}

/// The file that the server starts with, and what it declares.
pub(crate) fn configuration(clients: usize) -> (String, BTreeMap<String, Semaphore>) {
    let mut entries = vec!["[durability]\nsnapshot_bytes = 65536\n[semaphores]".to_owned()];
    let mut semaphores = BTreeMap::new();
    let plain = Semaphore {
        specs: Vec::new(),
        cap: 0,
        per: None,
        detects_deadlocks: false,
        is_member: false,
        owner: None,
        is_private: false,
        cooling: Vec::new(),
    };
    let of_file =
        |max, level| Semaphore { specs: vec![Some(Spec { max, level })], cap: max, ..plain.clone() };
    let simple = (0..8).map(|number| (format!("mutex-{number}"), 1));
    let simple = simple.chain((0..6).map(|number| (format!("pair-{number}"), 2)));
    let simple = simple.chain([9, 20, 30].map(|max| (format!("wide-{max}"), max)));
    let high = [("middle", 3, 1), ("top-0", 1, 2), ("top-1", 4, 2)];
    let high = high.map(|(name, max, level)| (name.to_owned(), max, level));
    for (name, max, level) in simple.map(|(name, max)| (name, max, 0)).chain(high) {
        entries.push(format!("{name} = {{ max = {max}, level = {level} }}"));
        semaphores.insert(name, of_file(max, level));
    }
    for name in ["detects-0", "detects-1"] {
        entries.push(format!("{name} = {{ max = 1, deadlock = \"detect\" }}"));
        semaphores.insert(name.to_owned(), Semaphore { detects_deadlocks: true, ..of_file(1, 0) });
    }
    entries.push("rate = { max = 3, per = \"300ms\" }".to_owned());
    semaphores
        .insert("rate".to_owned(), Semaphore { per: Some(Duration::from_millis(300)), ..of_file(3, 0) });
    entries.push("\"tenant/*\" = 2".to_owned());
    for name in ["tenant/a", "tenant/b", "tenant/c"] {
        semaphores.insert(name.to_owned(), Semaphore { is_member: true, ..of_file(2, 0) });
    }
    for owner in 0..clients.min(2) {
        let name = format!("resized-{owner}");
        entries.push(format!("{name} = 3"));
        semaphores.insert(name, Semaphore { owner: Some(owner), cap: 5, ..of_file(3, 0) });
    }
    for owner in 0..clients {
        let name = format!("private-{owner}");
        let specs = vec![None];
        semaphores
            .insert(name, Semaphore { specs, owner: Some(owner), is_private: true, cap: 3, ..plain.clone() });
    }
    (entries.join("\n"), semaphores)
}

impl World {
    pub(crate) fn new(clients: usize, semaphores: BTreeMap<String, Semaphore>) -> Self {
        Self {
            clients: (0..clients).map(|_| Client::default()).collect(),
            semaphores,
            unsettled: BTreeSet::new(),
            ledger: Ledger::default(),
            heard: HashMap::new(),
            instance: None,
            figures: Figures::default(),
            operations_left: 0,
            is_ending: false,
            clocks_jump: false,
            ended: None,
            violation: None,
        }
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.clients.iter().flat_map(|client| &client.peers)
    }

    pub(crate) fn peers_mut(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.clients.iter_mut().flat_map(|client| &mut client.peers)
    }

    /// A server process was started: the leases of those who live begin anew in full.
    pub(crate) fn starts(&mut self, spawned: Instant) {
        let ended = self.ended;
        for peer in self.peers_mut().filter(|peer| ended.is_none_or(|ended| peer.lives_until > ended)) {
            peer.lives_until = spawned + lifetime(peer.shortest());
        }
    }

    /// The server process has ended. Whose lease may have been over by then may be gone.
    pub(crate) fn ends(&mut self, at: Instant) {
        self.ended = Some(at);
        for peer in self.peers_mut().filter(|peer| peer.lives_until <= at && !peer.states.contains(&None)) {
            peer.states.push(None);
        }
    }

    /// At no moment is more held on a semaphore than its `max`, by those who know that they hold it.
    pub(crate) fn check_sum(&self, name: &str, at: Instant) -> Result<(), String> {
        let Some(semaphore) = self.semaphores.get(name) else { return Ok(()) };
        let live = || self.peers().filter(|peer| peer.lives_until > at);
        let held: i64 = live().map(|peer| peer.surely_holds(name)).sum();
        let cooling: i64 =
            semaphore.cooling.iter().filter(|(_, until)| *until > at).map(|(count, _)| count).sum();
        if held + cooling <= semaphore.cap {
            return Ok(());
        }
        let holders: Vec<_> = live().filter(|peer| peer.surely_holds(name) > 0).collect();
        Err(format!(
            "{held} of {name} are held and {cooling} are cooling, but there are {}: {holders:#?}",
            semaphore.cap
        ))
    }

    /// All semaphores on which a peer holds something.
    pub(crate) fn check_sums(&self, client: usize, peer: u64, at: Instant) -> Result<(), String> {
        let peers = self.clients.get(client).into_iter().flat_map(|client| &client.peers);
        for state in peers.filter(|found| found.id == peer).flat_map(Peer::living) {
            for name in state.locks.keys() {
                self.check_sum(name, at)?;
            }
        }
        Ok(())
    }
}
