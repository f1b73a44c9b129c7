//! One event as it stands in the journal.
//!
//! This is the format of files that are there already: variants and fields are only ever added at the end, and a
//! change of what is there needs a new [`VERSION`](super::batch::VERSION), and code that reads both.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use throttle_core::{
    Deadlock, EndCause, Event, Labels, Name, Order, Origin, Owner, PeerId, Rank, Spec, Time, Token, planted,
};

use crate::keys::KeyedEnd;

/// What is written of an event, and what only the server knows. Times are those of leases, in
/// microseconds since the epoch; see `Wall`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are those of the events")]
pub enum Record {
    SemaphoreSet {
        semaphore: Name,
        spec: SpecRecord,
        pattern: Option<Name>,
        at: u64,
    },
    SemaphoreRetired {
        semaphore: Name,
    },
    SemaphoreRemoved {
        semaphore: Name,
    },
    PeerCreated {
        peer: u64,
        at: u64,
        expires_in: Duration,
        labels: Option<Labels>,
    },
    LeaseChanged {
        peer: u64,
        expires_in: Duration,
    },
    Queued {
        peer: u64,
        semaphore: Name,
        count: i64,
        priority: i32,
        since: u64,
        key: i64,
        sequence: u64,
    },
    Granted {
        peer: u64,
        semaphore: Name,
        count: i64,
        token: u64,
        at: u64,
    },
    Restored {
        peer: u64,
        semaphore: Name,
        count: i64,
        token: Option<u64>,
        serial: u64,
        at: u64,
    },
    Shrunk {
        peer: u64,
        semaphore: Name,
        count: i64,
        at: u64,
    },
    Released {
        peer: u64,
        semaphore: Name,
        at: u64,
        cause: CauseRecord,
    },
    Withdrawn {
        peer: u64,
        semaphore: Name,
        count: i64,
        cause: CauseRecord,
    },
    PeerEnded {
        peer: u64,
        cause: CauseRecord,
    },
    Counters {
        token: u64,
        sequence: u64,
    },
    Cooling {
        semaphore: Name,
        count: i64,
        until: u64,
    },
    /// What the configuration file declared when it was last read.
    Declared {
        semaphores: Vec<(Name, SpecRecord)>,
    },
    /// The key of the request that made a peer, so that a repeat of it finds the peer. Of version 1: it belongs to the
    /// owner of the peer.
    KeyUsed {
        peer: u64,
        key: Arc<str>,
        fingerprint: u64,
    },
    /// Until when nothing is granted anew, so that peers can come back first.
    Holding {
        until: Option<u64>,
    },
    /// The client of a pending request waits with an open connection.
    Connected {
        peer: u64,
    },
    /// How far the wall clock is ahead of the times in the records, from here on. It was set, or the server stood
    /// still.
    Wall {
        ahead_us: i64,
    },
    /// The time of leases that a snapshot has come to: its events may all be older.
    Time {
        at: u64,
    },
    /// The peer belongs to somebody.
    PeerOwned {
        peer: u64,
        owner: Arc<str>,
    },
    /// The member of a pattern counts for somebody.
    SemaphoreOwned {
        semaphore: Name,
        owner: Arc<str>,
    },
    /// The key of the request that made a peer, and whose it is. A repeat of the request finds the peer.
    KeyTaken {
        peer: u64,
        owner: Option<Arc<str>>,
        key: Arc<str>,
        fingerprint: u64,
    },
    /// The peer of a key ends with this turn. The key is kept, so that a repeat of its request is told how. Without
    /// this, the key is forgotten with the peer. `told_at` is by the wall clock.
    KeyKept {
        peer: u64,
        cause: CauseRecord,
        reason: Option<Arc<str>>,
        at: u64,
        told_at: u64,
    },
    /// What a paused semaphore was before that.
    Paused {
        semaphore: Name,
        max_before: i64,
    },
}

