//! The rounds of a cluster.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::ValueEnum as _;
use fastrand::Rng;
use tokio::{
    runtime::Runtime,
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    act::Act,
    clients::{Changes, Work},
    etcd::{self, Member},
    large::Counted,
    late::{Marker, Told},
    relay::Link,
    servers::{SERVERS, Servers, Standing},
    table::Table,
};
use crate::{
    Arguments,
    clock::now,
    http::Connection,
    ledger::Times,
    run::{Outcome, listen, nothing_is_left, report_clients},
    view::View,
    world::{Shared, World, configuration},
};

/// After which the service is given up. Nothing takes a tenth of it.
const PATIENCE: Duration = Duration::from_mins(2);
/// A waiter that has no answer is left alone until the end of the round, which may be long.
const PATIENT: &str = "[queue]\nabsent_after = \"1h\"\n";
/// The pause before somebody is asked again what nothing announces.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(20);

pub(crate) fn run(arguments: &Arguments, server: PathBuf, directory: &Path, seed: u64) -> Outcome<()> {
    let (file, mut semaphores) = configuration(arguments.clients);
    let file = PATIENT.to_owned() + &Marker::declare(&file, &mut semaphores);
    let mut world = World::new(arguments.clients, semaphores);
    world.ledger.times = Times::Moving;
    let shared = Shared::new(world);
    let begun = now();
    let mut table = Table::default();
    let outcome = Runtime::new()?.block_on(async {
        let members = etcd::start(directory).await?;
        let servers = Servers::prepare(server, directory, &file, &members).await?;
        let changes = Arc::new(watch::Sender::new(Changes::none()));
        let (shared, rng) = (shared.clone(), Rng::with_seed(seed));
        let (marker, late, large) = (Marker::default(), Told::default(), Counted::default());
        let mut test = Test {
            servers,
            members,
            shared,
            changes,
            rng,
            marker,
            late,
            large,
            played: 0,
            etcd_healthy: None,
        };
        let outcome = test.play(arguments, &mut table).await;
        test.shared.lock().figures.snapshots = test.servers.snapshots();
        (table.late, table.large) = (test.late, test.large);
        outcome
    });
    report_clients(&shared.lock());
    println!("{:>30} {:>9.1?}", "time", begun.elapsed());
    table.print();
    outcome
}

pub(super) struct Test {
    pub(super) servers: Servers,
    pub(super) members: Vec<Member>,
    pub(super) shared: Shared,
    pub(super) changes: Arc<watch::Sender<Changes>>,
    pub(super) rng: Rng,
    pub(super) marker: Marker,
    pub(super) late: Told,
    pub(super) large: Counted,
    /// How many acts were played.
    pub(super) played: u64,
    /// How long etcd itself was away, in an act after which that is to be known.
    pub(super) etcd_healthy: Option<JoinHandle<Duration>>,
}

/// The tasks of a round.
struct Busy {
    stop: watch::Sender<bool>,
    clients: Vec<JoinHandle<()>>,
    readers: Vec<JoinHandle<()>>,
}

impl Test {
    async fn play(&mut self, arguments: &Arguments, table: &mut Table) -> Outcome<()> {
        self.servers.start().await?;
        self.check().await.map_err(|error| format!("At the start: {error}"))?;
        let wanted = arguments.only.map_or_else(|| Act::value_variants().to_vec(), |act| vec![act]);
        let mut possible = Vec::new();
        for act in wanted {
            match self.hindrance(act) {
                None => possible.push(act),
                Some(why) if arguments.only.is_some() => return Err(format!("{}: {why}", act.words()).into()),
                Some(why) => table.left_out(act, why),
            }
        }
        let mut acts = Vec::new();
        for round in 0..arguments.rounds {
            if acts.is_empty() {
                acts.clone_from(&possible);
                self.rng.shuffle(&mut acts);
            }
            let Some(act) = acts.pop() else { break };
            match self.round(act).await {
                Ok(away) => {
                    table.add(act, away);
                    if let Some(etcd) = self.etcd_healthy.take() {
                        table.add_etcd(away, etcd.await?);
                    }
                }
                Err(error) => {
                    table.violated = Some(act);
                    return Err(format!("Round {round}, {}: {error}", act.words()).into());
                }
            }
        }
        let stream = self.servers.place(0)?.clients.dial().await?;
        let left = nothing_is_left(&self.shared, &mut Connection::over(stream).await?).await;
        Ok(left.map_err(|error| format!("At the end: {error}"))?)
    }

