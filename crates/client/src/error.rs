//! What can go wrong: one enum, with messages that help.

use std::{error::Error as StdError, io, time::Duration};

use crate::{Blocker, Loss, trouble::Silence};

const WHERE_NAMES_ARE: &str =
    "The name is looked up in the section [semaphores] of the server's configuration.";

/// What went wrong with a request to the server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument or an environment variable makes no sense; nothing was sent.
    #[error("{0}")]
    Configuration(String),
    /// The server does not know the peer: it expired, was released, or the server lost its state.
    #[error("{}", .detail.as_deref().unwrap_or("Unknown peer: it expired, was released, or the server started anew"))]
    UnknownPeer {
        /// The id of the server's state at that moment; `None` from servers before 0.6, which send none.
        instance: Option<String>,
        /// What the server says of how it ended, with the reason that an operator gave. `None` from servers
        /// before 0.6.
        detail: Option<String>,
        /// Whether an operator ended it, as far as the server tells.
        by_operator: bool,
    },
    /// There is no semaphore of this name on the server.
    #[error("Unknown semaphore {semaphore:?}. {}", .advice.as_deref().unwrap_or(WHERE_NAMES_ARE))]
    UnknownSemaphore {
        /// The name that was asked for; empty if the request named several.
        semaphore: String,
        /// Which names are near, if the server says so.
        advice: Option<String>,
    },
    /// The count is larger than the semaphore's `max`, so the lock could never be granted.
    #[error("{0}")]
    CountExceedsMax(String),
    /// The peer holds a lock whose level is not above the level of the one it asks for, or a smaller count of the same
    /// semaphore.
    #[error("{0}")]
    HierarchyViolation(String),
    /// The peer already waits for another lock.
    #[error("{0}")]
    AlreadyPending(String),
    /// The request would wait for ever: those who hold what it asks for wait for what its peer holds.
    #[error("{0}")]
    Deadlock(String),
    /// The request was withdrawn at the server while it waited, by somebody else than its client.
    #[error("{}", withdrawn(semaphores, *.is_removed))]
    Withdrawn {
        /// The semaphores that were waited for; the one that was removed, if that is why.
        semaphores: Vec<String>,
        /// Whether its semaphore was removed.
        is_removed: bool,
    },
    /// The peer that was to be taken over holds no lock.
    #[error("peer {peer_id} at {url} holds no lock, so there is nothing to take over")]
    NothingHeld {
        /// The peer.
        peer_id: u64,
        /// The server.
        url: String,
    },
    /// The server understood the request and says no. Repeating it does not help.
    #[error("the server refused it with status {status}: {message}")]
    Refused {
        /// The status code, such as 400 or 409.
        status: u16,
        /// What the server says.
        message: String,
    },
    /// The bearer token is missing, wrong, or not good enough.
    #[error(
        "not authorized (status {status}): {message}. Give a token to the builder, or set THROTTLE_TOKEN or \
         THROTTLE_TOKEN_FILE."
    )]
    NotAuthorized {
        /// The status code, 401 or 403.
        status: u16,
        /// What the server says.
        message: String,
    },
    /// The server refused a request of `/v1`.
    #[error("{detail}")]
    Problem {
        /// The status code.
        status: u16,
        /// Why, for programs, such as `unknown_semaphore`.
        code: String,
        /// Why, and what would be right.
        detail: String,
    },
    /// The server, or something between, answered in a way that says nothing about the lock.
    #[error("{what} was answered with status {status}: {message}")]
    Server {
        /// Method and path of the request.
        what: String,
        /// The status code.
        status: u16,
        /// What the answer says.
        message: String,
    },
    /// The server's TLS certificate is not trusted.
    #[error(
        "the certificate of {url} is not trusted. Give the file of the authority that signed it to the \
         builder (`cacert`), or set THROTTLE_CACERT."
    )]
    CertificateRejected {
        /// The server.
        url: String,
        /// Why.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// No answer arrived.
    #[error("{what}: {}", unreachable(*.sent, .proxy.as_deref(), &**.source))]
    Unreachable {
        /// Method and URL of the request.
        what: String,
        /// The server.
        url: String,
        /// False if it is certain that the request never left.
        sent: bool,
        /// The HTTP proxy before the server, and the setting that names it, such as
        /// `http://proxy:3128 (HTTP_PROXY)`.
        proxy: Option<String>,
        /// Why.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The lock ended before its holder released it.
    #[error(transparent)]
    Lost(#[from] Loss),
    /// The release did not succeed, so the lock is still held. Nothing renews it any more.
    #[error(
        "the lock on {} (peer {peer_id} at {url}) was not released. Nothing renews it any more, so it stays held until \
         its lease ends in {}, and for the margin of the server after that",
        quoted(semaphores),
        humantime::format_duration(Duration::from_secs(held_for.as_secs() + 1))
    )]
    NotReleased {
        /// The semaphores whose locks are still held.
        semaphores: Vec<String>,
        /// The peer that holds them.
        peer_id: u64,
        /// The server.
        url: String,
        /// For how long the server promised to keep them.
        held_for: Duration,
        /// Why the release failed.
        source: Box<Error>,
    },
    /// The thread that renews locks could not be started.
    #[error("the thread that renews locks could not be started")]
    Thread(#[source] io::Error),
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

impl Error {
    /// Whether the server does not have what was asked for: it is older than the request.
    pub(crate) fn is_missing_route(&self) -> bool {
        matches!(self, Self::Server { status: 404 | 405, .. })
    }

    /// Whether the server gave this as its considered answer, so that a repeat would get the same.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::UnknownPeer { .. }
                | Self::UnknownSemaphore { .. }
                | Self::CountExceedsMax(_)
                | Self::HierarchyViolation(_)
                | Self::AlreadyPending(_)
                | Self::Deadlock(_)
                | Self::Withdrawn { .. }
                | Self::Refused { .. }
        )
    }
}