/// What a semaphore is declared to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of the specification")]
pub struct SpecRecord {
    pub max: i64,
    pub level: i32,
    pub per: Option<Duration>,
    pub waiting: WaitingRecord,
    pub origin: OriginRecord,
}

/// What is in force among those who wait. In its bytes the first two are what was a yes or no before there were others:
/// whether deadlocks are detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitingRecord {
    /// Levels, and strict order.
    Levels,
    /// Deadlocks are detected, and order is strict.
    Detect,
    /// Levels, and requests may pass those that wait for something else.
    LevelsPass,
    /// Deadlocks are detected, and requests may pass those that wait for something else.
    DetectPass,
}

/// Where a semaphore was declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OriginRecord {
    /// The configuration file.
    File,
    /// A request.
    Runtime,
    /// The first use of a name that a pattern of the file matches.
    Pattern,
}

/// Why something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CauseRecord {
    /// Its client gave it back.
    Released,
    /// Its lease ended.
    Expired,
    /// An operator ended it.
    Operator,
    /// Its semaphore was removed.
    Removed,
    /// It asks for more than `max` has become.
    ExceedsMax,
}

/// Whether a planted fault leaves an event out.
fn is_left_out(event: &Event) -> bool {
    let waited = matches!(event, Event::Granted { waited: Some(_), .. });
    let faults = [
        planted!(ReleaseNotLogged) & matches!(event, Event::Released { .. }),
        planted!(GrantNotLogged) & waited,
        planted!(LeaseChangeNotLogged) & matches!(event, Event::LeaseChanged { .. }),
        planted!(ShrinkNotLogged) & matches!(event, Event::Shrunk { .. }),
        planted!(ConnectionNotLogged) & matches!(event, Event::Connected { .. }),
        planted!(WithdrawalNotLogged) & matches!(event, Event::Withdrawn { .. }),
    ];
    faults.contains(&true)
}

impl Record {
    /// What is written of an event, if anything is.
    pub fn of(event: &Event) -> Option<Self> {
        if is_left_out(event) {
            return None;
        }
        Some(match event.clone() {
            Event::SemaphoreSet { semaphore, spec, pattern, at } => {
                Self::SemaphoreSet { semaphore, spec: spec.into(), pattern, at: at.as_micros() }
            }
            Event::SemaphoreRetired { semaphore } => Self::SemaphoreRetired { semaphore },
            Event::SemaphoreRemoved { semaphore } => Self::SemaphoreRemoved { semaphore },
            Event::PeerCreated { peer, at, expires_in, labels } => {
                Self::PeerCreated { peer: peer.0, at: at.as_micros(), expires_in, labels }
            }
            Event::PeerOwned { peer, owner } => {
                Self::PeerOwned { peer: peer.0, owner: owner.name().unwrap_or_default().into() }
            }
            Event::SemaphoreOwned { semaphore, owner } => {
                Self::SemaphoreOwned { semaphore, owner: owner.name().unwrap_or_default().into() }
            }
            Event::LeaseChanged { peer, expires_in } => Self::LeaseChanged { peer: peer.0, expires_in },
            Event::Queued { peer, semaphore, count, priority, since, rank } => {
                let (since, Rank { key, sequence }) = (since.as_micros(), rank);
                Self::Queued { peer: peer.0, semaphore, count, priority, since, key, sequence }
            }
            Event::Connected { peer } => Self::Connected { peer: peer.0 },
            Event::Granted { peer, semaphore, count, token, at, waited: _ } => {
                Self::Granted { peer: peer.0, semaphore, count, token: token.0, at: at.as_micros() }
            }
            Event::Restored { peer, semaphore, count, token, serial, at } => {
                let (token, at) = (token.map(|token| token.0), at.as_micros());
                Self::Restored { peer: peer.0, semaphore, count, token, serial, at }
            }
            Event::Shrunk { peer, semaphore, count, at } => {
                Self::Shrunk { peer: peer.0, semaphore, count, at: at.as_micros() }
            }
            Event::Released { peer, semaphore, at, cause, .. } => {
                Self::Released { peer: peer.0, semaphore, at: at.as_micros(), cause: cause.into() }
            }
            Event::Withdrawn { peer, semaphore, count, cause } => {
                Self::Withdrawn { peer: peer.0, semaphore, count, cause: cause.into() }
            }
            Event::PeerEnded { peer, cause, .. } => Self::PeerEnded { peer: peer.0, cause: cause.into() },
            Event::Counters { token, sequence } => Self::Counters { token, sequence },
            Event::Cooling { semaphore, count, until } => {
                Self::Cooling { semaphore, count, until: until.as_micros() }
            }
            Event::Paused { semaphore, max_before } => Self::Paused { semaphore, max_before },
            // It follows from the others.
            Event::Overcommitted { .. } => return None,
        })
    }

