//! `throttle cluster`.

use std::{error::Error, io};

use throttle_api::{ClusterServer, ClusterStatus, EtcdMember};
use throttle_service::printable::printable;

use super::{ask::Operator, table::table};

/// The subcommands of `throttle cluster`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum ClusterCommand {
    /// Shows who leads, how far each server is with the log, and how etcd's members are
    Status(Status),
}

/// Arguments of `throttle cluster status`.
#[derive(Debug, Clone, clap::Args)]
pub struct Status {
    /// Which server, and how.
    #[command(flatten)]
    pub operator: Operator,
}

impl ClusterCommand {
    pub(super) async fn run(&self, out: &mut dyn io::Write) -> Result<(), Box<dyn Error>> {
        let Self::Status(Status { operator }) = self;
        let answer = operator.ask("GET", "/v1/cluster", None).await?;
        operator.picture(out, &answer, picture)
    }
}

fn picture(status: &ClusterStatus) -> String {
    let leader = match &status.leader {
        Some(leader) => format!("{} leads, in epoch {}.", printable(&leader.url), leader.epoch),
        None => "No server leads.".to_owned(),
    };
    let trouble = status.trouble.as_ref().map(|why| format!("{}\n", printable(why))).unwrap_or_default();
    format!("{leader}\n{trouble}\n{}\n{}", servers(&status.servers), members(&status.etcd))
}

fn servers(servers: &[ClusterServer]) -> String {
    let row = |server: &ClusterServer| {
        let state = match (&server.error, &server.role) {
            (Some(error), _) => printable(error),
            (None, Some(role)) => printable(role),
            (None, None) => String::new(),
        };
        let known = |text: String| if server.error.is_none() { text } else { "-".to_owned() };
        [
            printable(&server.url),
            known(server.position.to_string()),
            known(server.lag.to_string()),
            known(printable(&server.version)),
            state,
        ]
    };
    table(["SERVER", "POSITION", "LAG", "VERSION", "STATE"], servers.iter().map(row))
}

fn members(members: &[EtcdMember]) -> String {
    let row = |member: &EtcdMember| {
        let state = match (&member.errors[..], member.is_leader) {
            ([], true) => "leader".to_owned(),
            ([], false) => "follower".to_owned(),
            (errors, _) => printable(errors.join("; ")),
        };
        [printable(&member.url), printable(&member.version), member.db_bytes.to_string(), state]
    };
    table(["ETCD", "VERSION", "BYTES", "STATE"], members.iter().map(row))
}
