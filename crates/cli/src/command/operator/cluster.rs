//! `throttle cluster`.

use std::{error::Error, io, path::PathBuf};

use throttle_api::{ClusterServer, ClusterStatus, EtcdMember};
use throttle_service::{
    cluster,
    config::{self, DEFAULT_CONFIGURATION},
    printable::printable,
};

use super::{
    ask::Operator,
    table::{Column::Whole, table},
};

/// The subcommands of `throttle cluster`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum ClusterCommand {
    /// Shows who leads, how far each server is with the log, and how etcd's members are
    Status(Status),
    /// Moves what a data directory has into a cluster that has nothing yet; no server of either may run
    Import(Import),
    /// Copies what a cluster has into a new data directory, also while its servers run
    Export(Export),
}

/// Arguments of `throttle cluster import`.
#[derive(Debug, Clone, clap::Args)]
pub struct Import {
    /// The data directory; no server may use it
    #[arg(long, env = "THROTTLE_DATA_DIR", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// The configuration file of a server of the cluster
    #[arg(short, long, env = "THROTTLE_CONFIGURATION", value_name = "FILE", default_value = DEFAULT_CONFIGURATION)]
    pub configuration: PathBuf,
}

/// Arguments of `throttle cluster export`.
#[derive(Debug, Clone, clap::Args)]
pub struct Export {
    /// The directory to make; it must be empty if it is there
    pub to: PathBuf,
    /// The configuration file of a server of the cluster
    #[arg(short, long, env = "THROTTLE_CONFIGURATION", value_name = "FILE", default_value = DEFAULT_CONFIGURATION)]
    pub configuration: PathBuf,
}

/// Arguments of `throttle cluster status`.
#[derive(Debug, Clone, clap::Args)]
pub struct Status {
    /// Which server, and how.
    #[command(flatten)]
    pub operator: Operator,
}

impl ClusterCommand {
    /// Does it. The error is one clear line.
    pub fn run(&self, out: &mut dyn io::Write) -> Result<(), Box<dyn Error>> {
        match self {
            Self::Status(status) => super::run(status.run(out)),
            Self::Import(import) => import.run(out),
            Self::Export(export) => export.run(out),
        }
    }
}

impl Status {
    async fn run(&self, out: &mut dyn io::Write) -> Result<(), Box<dyn Error>> {
        let answer = self.operator.ask("GET", "/v1/cluster", None).await?;
        self.operator.picture(out, &answer, picture)
    }
}

impl Import {
    fn run(&self, out: &mut dyn io::Write) -> Result<(), Box<dyn Error>> {
        let config = config::load(&self.configuration)?.config;
        let number = cluster::import(&config, &self.data_dir)?;
        let from = printable(self.data_dir.display());
        writeln!(
            out,
            "The cluster has everything up to batch {number} of {from}. Start its servers, and no other."
        )?;
        Ok(())
    }
}

impl Export {
    fn run(&self, out: &mut dyn io::Write) -> Result<(), Box<dyn Error>> {
        let config = config::load(&self.configuration)?.config;
        let number = cluster::export(&config, &self.to)?;
        let to = printable(self.to.display());
        writeln!(
            out,
            "{to} has everything up to batch {number} of the cluster. A server starts from it with --data-dir {to}."
        )?;
        Ok(())
    }
}

fn picture(status: &ClusterStatus) -> String {
    let leader = match &status.leader {
        Some(leader) => {
            let since = leader.since.map(|since| format!(", since {since}")).unwrap_or_default();
            format!("{} leads, in epoch {}{since}.", printable(&leader.url), leader.epoch)
        }
        None => "No server leads.".to_owned(),
    };
    let trouble = status.trouble.as_ref().map(|why| format!("{}\n", printable(why))).unwrap_or_default();
    format!("{leader}\n{trouble}\n{}\n{}", servers(&status.servers), members(&status.etcd))
}

fn servers(servers: &[ClusterServer]) -> String {
    let row = |server: &ClusterServer| {
        let state = match (&server.error, &server.role, &server.trouble) {
            (Some(error), _, _) => printable(error),
            (None, Some(role), Some(trouble)) => format!("{}: {}", printable(role), printable(trouble)),
            (None, Some(role), None) => printable(role),
            (None, None, _) => String::new(),
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
    table(
        [Whole("SERVER"), Whole("POSITION"), Whole("LAG"), Whole("VERSION"), Whole("STATE")],
        servers.iter().map(row),
    )
}

fn members(members: &[EtcdMember]) -> String {
    let row = |member: &EtcdMember| {
        let state = match (&member.errors[..], member.is_leader) {
            ([], true) => "leader".to_owned(),
            ([], false) => "follower".to_owned(),
            (errors, _) => printable(errors.join("; ")),
        };
        let quota = member.quota_bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string());
        [printable(&member.url), printable(&member.version), member.db_bytes.to_string(), quota, state]
    };
    table(
        [Whole("ETCD"), Whole("VERSION"), Whole("BYTES"), Whole("QUOTA"), Whole("STATE")],
        members.iter().map(row),
    )
}
