//! The servers, and who of them leads.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use rustix::process::Signal;
use throttle_api::ClusterStatus;
use tokio::{sync::watch, time::timeout};

use super::{
    etcd::{MEMBERS, Member},
    relay::{Link, Port},
    wall::Wall,
};
use crate::{
    http::{Call, Connection},
    run::Outcome,
    server::Server,
};

/// How many servers there are.
pub(super) const SERVERS: usize = 3;
/// How long after its leader's last sign of life another server takes over.
pub(super) const LEASE: Duration = Duration::from_secs(2);
/// How long a server may take to say who leads.
const PATIENCE: Duration = Duration::from_secs(10);

/// A place for a server, which is there before and after it.
pub(super) struct Place {
    directory: PathBuf,
    pub(super) server: Option<Server>,
    port: Port,
    /// The ways of clients to it, of the other servers to it, and of it to each member of etcd.
    pub(super) clients: Link,
    pub(super) others: Link,
    pub(super) etcd: Vec<Link>,
    advertised: u16,
    /// The ports of the last ones.
    endpoints: Vec<u16>,
    /// Its clock, if it can be set.
    pub(super) wall: Option<Wall>,
}

pub(super) struct Servers {
    binary: PathBuf,
    pub(super) places: Vec<Place>,
    /// The last epoch in which a server told that it leads.
    pub(super) epoch: Arc<watch::Sender<u64>>,
    /// Snapshots of servers that are gone.
    snapshots: u64,
}

/// Who leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) leader: usize,
    /// The member that leads etcd.
    pub(super) etcd_leader: usize,
}

impl Servers {
    /// Prepares them. `file` is what their files say beside where they are.
    pub(super) async fn prepare(
        binary: PathBuf,
        directory: &Path,
        file: &str,
        members: &[Member],
    ) -> io::Result<Self> {
        let walls: Option<[Wall; SERVERS]> = Wall::some(directory)?;
        let mut places = Vec::new();
        for at in 0..SERVERS {
            let wall = walls.as_ref().and_then(|walls| walls.get(at)).cloned();
            let directory = directory.join(format!("s{at}"));
            fs::create_dir_all(&directory)?;
            let port = Port::default();
            let (clients, others) = (Link::to(port.clone()), Link::to(port.clone()));
            let etcd: Vec<_> = members.iter().map(|member| Link::to(Arc::new(member.port.into()))).collect();
            let advertised = others.listen().await?;
            let mut endpoints = Vec::new();
            for link in &etcd {
                endpoints.push(link.listen().await?);
            }
            let urls: Vec<_> = endpoints.iter().map(|port| format!("\"http://127.0.0.1:{port}\"")).collect();
            let text = format!(
                "{file}\n[cluster]\nendpoints = [{}]\nadvertise = \"http://127.0.0.1:{advertised}\"\nlease = \"{}s\"\n",
                urls.join(", "),
                LEASE.as_secs()
            );
            fs::write(directory.join("throttle.toml"), text)?;
            places.push(Place {
                directory,
                server: None,
                port,
                clients,
                others,
                etcd,
                advertised,
                endpoints,
                wall,
            });
        }
        Ok(Self { binary, places, epoch: Arc::new(watch::Sender::new(0)), snapshots: 0 })
    }

    pub(super) fn place(&self, at: usize) -> Outcome<&Place> {
        self.places.get(at).ok_or_else(|| "no such server".into())
    }

    pub(super) fn links(&self) -> Vec<Link> {
        self.places.iter().map(|place| place.clients.clone()).collect()
    }

    /// Starts those that do not run.
    pub(super) async fn start(&mut self) -> Outcome<()> {
        for (at, place) in self.places.iter_mut().enumerate().filter(|(_, place)| place.server.is_none()) {
            let environment = place.wall.as_ref().map(Wall::environment);
            let environment = environment.as_ref().map_or(&[][..], |all| all);
            let mut server = Server::start(&self.binary, &place.directory, &[], environment)?;
            let Some(port) = server.ready().await else {
                let status = server.ended().await?;
                let said = server.said().complaints;
                return Err(format!("server {at} does not start: {status}, {said:#?}").into());
            };
            place.port.store(port, Relaxed);
            let (mut said, epoch) = (server.said.clone(), self.epoch.clone());
            tokio::spawn(async move {
                let mut last = None;
                while let Ok(now) = said.wait_for(|said| said.epoch != last).await.map(|said| said.epoch) {
                    last = now;
                    epoch.send_modify(|known| *known = now.unwrap_or_default().max(*known));
                }
            });
            place.server = Some(server);
        }
        Ok(())
    }