fn withdrawn(semaphores: &[String], is_removed: bool) -> String {
    let names = quoted(semaphores);
    if is_removed {
        format!("the semaphore {names} was removed from the server while a lock on it was waited for")
    } else {
        format!(
            "the wait for a lock on {names} was ended at the server: somebody withdrew the request, or removed a semaphore \
             by force"
        )
    }
}

/// What was not granted, with the verb that fits.
fn missing(semaphore: &str, count: u64, others: &[(String, u64)]) -> String {
    let part = |name: &str, count: u64| format!("{name:?} (count {count})");
    let mut all = vec![part(semaphore, count)];
    all.extend(others.iter().map(|(name, count)| part(name, *count)));
    match all.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} and {last} were", before.join(", ")),
        _ => format!("{} was", all.concat()),
    }
}

/// Why a request waits, in words that go on with a sentence.
fn why(position: Option<u64>, blocked_by: &[Blocker]) -> String {
    /// Who knows these of a semaphore knows enough.
    const NAMED: usize = 3;
    let place = position.map(|position| format!("its place in the queue was {position}"));
    let mut said: Vec<String> = place.into_iter().collect();
    if position.is_some() && blocked_by.is_empty() {
        said.push(
            "nobody's release would help: the max is smaller, or nothing is granted just now".to_owned(),
        );
    }
    for semaphore in in_the_way(blocked_by) {
        let all = blocked_by.iter().filter(|blocker| blocker.semaphore == semaphore);
        said.extend(all.clone().take(NAMED).map(ToString::to_string));
        if let Some(others @ 1..) = all.count().checked_sub(NAMED) {
            said.push(format!("and {others} more for {semaphore:?}"));
        }
    }
    if said.is_empty() { String::new() } else { format!(": {}", said.join("; ")) }
}

/// The semaphores on which somebody is in the way, each once.
pub(crate) fn in_the_way(blocked_by: &[Blocker]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for Blocker { semaphore, .. } in blocked_by {
        if !names.contains(&&**semaphore) {
            names.push(semaphore);
        }
    }
    names
}

/// What is out of reach, and what to look at.
fn unreachable(sent: bool, proxy: Option<&str>, source: &(dyn StdError + 'static)) -> String {
    let silence = Silence { sent, proxy, source };
    let advice =
        if silence.is_of_server() { ". Is it running there, and are host and port right?" } else { "" };
    format!("{}{advice}", silence.what(""))
}

/// Why a lock was not acquired. Nothing is held and nothing is waited for any more; if the server cannot be told so,
/// that ends with the lease, which nothing renews.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// It was not granted in time.
    #[error(
        "{} not granted in time by {url}{}",
        missing(semaphore, *.count, others),
        why(*.position, .blocked_by)
    )]
    NotAcquired {
        /// The semaphore that was waited for, the first if there are several.
        semaphore: String,
        /// The count that was asked for.
        count: u64,
        /// The others that were waited for, with their counts: those where somebody was in the way, or all if the
        /// server did not tell.
        others: Box<[(String, u64)]>,
        /// The server.
        url: String,
        /// The place in the queue at the end, counted from 1. `None` if the server did not tell.
        position: Option<u64>,
        /// Who was in the way at the end: the first ten. Empty if the server did not tell.
        blocked_by: Vec<Blocker>,
        /// The last trouble with the server, if that is why the time ran out.
        source: Option<Box<Error>>,
    },
    /// The request failed.
    #[error(transparent)]
    Failed(#[from] Error),
}
