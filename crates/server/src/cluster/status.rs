//! The cluster, as one of its servers sees it.

use std::time::Duration;

use futures_util::future::join_all;
use throttle_api::{
    ClusterLeader, ClusterRole, ClusterServer, ClusterStatus, Digits, EtcdMember, Open, Span, Stamp,
};
use throttle_etcd::{MemberStatus, Registry};

use super::{CLUSTER, Cluster, Role};
use crate::outgoing;

/// How long another server may take to say what it does.
const PATIENCE: Duration = Duration::from_secs(1);

impl Cluster {
    /// What this server knows of itself.
    pub(crate) fn own_status(&self) -> ClusterStatus {
        let known = self.known();
        let role = match known.role {
            Role::Leader => ClusterRole::Leader,
            Role::Standby => ClusterRole::Standby,
        };
        let server = ClusterServer {
            url: self.config.advertise.clone(),
            role: Some(Open::Known(role)),
            position: Digits(known.position),
            lag: Span(self.lag()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            trouble: known.trouble.clone(),
            error: None,
        };
        let leading = known.leading;
        let leader = known.leader.map(|leader| ClusterLeader {
            url: leader.name,
            epoch: Digits(leader.epoch.0),
            since: leading.map(|leading| Stamp::from_micros(leading.since.as_micros())),
            unconfirmed: leading.map(|leading| Span(leading.confirmed_at.elapsed())),
        });
        ClusterStatus {
            answered_by: self.config.advertise.clone(),
            leader,
            servers: vec![server],
            etcd: Vec::new(),
            trouble: known.trouble,
        }
    }

    /// What all servers say of themselves, and the members of etcd.
    pub(crate) async fn status(&self) -> ClusterStatus {
        let mut status = self.own_status();
        let registry = Registry::new(self.etcd.clone(), &self.config.prefix);
        let (names, members) = tokio::join!(registry.names(), self.etcd.status());
        status.etcd = members.into_iter().map(member).collect();
        match names {
            Ok(mut names) => {
                names.retain(|name| *name != self.config.advertise);
                for (server, leader) in join_all(names.iter().map(|name| self.ask(name))).await {
                    status.servers.push(server);
                    // Only who leads knows since when.
                    if let (Some(known), Some(told)) = (&mut status.leader, leader)
                        && (&known.url, known.epoch) == (&told.url, told.epoch)
                        && told.since.is_some()
                    {
                        *known = told;
                    }
                }
            }
            Err(error) => status.trouble = status.trouble.or(Some(error.to_string())),
        }
        status.servers.sort_by(|a, b| a.url.cmp(&b.url));
        status
    }

    /// Asks another server what it does, and who leads.
    async fn ask(&self, url: &str) -> (ClusterServer, Option<ClusterLeader>) {
        let unknown = |error: String| {
            let server = ClusterServer {
                url: url.to_owned(),
                role: None,
                position: Digits(0),
                lag: Span(Duration::ZERO),
                version: String::new(),
                trouble: None,
                error: Some(error),
            };
            (server, None)
        };
        let asked = self.client.get(format!("{url}/v1/cluster")).header(CLUSTER, self.secret.clone());
        let answer = asked.timeout(PATIENCE).send().await.and_then(reqwest::Response::error_for_status);
        let status = match answer {
            Ok(answer) => answer.json::<ClusterStatus>().await,
            Err(error) => Err(error),
        };
        match status.map(|status| (status.servers.into_iter().next(), status.leader)) {
            Ok((Some(server), leader)) => (ClusterServer { url: url.to_owned(), ..server }, leader),
            Ok((None, _)) => unknown("it says nothing of itself".to_owned()),
            Err(error) => unknown(outgoing::reasons(&error.without_url())),
        }
    }
}

fn member(MemberStatus { url, outcome }: MemberStatus) -> EtcdMember {
    match outcome {
        Ok(health) => EtcdMember {
            url,
            is_leader: health.is_leader,
            version: health.version,
            db_bytes: health.db_bytes,
            quota_bytes: health.quota_bytes,
            errors: health.errors,
        },
        Err(error) => {
            let (version, errors) = (String::new(), vec![error]);
            EtcdMember { url, is_leader: false, version, db_bytes: 0, quota_bytes: None, errors }
        }
    }
}
