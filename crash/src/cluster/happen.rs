//! What is done in each act.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::sleep;

use super::{
    act::Act,
    clients::Changes,
    etcd::{self, MEMBERS, Member},
    full::Witness,
    large::{self, Large},
    late::Late,
    relay::Link,
    rounds::Test,
    servers::{LEASE, SERVERS, Standing},
};
use crate::{clock::now, run::Outcome};

/// A day, by which a clock may be wrong.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

impl Test {
    /// Why something cannot be done here, if it cannot.
    pub(super) fn hindrance(&self, act: Act) -> Option<&'static str> {
        match act {
            Act::FreezeMember | Act::FreezeEtcdLeader => {
                let is_missing = self.members.iter().any(|member| member.disk.is_none());
                is_missing.then_some("it takes root, a loop device and mkfs.ext4")
            }
            Act::CutMember | Act::CutEtcdLeader => (!etcd::CAN_BE_CUT).then_some("it takes Linux"),
            Act::JumpClocks => {
                let is_missing = self.servers.places.iter().any(|place| place.wall.is_none());
                is_missing.then_some("it takes Linux and a C compiler")
            }
            _ => None,
        }
    }

    pub(super) async fn act(&mut self, act: Act, standing: Standing, epoch: u64) -> Outcome<()> {
        let Standing { leader, etcd_leader } = standing;
        self.played += 1;
        match act {
            Act::KillLeader => self.kill_leader(leader).await?,
            Act::KillInLarge => self.kill_in_large(leader).await?,
            Act::StopLeader => self.servers.stop(leader).await?,
            Act::PauseLeader => self.pause_leader(leader, epoch, false).await?,
            Act::PauseUnconfirmed => self.pause_leader(leader, epoch, true).await?,
            Act::KillStandby => {
                let standby = self.other(leader, SERVERS);
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
                let member = self.other(etcd_leader, MEMBERS);
                self.member(member)?.kill()?;
            }
            Act::KillEtcdLeader => self.member(etcd_leader)?.kill()?,
            Act::PauseMember => {
                let member = self.other(etcd_leader, MEMBERS);
                return self.pause_members(&[member]).await;
            }
            Act::PauseEtcdLeader => return self.pause_members(&[etcd_leader]).await,
            Act::PauseTwoMembers => {
                let other = self.other(etcd_leader, MEMBERS);
                return self.pause_members(&[etcd_leader, other]).await;
            }
            Act::FreezeMember => {
                let member = self.other(etcd_leader, MEMBERS);
                return self.freeze(leader, member).await;
            }
            Act::FreezeEtcdLeader => return self.freeze(leader, etcd_leader).await,
            Act::KillBothLeaders => {
                self.member(etcd_leader)?.kill()?;
                let others = self.members.iter().filter(|member| member.at != etcd_leader);
                let others = others.map(|member| member.port).collect();
                self.etcd_healthy = Some(tokio::spawn(etcd::healthy_again(others)));
                self.kill_leader(leader).await?;
            }
            Act::CutFromEtcd => {
                self.cut_from_members(leader, |_| true, true)?;
                self.until_another_leads(epoch).await?;
                return self.cut_from_members(leader, |_| true, false);
            }
            Act::CutFromServers => {
                let link = self.servers.place(leader)?.others.clone();
                return self.cut_for_a_while(link).await;
            }
            Act::CutFromClients => {
                let link = self.servers.place(leader)?.clients.clone();
                return self.cut_for_a_while(link).await;
            }
            Act::CutMember => {
                let member = self.other(etcd_leader, MEMBERS);
                return self.cut_off(leader, member).await;
            }
            Act::CutEtcdLeader => return self.cut_off(leader, etcd_leader).await,
            Act::FillEtcd => return self.fill(etcd_leader).await,
            Act::JumpClocks => return self.jump().await,
        }
        // Clients work for a while before it is undone.
        self.are_back().await?;
        let more = self.rng.u64(1..100);
        self.until(|changes| changes.after >= more, "the service is back").await
    }

    /// One of so many, but not this one.
    fn other(&mut self, than: usize, of: usize) -> usize {
        (than + self.rng.usize(1..of)) % of
    }

    fn member(&mut self, at: usize) -> Outcome<&mut Member> {
        self.members.get_mut(at).ok_or_else(|| "no such member".into())
    }

    /// For longer than a lease.
    async fn longer_than_a_lease(&mut self) {
        sleep(LEASE + Duration::from_millis(self.rng.u64(200..2500))).await;
    }

    async fn kill_leader(&mut self, leader: usize) -> Outcome<()> {
        self.servers.kill(leader).await?;
        self.shared.lock().leader_died(now());
        Ok(())
    }

    /// Kills it while it writes what is above the limit of etcd.
    async fn kill_in_large(&mut self, leader: usize) -> Outcome<()> {
        let link = self.servers.place(leader)?.clients.clone();
        let other = self.other(leader, SERVERS);
        let other = self.servers.place(other)?.clients.clone();
        let mut large = Large::prepare(&other, self.played).await?;
        large.send(&link).await?;
        sleep(large::WRITTEN_WITHIN.mul_f64(self.rng.f64())).await;
        self.changes.send_modify(Changes::measure);
        self.kill_leader(leader).await?;
        self.are_back().await?;
        large.check(&other, &mut self.large).await
    }

    /// A leader stands still past its lease. Its answers must tell nothing old when it wakes: to requests that come
    /// while it stands still, or to those whose commands it has run, but of which it has no confirmation yet.
    async fn pause_leader(&mut self, leader: usize, epoch: u64, is_unconfirmed: bool) -> Outcome<()> {
        let link = self.servers.place(leader)?.clients.clone();
        let other = self.servers.place((leader + 1) % SERVERS)?.clients.clone();
        let mut late = Late::prepare(&self.marker, &link).await?;
        self.changes.send_modify(Changes::measure);
        if is_unconfirmed {
            self.cut_from_members(leader, |_| true, true)?;
            late.send();
            sleep(Duration::from_millis(self.rng.u64(20..400))).await;
        }
        self.servers.signal(leader, Signal::STOP)?;
        if !is_unconfirmed {
            late.send();
        }
        self.until_another_leads(epoch).await?;
        late.change(&self.shared, &mut self.marker, &other).await?;
        // What it asked etcd before comes there now.
        self.cut_from_members(leader, |_| true, false)?;
        self.servers.signal(leader, Signal::CONT)?;
        late.check(&self.shared, &self.marker, &other, &mut self.late).await
    }

    async fn pause_members(&mut self, members: &[usize]) -> Outcome<()> {
        for member in members {
            self.member(*member)?.signal(Signal::STOP)?;
        }
        self.longer_than_a_lease().await;
        for member in members {
            self.member(*member)?.signal(Signal::CONT)?;
        }
        Ok(())
    }

    /// The disk of a member freezes. Keep-alives go through this member alone, through others alone, or as they like.
    async fn freeze(&mut self, leader: usize, member: usize) -> Outcome<()> {
        let way = self.rng.u32(0..3);
        let is_cut = move |other: usize| match way {
            0 => other != member,
            1 => other == member,
            _ => false,
        };
        self.cut_from_members(leader, is_cut, true)?;
        self.member(member)?.freeze(true)?;
        self.longer_than_a_lease().await;
        self.member(member)?.freeze(false)?;
        self.cut_from_members(leader, is_cut, false)
    }

    /// A member is cut off from the others: alone, with the leader, or from all servers too.
    async fn cut_off(&mut self, leader: usize, member: usize) -> Outcome<()> {
        let way = self.rng.u32(0..3);
        let cut = |test: &Self, is_cut: bool| {
            etcd::cut(&test.members, member, is_cut);
            match way {
                0 => test.cut_from_members(leader, |other| other != member, is_cut),
                1 => (0..SERVERS).try_for_each(|at| test.cut_from_members(at, |one| one == member, is_cut)),
                _ => Ok(()),
            }
        };
        cut(self, true)?;
        self.longer_than_a_lease().await;
        cut(self, false)
    }

    /// Cuts or mends the ways of a server to some members.
    fn cut_from_members(&self, server: usize, is_it: impl Fn(usize) -> bool, is_cut: bool) -> Outcome<()> {
        let links = self.servers.place(server)?.etcd.iter().enumerate();
        links.filter(|(member, _)| is_it(*member)).for_each(|(_, link)| link.cut(is_cut));
        Ok(())
    }

    async fn cut_for_a_while(&mut self, link: Link) -> Outcome<()> {
        link.cut(true);
        sleep(Duration::from_millis(self.rng.u64(500..3000))).await;
        link.cut(false);
        Ok(())
    }

    /// Etcd takes nothing more for a while, and a peer lives on that is renewed.
    async fn fill(&mut self, member: usize) -> Outcome<()> {
        let link = self.servers.place(self.rng.usize(..SERVERS))?.clients.clone();
        let witness = Witness::new(&link, self.played).await?;
        self.changes.send_modify(Changes::measure);
        self.member(member)?.alarm(true).await?;
        let until = now() + LEASE * 2 + Duration::from_millis(self.rng.u64(0..2000));
        let beats = async {
            while now() < until {
                witness.renew(&link).await?;
                sleep(Witness::EVERY).await;
            }
            Ok(())
        };
        let (beaten, refused) = tokio::join!(beats, witness.is_refused(&self.shared, &link));
        let beaten: Outcome<()> = beaten;
        self.member(member)?.alarm(false).await?;
        beaten.and(refused)?;
        witness.end(&link).await
    }

    /// The clocks of all servers jump, each for itself, and are right again in the end.
    async fn jump(&mut self) -> Outcome<()> {
        self.shared.lock().clocks_jump = true;
        for _ in 0..self.rng.u32(3..8) {
            for at in 0..SERVERS {
                let most = *self.rng.choice(&[5000, DAY_MS / 24, DAY_MS]).unwrap_or(&DAY_MS);
                self.servers.set_clock(at, self.rng.i64(-most..=most))?;
            }
            sleep(Duration::from_millis(self.rng.u64(100..700))).await;
        }
        (0..SERVERS).try_for_each(|at| self.servers.set_clock(at, 0))
    }
}
