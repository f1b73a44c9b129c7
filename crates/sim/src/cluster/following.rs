//! A server that follows: it reads the log as that grows, and tries to lead when nobody does. One task, as in a real
//! server.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use throttle_core::{Core, planted};
use throttle_etcd::{Candidate, Deployment, EtcdLog, EtcdReader, Kv as _, Leader, Leadership};
use throttle_journal::{End, LogError};
use throttle_node::Follower;

use crate::{
    etcd::kv::SimKv,
    setup::Setup,
    time::{Micros, duration},
};

/// Where the keys of this deployment are.
pub(super) const PREFIX: &str = "/throttle";
/// How long to wait after etcd gave no answer.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// What others may see of a server that follows.
#[derive(Clone, Default)]
pub(super) struct Status(Arc<Mutex<Seen>>);

#[derive(Default)]
pub(super) struct Seen {
    /// Who leads, as far as it knows.
    pub(super) leader: Option<Leader>,
    /// The number of the last batch that it has read, and what it makes of all of them.
    pub(super) digest: Option<(u64, String)>,
    /// What a planted fault has it answer by.
    pub(super) semaphores: Vec<crate::message::Semaphore>,
    /// Somebody wants to know what it makes of them.
    pub(super) is_asked: bool,
}

impl Status {
    pub(super) fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a server is made of, in one run of it.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) kv: SimKv,
    pub(super) setup: Arc<Setup>,
    pub(super) name: String,
    pub(super) lease: Micros,
    pub(super) tail_every: Micros,
    pub(super) compacts: bool,
    pub(super) part_bytes: usize,
    /// The first token, if there never was one.
    pub(super) first_token: u64,
    pub(super) seed: u64,
}

/// The log as it is read.
pub(super) struct Tail {
    server: Server,
    journal: u64,
    reader: EtcdReader<SimKv>,
    pub(super) follower: Follower,
    pub(super) end: Option<End>,
}

impl Tail {
    fn new(server: Server, journal: u64) -> Self {
        let reader = EtcdReader::new(server.kv.clone(), PREFIX, journal);
        let follower = server.follower();
        Self { server, journal, reader, follower, end: None }
    }

    /// Reads what is new. Tells whether all of it was read.
    async fn read(&mut self) -> Result<bool, LogError> {
        let Self { reader, follower, end, .. } = self;
        let mut has_seen = false;
        let mut visit = |entry: throttle_journal::Entry<'_>| {
            has_seen = true;
            follower.apply(entry.body())
        };
        match reader.read_from(*end, None, &mut visit).await {
            Ok(read) => {
                *end = Some(read);
                Ok(true)
            }
            Err(LogError::Io(_)) if !has_seen || planted!(PartlyReadKept) => Ok(false),
            Err(LogError::Trimmed) if planted!(TrimmedNotBegunAnew) => {
                *end = None;
                Ok(false)
            }
            // It has read some of it, and nobody knows how much.
            Err(LogError::Trimmed | LogError::Io(_)) => {
                (*follower, *end) = (self.server.follower(), None);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn tell(&self, status: &Status) {
        let mut seen = status.lock();
        seen.leader = self.reader.leader().cloned();
        if planted!(FollowerAnswers) {
            let all = self.follower.state().core.semaphores(None);
            seen.semaphores = all.map(|one| crate::shown::semaphore(&one)).collect();
        }
        if std::mem::take(&mut seen.is_asked) {
            let number = self.end.map_or(0, |end| end.number);
            seen.digest = Some((number, digest(&self.follower.state().core)));
        }
    }
}

impl Server {
    fn follower(&self) -> Follower {
        let core = Core::new(self.setup.settings.clone(), self.first_token, self.seed);
        Follower::new(core, self.setup.bounds.idempotency_keys)
    }
}

/// Everything that clients could see of a state.
pub(super) fn digest(core: &Core) -> String {
    let peers = core.peers(None).map(|(_, peer)| crate::shown::peer(peer, throttle_journal::Wall::default()));
    let semaphores = core.semaphores(None).map(|one| crate::shown::semaphore(&one));
    let mut peers: Vec<_> = peers.collect();
    peers.sort_unstable_by_key(|peer| peer.id);
    format!("{peers:?} {:?}", semaphores.collect::<Vec<_>>())
}

/// Follows the log until this server leads, or cannot read what is there.
pub(super) async fn follow(
    server: Server,
    mut random: fastrand::Rng,
    status: Status,
) -> Result<(Leadership<SimKv>, Tail), LogError> {
    let kv = server.kv.clone();
    let candidate = Candidate::new(kv.clone(), PREFIX, server.name.clone(), duration(server.lease));
    let journal = loop {
        let new = Deployment { journal: random.u64(1..), secret: [0; 32] };
        match candidate.deployment(new).await {
            Ok(Deployment { journal, .. }) => break journal,
            Err(LogError::Io(_)) => kv.pause(PAUSE).await,
            Err(error) => return Err(error),
        }
    };
    let tail_every = server.tail_every;
    let mut tail = Tail::new(server, journal);
    loop {
        let is_read = tail.read().await?;
        tail.tell(&status);
        if is_read && tail.reader.leader().is_none() {
            // Not all at the same moment.
            kv.pause(duration(random.u64(0..=tail_every / 2))).await;
            if let Ok(Some(leadership)) = candidate.try_lead().await {
                return Ok((leadership, tail));
            }
        }
        kv.pause(duration(tail_every)).await;
    }
}

/// Reads what its predecessor wrote before this server led, and the log that it will write to. `None`: another one
/// leads by now.
pub(super) async fn take_over(
    mut tail: Tail,
    leadership: Arc<Leadership<SimKv>>,
) -> Result<Option<(Tail, EtcdLog<SimKv>)>, LogError> {
    let Server { kv, compacts, part_bytes, .. } = tail.server.clone();
    let term = leadership.term().clone();
    while !planted!(TailNotReadAgain) {
        if tail.read().await? {
            break;
        }
        kv.pause(PAUSE).await;
    }
    if !planted!(TailNotReadAgain) && tail.reader.leader().is_none_or(|leader| leader.epoch != term.epoch) {
        return Ok(None);
    }
    let mut log = EtcdLog::open(kv, PREFIX, tail.journal, term, compacts).await?;
    log.cut_at(part_bytes);
    Ok(Some((tail, log)))
}

impl Tail {
    /// The id of the journal.
    pub(super) fn journal(&self) -> u64 {
        self.journal
    }
}