    /// That the key by which a peer was made is kept.
    pub fn of_end(peer: PeerId, end: &KeyedEnd) -> Self {
        let KeyedEnd { cause, reason, at, told_at } = end;
        let (cause, reason) = ((*cause).into(), reason.clone());
        Self::KeyKept { peer: peer.0, cause, reason, at: at.as_micros(), told_at: told_at.as_micros() }
    }

    /// The peer whose lease it begins or changes.
    pub fn of_lease(&self) -> Option<u64> {
        match self {
            Self::PeerCreated { peer, .. }
            | Self::LeaseChanged { peer, .. }
            | Self::Restored { peer, .. } => Some(*peer),
            _ => None,
        }
    }

    /// The peer of whose lease, locks or request it tells something new.
    pub fn of_peer(&self) -> Option<u64> {
        match self {
            Self::PeerCreated { peer, .. }
            | Self::LeaseChanged { peer, .. }
            | Self::Queued { peer, .. }
            | Self::Granted { peer, .. }
            | Self::Restored { peer, .. }
            | Self::Shrunk { peer, .. }
            | Self::Released { peer, .. }
            | Self::Withdrawn { peer, .. }
            | Self::PeerEnded { peer, .. } => Some(*peer),
            _ => None,
        }
    }

    /// The event that was written; `Err` is what only the server knows.
    pub fn into_event(self) -> Result<Event, Self> {
        let time = Time::from_micros;
        Ok(match self {
            Self::SemaphoreSet { semaphore, spec, pattern, at } => {
                Event::SemaphoreSet { semaphore, spec: spec.into(), pattern, at: time(at) }
            }
            Self::SemaphoreRetired { semaphore } => Event::SemaphoreRetired { semaphore },
            Self::SemaphoreRemoved { semaphore } => Event::SemaphoreRemoved { semaphore },
            Self::PeerCreated { peer, at, expires_in, labels } => {
                Event::PeerCreated { peer: PeerId(peer), at: time(at), expires_in, labels }
            }
            Self::PeerOwned { peer, owner } => {
                Event::PeerOwned { peer: PeerId(peer), owner: Owner::new(owner) }
            }
            Self::SemaphoreOwned { semaphore, owner } => {
                Event::SemaphoreOwned { semaphore, owner: Owner::new(owner) }
            }
            Self::LeaseChanged { peer, expires_in } => Event::LeaseChanged { peer: PeerId(peer), expires_in },
            Self::Queued { peer, semaphore, count, priority, since, key, sequence } => {
                let (peer, since, rank) = (PeerId(peer), time(since), Rank { key, sequence });
                Event::Queued { peer, semaphore, count, priority, since, rank }
            }
            Self::Granted { peer, semaphore, count, token, at } => {
                let (peer, token, at) = (PeerId(peer), Token(token), time(at));
                Event::Granted { peer, semaphore, count, token, at, waited: None }
            }
            Self::Restored { peer, semaphore, count, token, serial, at } => {
                let (peer, token, at) = (PeerId(peer), token.map(Token), time(at));
                Event::Restored { peer, semaphore, count, token, serial, at }
            }
            Self::Shrunk { peer, semaphore, count, at } => {
                Event::Shrunk { peer: PeerId(peer), semaphore, count, at: time(at) }
            }
            Self::Released { peer, semaphore, at, cause } => {
                let (peer, at, cause) = (PeerId(peer), time(at), cause.into());
                // The replay knows these from the grant.
                let (count, token, held) = (0, None, Duration::ZERO);
                Event::Released { peer, semaphore, count, token, at, held, cause }
            }
            Self::Withdrawn { peer, semaphore, count, cause } => {
                Event::Withdrawn { peer: PeerId(peer), semaphore, count, cause: cause.into() }
            }
            Self::PeerEnded { peer, cause } => {
                // The replay knows whose it was.
                Event::PeerEnded {
                    peer: PeerId(peer),
                    owner: Owner::NOBODY,
                    labels: None,
                    cause: cause.into(),
                }
            }
            Self::Counters { token, sequence } => Event::Counters { token, sequence },
            Self::Cooling { semaphore, count, until } => {
                Event::Cooling { semaphore, count, until: time(until) }
            }
            Self::Connected { peer } => Event::Connected { peer: PeerId(peer) },
            Self::Paused { semaphore, max_before } => Event::Paused { semaphore, max_before },
            Self::Declared { .. }
            | Self::KeyUsed { .. }
            | Self::KeyTaken { .. }
            | Self::KeyKept { .. }
            | Self::Holding { .. }
            | Self::Wall { .. }
            | Self::Time { .. } => {
                return Err(self);
            }
        })
    }
}