    /// Plays one act. Returns how long no change was acknowledged.
    async fn round(&mut self, act: Act) -> Outcome<Duration> {
        let standing = self.agreed().await?;
        self.shared.lock().clocks_jump = false;
        let busy = self.begin();
        let before = self.rng.u64(50..500);
        let count = self.changes.borrow().count;
        self.until(|changes| changes.count >= count + before, "clients work").await?;
        let epoch = *self.servers.epoch.borrow();
        self.changes.send_modify(Changes::measure);
        self.act(act, standing, epoch).await?;
        self.restart().await?;
        self.are_back().await?;
        if act.deposes() && *self.servers.epoch.borrow() <= epoch {
            return Err("no other server leads".into());
        }
        let more = self.rng.u64(50..300);
        self.until(|changes| changes.after >= more, "clients work on").await?;
        self.end(busy).await?;
        let away = self.changes.borrow().away;
        self.check().await?;
        Ok(away)
    }

    /// Starts whatever does not run.
    async fn restart(&mut self) -> Outcome<()> {
        self.servers.check()?;
        self.servers.start().await?;
        for member in &mut self.members {
            member.start()?;
        }
        Ok(())
    }

    /// Lets the clients work.
    fn begin(&mut self) -> Busy {
        let (stop, is_over) = watch::channel(false);
        self.shared.over.send_replace(false);
        let links = self.servers.links();
        let readers =
            links.iter().map(|link| tokio::spawn(read(self.shared.clone(), link.clone()))).collect();
        let (shared, changes) = (self.shared.clone(), self.changes.clone());
        let work = Work { shared, links, changes, is_over };
        let clients = 0..self.shared.lock().clients.len();
        let clients =
            clients.map(|client| tokio::spawn(work.clone().work(client, self.rng.fork()))).collect();
        Busy { stop, clients, readers }
    }

    /// Lets them come to their end.
    async fn end(&self, busy: Busy) -> Outcome<()> {
        busy.stop.send_replace(true);
        for client in busy.clients {
            client.await?;
        }
        for reader in busy.readers {
            reader.abort();
        }
        Ok(self.violation()?)
    }

    fn violation(&self) -> Result<(), String> {
        self.shared.lock().violation.take().map_or(Ok(()), Err)
    }

    /// Waits until changes are acknowledged that are sent from now on.
    pub(super) async fn are_back(&self) -> Outcome<()> {
        self.changes.send_modify(Changes::begin);
        self.until(|changes| changes.after > 0, "the service is back").await
    }

    pub(super) async fn until(&self, is_so: impl FnMut(&Changes) -> bool, what: &str) -> Outcome<()> {
        let (mut changes, mut over) = (self.changes.subscribe(), self.shared.over.subscribe());
        let outcome = tokio::select! {
            outcome = timeout(PATIENCE, changes.wait_for(is_so)) => outcome.map(|_| ()),
            _ = over.wait_for(|over| *over) => Ok(()),
        };
        self.violation()?;
        Ok(outcome.map_err(|_| format!("in vain: {what}"))?)
    }

    pub(super) async fn until_another_leads(&self, epoch: u64) -> Outcome<()> {
        let mut led = self.servers.epoch.subscribe();
        let outcome = timeout(PATIENCE, led.wait_for(|led| *led > epoch)).await;
        Ok(outcome.map(|_| ()).map_err(|_| "in vain: another server leads".to_owned())?)
    }

    /// Who leads, once all agree on it.
    async fn agreed(&self) -> Outcome<Standing> {
        let until = now() + PATIENCE;
        loop {
            match self.servers.standing().await {
                Ok(standing) => return Ok(standing),
                Err(error) if now() > until => return Err(format!("they never agree: {error}").into()),
                Err(_) => sleep(ASK_AGAIN_AFTER).await,
            }
        }
    }

    /// Compares what the cluster shows with what was acknowledged.
    async fn check(&mut self) -> Outcome<()> {
        let until = now() + PATIENCE;
        loop {
            self.agreed().await?;
            // Each has done by then what was sent to it before.
            for link in self.servers.links() {
                drop(view(&link).await);
            }
            let link = self.servers.place(self.rng.usize(..SERVERS))?.clients.clone();
            match view(&link).await {
                Ok(view) => {
                    self.servers.check()?;
                    return Ok(self.shared.lock().check(&view, None)?);
                }
                // Who leads may have changed just now.
                Err(error) if now() > until => return Err(error),
                Err(_) => {}
            }
        }
    }
}

async fn view(link: &Link) -> Outcome<View> {
    let mut connection = Connection::over(link.dial().await?).await?;
    Ok(View::read(&mut connection).await?)
}

/// Reads the events of a server, again and again.
async fn read(shared: Shared, link: Link) {
    loop {
        if let Ok(stream) = link.dial().await
            && let Ok(connection) = Connection::over(stream).await
        {
            listen(shared.clone(), connection).await;
        }
        sleep(ASK_AGAIN_AFTER).await;
    }
}
