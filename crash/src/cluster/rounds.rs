//! The rounds of a cluster.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use fastrand::Rng;
use rustix::process::Signal;
use tokio::{
    runtime::Runtime,
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    act::Act,
    clients::{Changes, Work},
    etcd::{self, MEMBERS, Member},
    late::{Late, Marker, Told},
    relay::Link,
    servers::{LEASE, SERVERS, Servers, Standing},
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
/// The pause before somebody is asked again what nothing announces.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(20);

pub(crate) fn run(arguments: &Arguments, server: PathBuf, directory: &Path, seed: u64) -> Outcome<()> {
    let (file, mut semaphores) = configuration(arguments.clients);
    let file = Marker::declare(&file, &mut semaphores);
    let mut world = World::new(arguments.clients, semaphores);
    world.ledger.times = Times::Moving;
    let shared = Shared::new(world);
    let begun = now();
    let mut table = Table::default();
    let outcome = Runtime::new()?.block_on(async {
        let members = etcd::start(directory)?;
        let servers = Servers::prepare(server, directory, &file, &members).await?;
        let changes = Arc::new(watch::Sender::new(Changes::none()));
        let (shared, rng) = (shared.clone(), Rng::with_seed(seed));
        let mut test =
            Test { servers, members, shared, changes, rng, marker: Marker::default(), late: Told::default() };
        let outcome = test.play(arguments, &mut table).await;
        test.shared.lock().figures.snapshots = test.servers.snapshots();
        table.late = test.late;
        outcome
    });
    report_clients(&shared.lock());
    println!("{:>30} {:>9.1?}", "time", begun.elapsed());
    table.print();
    outcome
}

struct Test {
    servers: Servers,
    members: Vec<Member>,
    shared: Shared,
    changes: Arc<watch::Sender<Changes>>,
    rng: Rng,
    marker: Marker,
    late: Told,
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
        let mut acts = Vec::new();
        for round in 0..arguments.rounds {
            if acts.is_empty() {
                acts = arguments.only.map_or_else(|| Act::ALL.to_vec(), |act| vec![act]);
                self.rng.shuffle(&mut acts);
            }
            let Some(act) = acts.pop() else { break };
            match self.round(act).await {
                Ok(away) => table.add(act, away),
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

    async fn act(&mut self, act: Act, standing: Standing, epoch: u64) -> Outcome<()> {
        let Standing { leader, etcd_leader } = standing;
        let some = |rng: &mut Rng, than: usize, of: usize| (than + rng.usize(1..of)) % of;
        match act {
            Act::KillLeader => self.kill_leader(leader).await?,
            Act::StopLeader => self.servers.stop(leader).await?,
            Act::PauseLeader => self.pause_leader(leader, epoch).await?,
            Act::KillStandby => {
                let standby = some(&mut self.rng, leader, SERVERS);
                self.servers.kill(standby).await?;
            }
            Act::KillAll => {
                for at in (0..SERVERS).filter(|at| *at != leader) {
                    self.servers.kill(at).await?;
                }
                self.kill_leader(leader).await?;
                return Ok(());
            }
            Act::KillMember => {
                let member = some(&mut self.rng, etcd_leader, MEMBERS);
                self.member(member)?.kill()?;
            }
            Act::KillEtcdLeader => self.member(etcd_leader)?.kill()?,
            Act::PauseMember => {
                let member = some(&mut self.rng, etcd_leader, MEMBERS);
                return self.pause_members(&[member]).await;
            }
            Act::PauseEtcdLeader => return self.pause_members(&[etcd_leader]).await,
            Act::PauseTwoMembers => {
                let other = some(&mut self.rng, etcd_leader, MEMBERS);
                return self.pause_members(&[etcd_leader, other]).await;
            }
            Act::KillBothLeaders => {
                self.member(etcd_leader)?.kill()?;
                self.kill_leader(leader).await?;
            }
            Act::CutFromEtcd => {
                let links = self.servers.place(leader)?.etcd.clone();
                for link in &links {
                    link.cut(true);
                }
                self.until_another_leads(epoch).await?;
                for link in &links {
                    link.cut(false);
                }
                return Ok(());
            }
            Act::CutFromServers => {
                let link = self.servers.place(leader)?.others.clone();
                return self.cut_for_a_while(link).await;
            }
            Act::CutFromClients => {
                let link = self.servers.place(leader)?.clients.clone();
                return self.cut_for_a_while(link).await;
            }
        }
        // Clients work for a while before it is undone.
        self.are_back().await?;
        let more = self.rng.u64(1..100);
        self.until(|changes| changes.after >= more, "the service is back").await
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

    async fn kill_leader(&mut self, leader: usize) -> Outcome<()> {
        self.servers.kill(leader).await?;
        self.shared.lock().leader_died(now());
        Ok(())
    }

    /// A leader stands still past its lease. Requests are sent to it meanwhile, whose answers must tell nothing old.
    async fn pause_leader(&mut self, leader: usize, epoch: u64) -> Outcome<()> {
        let link = self.servers.place(leader)?.clients.clone();
        let other = self.servers.place((leader + 1) % SERVERS)?.clients.clone();
        let mut late = Late::prepare(&self.marker, &link).await?;
        self.changes.send_modify(Changes::measure);
        self.servers.signal(leader, Signal::STOP)?;
        late.send();
        self.until_another_leads(epoch).await?;
        late.change(&self.shared, &mut self.marker, &other).await?;
        self.servers.signal(leader, Signal::CONT)?;
        late.check(&self.shared, &self.marker, &other, &mut self.late).await
    }

    async fn pause_members(&mut self, members: &[usize]) -> Outcome<()> {
        for member in members {
            self.member(*member)?.signal(Signal::STOP)?;
        }
        sleep(LEASE + Duration::from_millis(self.rng.u64(200..1500))).await;
        for member in members {
            self.member(*member)?.signal(Signal::CONT)?;
        }
        Ok(())
    }

    async fn cut_for_a_while(&mut self, link: Link) -> Outcome<()> {
        link.cut(true);
        sleep(Duration::from_millis(self.rng.u64(500..3000))).await;
        link.cut(false);
        Ok(())
    }

    fn member(&mut self, at: usize) -> Outcome<&mut Member> {
        self.members.get_mut(at).ok_or_else(|| "no such member".into())
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
    async fn are_back(&self) -> Outcome<()> {
        self.changes.send_modify(Changes::begin);
        self.until(|changes| changes.after > 0, "the service is back").await
    }

    async fn until(&self, is_so: impl FnMut(&Changes) -> bool, what: &str) -> Outcome<()> {
        let (mut changes, mut over) = (self.changes.subscribe(), self.shared.over.subscribe());
        let outcome = tokio::select! {
            outcome = timeout(PATIENCE, changes.wait_for(is_so)) => outcome.map(|_| ()),
            _ = over.wait_for(|over| *over) => Ok(()),
        };
        self.violation()?;
        Ok(outcome.map_err(|_| format!("in vain: {what}"))?)
    }

    async fn until_another_leads(&self, epoch: u64) -> Outcome<()> {
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
