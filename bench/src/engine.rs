//! `--engine`: two ways to share the core among the tasks of a server, without a network.
//!
//! * *mutex*: the core in a `std::sync::Mutex`. A task locks it, runs its command and takes the events under
//!   the lock.
//! * *owner*: one task owns the core. Others send it commands through a channel and wait for the reply; it
//!   takes as many commands at once as there are.
//!
//! Each task has a peer of its own and goes round heartbeat, acquire, release; one operation is one command.
//! After each one it yields, because a server's task goes back to its socket. Both designs get the same
//! commands, the same clock and the same runtime.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use throttle_core::{Acquire, By, Core, PeerId, Settings, Spec, Time};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use crate::process::WIDE;
use crate::stats::Spread;
use crate::{Options, Result, note, now};

/// The figures of one design.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    pub(crate) design: &'static str,
    pub(crate) tasks: usize,
    /// Commands per second.
    pub(crate) rate: Spread,
    pub(crate) vs_mutex: Option<Spread>,
}

/// From how many tasks the requests come.
const TASKS: [usize; 2] = [2, 64];
const LEASE: Duration = Duration::from_hours(1);
/// How many commands may wait for the owner, and how many it takes at once.
const QUEUE: usize = 1024;
const BATCH: usize = 256;

#[derive(Clone, Copy)]
enum Command {
    Heartbeat,
    Acquire,
    Release,
}

impl Command {
    /// The one after this, so that the lock is free again in the end.
    fn next(self) -> Self {
        match self {
            Self::Heartbeat => Self::Acquire,
            Self::Acquire => Self::Release,
            Self::Release => Self::Heartbeat,
        }
    }
}

/// The core with all that it needs to run a command.
struct Engine {
    core: Core,
    begin: Instant,
}

impl Engine {
    fn new(begin: Instant) -> Self {
        let mut core = Core::new(Settings::default(), 1, 7);
        core.set_semaphore(Time::default(), WIDE, Spec::with_max(1_000_000));
        Self { core, begin }
    }

    fn new_peer(&mut self, random: u64) -> Result<PeerId> {
        let peer = self.core.new_peer(Time::default(), By::Anybody, LEASE, random, None);
        peer.map_err(|error| format!("no peer: {error:?}").into())
    }

    /// Runs a command; tells whether it was a success.
    fn run(&mut self, peer: PeerId, command: Command) -> bool {
        let micros = u64::try_from(self.begin.elapsed().as_micros()).unwrap_or(u64::MAX);
        let now = Time::from_micros(micros);
        let outcome = match command {
            Command::Heartbeat => self.core.heartbeat(now, peer.by_server(), LEASE).is_ok(),
            Command::Acquire => {
                let request =
                    Acquire { peer: peer.by_server(), locks: &[(WIDE, 1)], priority: 0, expires_in: None };
                self.core.acquire(now, &request).is_ok()
            }
            Command::Release => self.core.release_lock(now, peer.by_server(), WIDE).is_ok(),
        };
        self.core.drain_events();
        outcome
    }
}

/// Measures both designs.
pub(crate) fn measure(options: &Options) -> Result<Vec<Line>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
    let mut lines = Vec::new();
    for tasks in TASKS {
        note(&format!("engine with {tasks} tasks"));
        let (mut mutex, mut owner) = (Vec::new(), Vec::new());
        for round in 0..=options.rounds {
            let pair =
                (with_mutex(&runtime, tasks, options.slice)?, with_owner(&runtime, tasks, options.slice)?);
            // The first round warms up.
            if round > 0 {
                mutex.push(pair.0);
                owner.push(pair.1);
            }
        }
        let rate = |rates: &[f64]| Spread::of(rates).ok_or("no rounds");
        lines.push(Line { design: "mutex", tasks, rate: rate(&mutex)?, vs_mutex: None });
        let vs_mutex = Spread::of_ratios(&owner, &mutex);
        lines.push(Line { design: "owner", tasks, rate: rate(&owner)?, vs_mutex });
    }
    Ok(lines)
}

fn with_mutex(runtime: &Runtime, tasks: usize, time: Duration) -> Result<f64> {
    let begin = now();
    let mut engine = Engine::new(begin);
    let peers = (0..tasks as u64).map(|random| engine.new_peer(random)).collect::<Result<Vec<_>>>()?;
    let engine = Arc::new(Mutex::new(engine));
    let stop = Arc::new(AtomicBool::new(false));
    let workers = peers.into_iter().map(|peer| {
        let (engine, stop) = (Arc::clone(&engine), Arc::clone(&stop));
        async move {
            let mut done = 0_u64;
            let mut command = Command::Heartbeat;
            while !stop.load(Ordering::Relaxed) {
                if !engine.lock().unwrap_or_else(PoisonError::into_inner).run(peer, command) {
                    return Err("a command was refused");
                }
                done += 1;
                command = command.next();
                tokio::task::yield_now().await;
            }
            Ok(done)
        }
    });
    rate(runtime, workers, &stop, time)
}

type Order = (PeerId, Command, oneshot::Sender<bool>);

fn with_owner(runtime: &Runtime, tasks: usize, time: Duration) -> Result<f64> {
    let begin = now();
    let mut engine = Engine::new(begin);
    let peers = (0..tasks as u64).map(|random| engine.new_peer(random)).collect::<Result<Vec<_>>>()?;
    let (sender, mut orders) = mpsc::channel::<Order>(QUEUE);
    // Ends when the last task has dropped its sender.
    runtime.spawn(async move {
        let mut batch = Vec::with_capacity(BATCH);
        while orders.recv_many(&mut batch, BATCH).await > 0 {
            for (peer, command, reply) in batch.drain(..) {
                // A task that no longer wants its reply is no concern of the engine.
                let _ = reply.send(engine.run(peer, command));
            }
        }
    });
    let stop = Arc::new(AtomicBool::new(false));
    let workers = peers.into_iter().map(|peer| {
        let (sender, stop) = (sender.clone(), Arc::clone(&stop));
        async move {
            let mut done = 0_u64;
            let mut command = Command::Heartbeat;
            while !stop.load(Ordering::Relaxed) {
                let (reply, answer) = oneshot::channel();
                let sent = sender.send((peer, command, reply)).await.is_ok();
                if !sent || !answer.await.unwrap_or(false) {
                    return Err("a command was refused");
                }
                done += 1;
                command = command.next();
                tokio::task::yield_now().await;
            }
            Ok(done)
        }
    });
    let rate = rate(runtime, workers, &stop, time);
    drop(sender);
    rate
}

/// Lets all workers run for `time` and adds up what they did, per second.
fn rate<W>(
    runtime: &Runtime,
    workers: impl Iterator<Item = W>,
    stop: &AtomicBool,
    time: Duration,
) -> Result<f64>
where
    W: Future<Output = std::result::Result<u64, &'static str>> + Send + 'static,
{
    let begin = now();
    let workers: Vec<_> = workers.map(|worker| runtime.spawn(worker)).collect();
    std::thread::sleep(time);
    stop.store(true, Ordering::Relaxed);
    let seconds = begin.elapsed().as_secs_f64();
    let mut total = 0;
    for worker in workers {
        total += runtime.block_on(worker)??;
    }
    Ok(total as f64 / seconds)
}