impl From<Spec> for SpecRecord {
    fn from(Spec { max, level, per, deadlock, order, origin }: Spec) -> Self {
        let waiting = match (deadlock, order) {
            (Deadlock::Hierarchy, Order::Strict) => WaitingRecord::Levels,
            (Deadlock::Detect, Order::Strict) => WaitingRecord::Detect,
            (Deadlock::Hierarchy, Order::Pass) => WaitingRecord::LevelsPass,
            (Deadlock::Detect, Order::Pass) => WaitingRecord::DetectPass,
        };
        let origin = match origin {
            Origin::File => OriginRecord::File,
            Origin::Runtime => OriginRecord::Runtime,
            Origin::Pattern => OriginRecord::Pattern,
        };
        Self { max, level, per, waiting, origin }
    }
}

impl From<SpecRecord> for Spec {
    fn from(SpecRecord { max, level, per, waiting, origin }: SpecRecord) -> Self {
        let (deadlock, order) = match waiting {
            WaitingRecord::Levels => (Deadlock::Hierarchy, Order::Strict),
            WaitingRecord::Detect => (Deadlock::Detect, Order::Strict),
            WaitingRecord::LevelsPass => (Deadlock::Hierarchy, Order::Pass),
            WaitingRecord::DetectPass => (Deadlock::Detect, Order::Pass),
        };
        let origin = match origin {
            OriginRecord::File => Origin::File,
            OriginRecord::Runtime => Origin::Runtime,
            OriginRecord::Pattern => Origin::Pattern,
        };
        Self { max, level, per, deadlock, order, origin }
    }
}

impl From<EndCause> for CauseRecord {
    fn from(cause: EndCause) -> Self {
        match cause {
            EndCause::Released => Self::Released,
            EndCause::Expired => Self::Expired,
            EndCause::Operator => Self::Operator,
            EndCause::Removed => Self::Removed,
            EndCause::ExceedsMax => Self::ExceedsMax,
        }
    }
}

impl From<CauseRecord> for EndCause {
    fn from(cause: CauseRecord) -> Self {
        match cause {
            CauseRecord::Released => Self::Released,
            CauseRecord::Expired => Self::Expired,
            CauseRecord::Operator => Self::Operator,
            CauseRecord::Removed => Self::Removed,
            CauseRecord::ExceedsMax => Self::ExceedsMax,
        }
    }
}
