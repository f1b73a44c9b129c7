//! `[cluster]`: several servers with one set of semaphores, kept in etcd.

use std::{path::PathBuf, time::Duration};

use throttle_etcd::{EtcdSettings, Tls, User};

use super::{
    ConfigError,
    table::{Table, list_of},
};

/// `[cluster]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The URLs of etcd's members.
    pub endpoints: Vec<String>,
    /// What the keys of this deployment begin with.
    pub prefix: String,
    /// The URL at which the other servers reach this one.
    pub advertise: String,
    /// How long after the last sign of life of the leader another server takes over.
    pub lease: Duration,
    /// Whether a server that does not lead passes requests on; otherwise it names the leader in a 307.
    pub forward: bool,
    /// The authorities of etcd's certificates.
    pub ca: Option<PathBuf>,
    /// The certificate of this server for etcd, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The user of etcd that this server is.
    pub user: Option<(String, PathBuf)>,
    /// The authorities of the servers' own certificates, if the others are reached by https.
    pub server_ca: Option<PathBuf>,
    /// How long one request to one member of etcd may take.
    pub deadline: Duration,
    /// Whether etcd is told to forget old revisions; not where it does that by itself, or has data of others.
    pub compact: bool,
}

impl Cluster {
    /// How etcd is reached.
    pub fn etcd(&self) -> EtcdSettings {
        let is_encrypted = self.endpoints.iter().any(|url| url.starts_with("https:"));
        let user = |(name, password_file): &(String, PathBuf)| User {
            name: name.clone(),
            password_file: password_file.clone(),
        };
        EtcdSettings {
            endpoints: self.endpoints.clone(),
            deadline: self.deadline,
            tls: is_encrypted.then(|| Tls { ca: self.ca.clone(), identity: self.identity.clone() }),
            user: self.user.as_ref().map(user),
        }
    }
}

pub(super) fn cluster(top: &Table<'_>, table: &Table<'_>) -> Result<Cluster, ConfigError> {
    const ENDPOINT: &str = "the URL of a member of etcd, such as \"http://10.0.0.1:2379\"";
    const ADVERTISE: &str =
        "the URL at which the other servers reach this one, such as \"http://10.0.1.5:8000\"";
    const FILE: &str = "the path of a file";
    table.only(&[
        "endpoints",
        "prefix",
        "advertise",
        "lease",
        "forward",
        "ca",
        "cert",
        "key",
        "username",
        "password_file",
        "server_ca",
        "deadline",
        "compact",
    ])?;
    let offset = top.start_of("cluster").unwrap_or(0);
    let second = Duration::from_secs(1);
    let file = |key: &str| table.string(key, FILE).map(|path| path.map(PathBuf::from));
    let endpoints = table.strings("endpoints", is_url, ENDPOINT)?.filter(|urls| !urls.is_empty());
    let advertise = table.string("advertise", ADVERTISE)?.map(|url| url.trim_end_matches('/').to_owned());
    let pair = |key: &str, first: Option<_>, other: &str, second: Option<_>| match (first, second) {
        (Some(first), Some(second)) => Ok(Some((first, second))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(table.missing(other, offset, &format!("{FILE}, beside \"{key}\""))),
        (None, Some(_)) => Err(table.missing(key, offset, &format!("a string, beside \"{other}\""))),
    };
    let cert = file("cert")?.map(|path| path.display().to_string());
    let username = table.string("username", "the name of a user of etcd")?;
    Ok(Cluster {
        endpoints: endpoints.ok_or_else(|| table.missing("endpoints", offset, &list_of(ENDPOINT)))?,
        prefix: table
            .string("prefix", "what the keys of this deployment begin with, such as \"/throttle/\"")?
            .unwrap_or_else(|| "/throttle/".to_owned()),
        advertise: advertise
            .filter(|url| is_url(url) && !url.contains(' '))
            .ok_or_else(|| table.missing("advertise", offset, ADVERTISE))?,
        lease: table.duration("lease", 2 * second..=Duration::from_mins(10))?.unwrap_or(5 * second),
        forward: table.boolean("forward")?.unwrap_or(true),
        ca: file("ca")?,
        identity: pair("cert", cert, "key", file("key")?)?.map(|(cert, key)| (PathBuf::from(cert), key)),
        user: pair("username", username, "password_file", file("password_file")?)?,
        server_ca: file("server_ca")?,
        deadline: table
            .duration("deadline", Duration::from_millis(100)..=Duration::from_mins(1))?
            .unwrap_or(second),
        compact: table.boolean("compact")?.unwrap_or(true),
    })
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|rest| !rest.trim_end_matches('/').is_empty())
}
