//! The rounds.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use fastrand::Rng;
use http_body_util::BodyExt as _;
use throttle_api::{Digits, Event, SemaphoreDetail};
use tokio::{runtime::Runtime, time::sleep};

use crate::{
    Arguments,
    check::{INEXACT, Start},
    clock::{now, time_of_day},
    http::{Call, Connection},
    model::Peer,
    plan,
    server::Server,
    view::View,
    world::{Shared, World, configuration},
};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How a round ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By SIGKILL, after so many requests.
    Kill,
    /// By SIGKILL, while a snapshot is made.
    KillInSnapshot,
    /// By SIGTERM.
    Stop,
}

pub(crate) fn run(arguments: &Arguments, seed: u64) -> Outcome<()> {
    let beside = || Some(std::env::current_exe().ok()?.parent()?.join("throttle"));
    let server = arguments.server.clone().or_else(beside).ok_or("name the server with --server")?;
    let server = fs::canonicalize(&server).map_err(|error| format!("{}: {error}", server.display()))?;
    let parent = arguments.directory.clone().unwrap_or_else(std::env::temp_dir);
    let directory = parent.join(format!("throttle-crash-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let outcome = if arguments.cluster {
        play_cluster(arguments, server, &directory, seed)
    } else {
        play(arguments, server, &directory, seed)
    };
    if outcome.is_ok() {
        fs::remove_dir_all(&directory)?;
    } else {
        eprintln!("The files are in {}", directory.display());
    }
    outcome
}

#[cfg(unix)]
use crate::cluster::run as play_cluster;

#[cfg(not(unix))]
fn play_cluster(_: &Arguments, _: PathBuf, _: &Path, _: u64) -> Outcome<()> {
    Err("a cluster is tested on Unix only".into())
}

fn play(arguments: &Arguments, server: PathBuf, directory: &Path, seed: u64) -> Outcome<()> {
    let (file, semaphores) = configuration(arguments.clients);
    fs::write(directory.join("throttle.toml"), file)?;
    let mut test = Test {
        server,
        directory: directory.to_owned(),
        shared: Shared::new(World::new(arguments.clients, semaphores)),
        rng: Rng::with_seed(seed),
        last_recovery: Duration::from_millis(20),
    };
    let begun = now();
    let outcome: Result<(), String> = Runtime::new()?.block_on(async {
        for round in 0..arguments.rounds {
            test.round().await.map_err(|error| format!("Round {round}: {error}"))?;
        }
        test.finish().await.map_err(|error| format!("At the end: {error}"))
    });
    report(&test.shared.lock(), begun.elapsed());
    Ok(outcome?)
}

struct Test {
    server: PathBuf,
    directory: PathBuf,
    shared: Shared,
    rng: Rng,
    /// How long it took.
    last_recovery: Duration,
}

impl Test {
    /// Starts the server, mostly at once; now and then it is killed while it recovers.
    async fn start(&mut self) -> Outcome<(Server, u16)> {
        loop {
            let spawned_at = time_of_day();
            let mut server = Server::start(&self.server, &self.directory, &["--data-dir", "data"], &[])?;
            self.shared.lock().starts(server.spawned);
            if self.rng.u32(0..4) == 0 {
                sleep(self.last_recovery.mul_f64(self.rng.f64())).await;
                server.kill()?;
                server.ended().await?;
                let mut world = self.shared.lock();
                world.ends(now());
                world.figures.kills += 1;
                world.figures.kills_in_recovery += u64::from(server.said().port.is_none());
                continue;
            }
            let Some(port) = server.ready().await else {
                let status = server.ended().await?;
                return Err(
                    format!("the server does not start: {status}, {:#?}", server.said().complaints).into()
                );
            };
            let mut connection = Connection::open(port).await?;
            let view = View::read(&mut connection).await?;
            let mut world = self.shared.lock();
            let took = server.said().ready_at.unwrap_or(server.spawned) - server.spawned;
            self.last_recovery = took;
            world.figures.longest_recovery = world.figures.longest_recovery.max(took);
            world.check(&view, Some(Start { spawned: server.spawned, spawned_at }))?;
            return Ok((server, port));
        }
    }

    async fn round(&mut self) -> Outcome<()> {
        let (mut server, port) = self.start().await?;
        let end = match self.rng.u32(0..8) {
            0 if cfg!(unix) => End::Stop,
            1..4 => End::KillInSnapshot,
            _ => End::Kill,
        };
        {
            let mut world = self.shared.lock();
            world.operations_left = self.rng.u64(1..=900);
            world.is_ending = false;
        }
        self.shared.over.send_replace(false);
        let events = tokio::spawn(listen(self.shared.clone(), Connection::open(port).await?));
        let clients: Vec<_> = (0..self.shared.lock().clients.len())
            .map(|client| tokio::spawn(use_it(self.shared.clone(), client, port, self.rng.fork())))
            .collect();
        let mut over = self.shared.over.subscribe();
        over.wait_for(|over| *over).await?;
        if end == End::KillInSnapshot {
            // There are requests until then, which make the journal longer.
            let begun = server.said().begun;
            let patience = sleep(Duration::from_millis(500));
            tokio::select! {
                said = server.said.wait_for(|said| said.begun > begun || said.is_over) => drop(said),
                () = patience => {}
            }
            sleep(Duration::from_micros(self.rng.u64(0..5000))).await;
        }
        if end == End::Stop {
            self.shared.lock().is_ending = true;
            server.terminate()?;
        } else {
            server.kill()?;
        }
        let status = server.ended().await?;
        let ended = now();
        for client in clients {
            client.await?;
        }
        events.await?;
        let said = server.said();
        let mut world = self.shared.lock();
        world.ends(ended);
        world.figures.snapshots += said.finished;
        if end == End::Stop {
            world.figures.stops += 1;
        } else {
            world.figures.kills += 1;
            world.figures.kills_in_snapshot += u64::from(said.begun > said.finished);
        }
        if let Some(violation) = world.violation.take() {
            return Err(violation.into());
        }
        let was_killed = status.code().is_none();
        if !said.complaints.is_empty()
            || was_killed == (end == End::Stop)
            || end == End::Stop && !status.success()
        {
            return Err(
                format!("after {end:?} the server ended with {status}, {:#?}", said.complaints).into()
            );
        }
        Ok(())
    }

    /// Lets every short lease run out, ends all other peers, and looks whether anything is left.
    async fn finish(&mut self) -> Outcome<()> {
        let (mut server, port) = self.start().await?;
        self.shared.over.send_replace(false);
        self.shared.lock().is_ending = false;
        let mut events = tokio::spawn(listen(self.shared.clone(), Connection::open(port).await?));
        let left = nothing_is_left(&self.shared, &mut Connection::open(port).await?).await;
        server.kill()?;
        server.ended().await?;
        (&mut events).await?;
        match self.shared.lock().violation.take() {
            Some(violation) => Err(violation.into()),
            None => left,
        }
    }
}

/// Waits until every short lease has run out, and ends all other peers.
pub(crate) async fn nothing_is_left(shared: &Shared, connection: &mut Connection) -> Outcome<()> {
    let mut over = shared.over.subscribe();
    let is_short = |peer: &&Peer| peer.shortest() < Duration::from_secs(30) && !peer.is_ended;
    let until = now() + Duration::from_mins(1);
    while shared.lock().peers().any(|peer| is_short(&peer)) && !*over.borrow_and_update() {
        if now() > until {
            let world = shared.lock();
            let left: Vec<_> = world.peers().filter(is_short).collect();
            return Err(format!("expired, but not freed: {left:#?}").into());
        }
        // Of those that ended before the reader of events was there, it heard nothing.
        let view = View::read(connection).await?;
        shared.lock().miss(&view)?;
        sleep(Duration::from_millis(20)).await;
    }
    let ids: Vec<u64> = shared.lock().peers().filter(|peer| !peer.is_ended).map(|peer| peer.id).collect();
    for id in ids {
        let answer = connection.ask(&Call::new("DELETE", format!("/v1/peers/{id}"), "")).await?;
        if answer.status != 204 {
            return Err(format!("peer {id}: {} {}", answer.status, answer.text()).into());
        }
    }
    let view = View::read(connection).await?;
    let used = |found: &&SemaphoreDetail| found.semaphore.acquired != 0 || !found.queue.is_empty();
    if let Some(found) = view.semaphores.values().find(used) {
        return Err(format!("something leaked: {found:?}").into());
    }
    if view.peers.is_empty() { Ok(()) } else { Err(format!("peers are left: {:?}", view.peers).into()) }
}

/// One client, until the server is gone.
async fn use_it(shared: Shared, client: usize, port: u16, mut rng: Rng) {
    let Ok(mut connection) = Connection::open(port).await else { return };
    loop {
        let planned = {
            let mut world = shared.lock();
            if world.violation.is_some() {
                return;
            }
            world.figures.operations += 1;
            world.operations_left = world.operations_left.saturating_sub(1);
            if world.operations_left == 0 {
                shared.over.send_replace(true);
            }
            plan::next(&mut world, client, &mut rng)
        };
        let answer = connection.ask(&planned.call).await;
        let mut world = shared.lock();
        let Ok(answer) = answer else {
            world.lost(client, &planned);
            return;
        };
        if let Err(violation) = world.learn(client, &planned, &answer) {
            drop(world);
            return shared.violated(violation);
        }
    }
}

/// Reads events until the server is gone.
pub(crate) async fn listen(shared: Shared, mut connection: Connection) {
    let Ok(answer) = connection.begin(&Call::get("/v1/events")).await else { return };
    let (mut body, mut text) = (answer.into_body(), String::new());
    while let Some(Ok(frame)) = body.frame().await {
        let Some(data) = frame.data_ref() else { continue };
        text += &String::from_utf8_lossy(data);
        while let Some((block, rest)) = text.split_once("\n\n") {
            let data = block.lines().find_map(|line| line.strip_prefix("data: "));
            if let Some(event) = data.and_then(|data| serde_json::from_str(data).ok()) {
                // In a statement of its own, so that the lock is let go.
                let heard = hear(&mut shared.lock(), &event);
                if let Err(violation) = heard {
                    return shared.violated(violation);
                }
            }
            text = rest.to_owned();
        }
    }
}

fn hear(world: &mut World, event: &Event) -> Result<(), String> {
    let at = now();
    world.figures.events += 1;
    let Some(Digits(id)) = event.peer else { return Ok(()) };
    if world.clocks_jump {
        // Nobody knows when it happened.
        return Ok(());
    }
    // The word of it may have come late.
    let late = time_of_day().saturating_sub(Duration::from_micros(event.at.as_micros()));
    let happened_at = at.checked_sub(late).unwrap_or(at);
    if let ("granted", Some(semaphore), Some(Digits(token))) = (&*event.kind, &event.semaphore, event.token) {
        world.heard.insert((id, semaphore.to_string()), (token, happened_at));
    }
    let has_expired = event.kind == "peer_ended" && event.cause.as_deref() == Some("expired");
    // It may have been brought back by now.
    let is_it = |peer: &Peer| peer.id == id && !peer.is_ended && peer.since + INEXACT < happened_at;
    let mut known = world.peers_mut().filter(|peer| has_expired && is_it(peer));
    if let Some(peer) = known.next() {
        if peer.lives_until > at && !peer.states.contains(&None) {
            return Err(format!("a lease ended {:?} before its time: {peer:#?}", peer.lives_until - at));
        }
        peer.is_ended = true;
        drop(known);
        world.figures.expiries_checked += 1;
    }
    Ok(())
}

fn report(world: &World, took: Duration) {
    let figures = &world.figures;
    print(&[
        ("kills", figures.kills),
        ("of these in a recovery", figures.kills_in_recovery),
        ("of these in a snapshot", figures.kills_in_snapshot),
        ("stops by SIGTERM", figures.stops),
    ]);
    report_clients(world);
    println!("{:>30} {:>9.1?}", "longest recovery", figures.longest_recovery);
    println!("{:>30} {took:>9.1?}", "time");
}

/// What the clients did, and what was checked.
pub(crate) fn report_clients(world: &World) {
    let figures = &world.figures;
    print(&[
        ("snapshots", figures.snapshots),
        ("operations", figures.operations),
        ("acknowledged", figures.acknowledged),
        ("of these refused", figures.refused),
        ("unknown", figures.unknown),
        ("peers found that such made", figures.happened),
        ("grants told of", world.ledger.len() as u64),
        ("grants checked afterwards", figures.grants_checked),
        ("waiters checked afterwards", figures.waiters_checked),
        ("leases checked afterwards", figures.leases_checked),
        ("repeated keys checked", figures.keys_checked),
        ("expiries checked", figures.expiries_checked),
        ("events read", figures.events),
    ]);
}

fn print(figures: &[(&str, u64)]) {
    for (name, figure) in figures {
        println!("{name:>30} {figure:>9}");
    }
}