    pub(super) fn signal(&self, at: usize, signal: Signal) -> Outcome<()> {
        let server = self.place(at)?.server.as_ref().ok_or("the server does not run")?;
        Ok(server.signal(signal)?)
    }

    /// Kills a server, which must have been alive.
    pub(super) async fn kill(&mut self, at: usize) -> Outcome<()> {
        let (mut server, port) = self.take(at)?;
        server.kill()?;
        port.store(0, Relaxed);
        let status = server.ended().await?;
        if status.code().is_some() {
            return Err(format!("server {at} had ended by itself: {status}, {:?}", server.said()).into());
        }
        Ok(())
    }

    /// Asks a server to stop. It must do so in good order.
    pub(super) async fn stop(&mut self, at: usize) -> Outcome<()> {
        let (mut server, port) = self.take(at)?;
        server.terminate()?;
        let status = server.ended().await?;
        port.store(0, Relaxed);
        if !status.success() {
            return Err(format!("server {at} was asked to stop: {status}, {:?}", server.said()).into());
        }
        Ok(())
    }

    fn take(&mut self, at: usize) -> Outcome<(Server, Port)> {
        let place = self.places.get_mut(at).ok_or("no such server")?;
        let server = place.server.take().ok_or("the server does not run")?;
        self.snapshots += server.said().finished;
        Ok((server, place.port.clone()))
    }

    /// Sets the clock of one of them, if it can be set.
    pub(super) fn set_clock(&self, at: usize, ahead_ms: i64) -> Outcome<()> {
        let wall = self.place(at)?.wall.as_ref();
        Ok(wall.map_or(Ok(()), |wall| wall.set(ahead_ms))?)
    }

    /// How often the log was made short.
    pub(super) fn snapshots(&self) -> u64 {
        let running = self.places.iter().filter_map(|place| place.server.as_ref());
        self.snapshots + running.map(|server| server.said().finished).sum::<u64>()
    }

    /// Whatever a server does that nothing asked for.
    pub(super) fn check(&self) -> Outcome<()> {
        for (at, place) in self.places.iter().enumerate() {
            let Some(server) = &place.server else { continue };
            let said = server.said();
            let bad: Vec<_> = said.complaints.iter().filter(|line| !line.contains(" WARN ")).collect();
            if said.is_over || !bad.is_empty() {
                return Err(format!("server {at}: it ended: {}; {bad:#?}", said.is_over).into());
            }
        }
        Ok(())
    }

    /// Who leads, if all servers agree and all of etcd is well.
    pub(super) async fn standing(&self) -> Result<Standing, String> {
        let mut found = None;
        for (at, place) in self.places.iter().enumerate() {
            let asked =
                timeout(PATIENCE, self.status(place)).await.map_err(|_| format!("{at}: no answer"))?;
            let standing = asked.map_err(|error| format!("server {at}: {error}"))?;
            if found.is_some_and(|found| found != standing) {
                return Err(format!("{found:?}, but server {at} says {standing:?}"));
            }
            found = Some(standing);
        }
        found.ok_or_else(|| "there is no server".to_owned())
    }

    async fn status(&self, place: &Place) -> Result<Standing, String> {
        let text = |error: io::Error| error.to_string();
        let stream = place.clients.dial().await.map_err(text)?;
        let mut connection = Connection::over(stream).await.map_err(text)?;
        let ready = connection.ask(&Call::get("/readyz")).await.map_err(text)?;
        let status: ClusterStatus = connection.ask(&Call::get("/v1/cluster")).await.map_err(text)?.json()?;
        let port = |url: &str| url.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
        let leader = status.leader.as_ref().and_then(|leader| port(&leader.url));
        let leader = self.places.iter().position(|place| Some(place.advertised) == leader);
        let etcd_leader = status.etcd.iter().find(|member| member.is_leader);
        let etcd_leader = etcd_leader.and_then(|member| port(&member.url));
        let etcd_leader = place.endpoints.iter().position(|port| Some(*port) == etcd_leader);
        let is_well =
            status.etcd.len() == MEMBERS && status.etcd.iter().all(|member| member.errors.is_empty());
        match (leader, etcd_leader) {
            (Some(leader), Some(etcd_leader)) if is_well && ready.status == 200 => {
                Ok(Standing { leader, etcd_leader })
            }
            _ => Err(format!("/readyz is {}, {status:?}", ready.status)),
        }
    }
}
