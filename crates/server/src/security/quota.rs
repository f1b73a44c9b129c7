//! What one identity may use of the server, so that others have the rest.

use serde::Deserialize;
use throttle_core::{LimitReached, Quota, Resource, Share};
use throttle_node::TooManyWaits;

use super::rate::Rate;

/// What an identity may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// What its peers may use.
    pub shares: Quota,
    /// How often it may ask for something.
    pub rate: Option<Rate>,
}

impl Quotas {
    /// As much as it likes.
    pub const NONE: Self = Self { shares: Quota::NONE, rate: None };
}

/// The same as a file says it. What it does not say is as usual.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaEntry {
    /// Live peers.
    pub peers: Option<usize>,
    /// Requests in queues.
    pub pending: Option<usize>,
    /// Requests that wait with their connection open.
    pub blocked: Option<usize>,
    /// Semaphores that it makes by patterns.
    pub semaphores: Option<usize>,
    /// Requests in a time.
    pub rate: Option<Rate>,
}

impl QuotaEntry {
    /// What it says, and else what is `usual`.
    pub fn or(&self, usual: Quotas) -> Quotas {
        let Quota { peers, pending, members, blocked } = usual.shares;
        let shares = Quota {
            peers: self.peers.unwrap_or(peers),
            pending: self.pending.unwrap_or(pending),
            members: self.semaphores.unwrap_or(members),
            blocked: self.blocked.unwrap_or(blocked),
        };
        Quotas { shares, rate: self.rate.or(usual.rate) }
    }
}

/// What somebody has too much of, though the server has room for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// Live peers.
    Peers,
    /// Requests in queues.
    Pending,
    /// Requests that wait with their connection open.
    Blocked,
    /// Semaphores made by patterns.
    Semaphores,
    /// Requests of an identity.
    Rate,
    /// Requests of an address.
    AddressRate,
}

impl Excess {
    /// All there may be.
    pub const ALL: [Self; 6] =
        [Self::Peers, Self::Pending, Self::Blocked, Self::Semaphores, Self::Rate, Self::AddressRate];

    /// What metrics call it: as the setting.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Peers => "peers",
            Self::Pending => "pending",
            Self::Blocked => "blocked",
            Self::Semaphores => "semaphores",
            Self::Rate => "rate",
            Self::AddressRate => "rate_per_address",
        }
    }

    /// Of what a limit of the core is, if it is one of identities.
    pub fn of_limit(limit: &LimitReached) -> Option<Self> {
        match limit.resource {
            Resource::Share(Share::Peers) => Some(Self::Peers),
            Resource::Share(Share::Pending) => Some(Self::Pending),
            Resource::Share(Share::Members) => Some(Self::Semaphores),
            _ => None,
        }
    }

    /// The same for requests that wait.
    pub fn of_waits(full: &TooManyWaits) -> Option<Self> {
        full.is_share.then_some(Self::Blocked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_does_not_say_is_as_usual() {
        let usual = Quotas { rate: Some("5/s".parse().unwrap()), ..Quotas::NONE };
        assert_eq!(QuotaEntry::default().or(usual), usual);
        let entry: QuotaEntry =
            toml::from_str("peers = 1\npending = 0\nblocked = 3\nsemaphores = 4").unwrap();
        let shares = Quota { peers: 1, pending: 0, members: 4, blocked: 3 };
        assert_eq!(entry.or(usual), Quotas { shares, ..usual });
        let entry: QuotaEntry = toml::from_str("rate = \"1/min\"").unwrap();
        assert_eq!(entry.or(usual).rate, Some("1/min".parse().unwrap()));
        assert!(toml::from_str::<QuotaEntry>("rate = \"x\"").is_err());
        assert!(toml::from_str::<QuotaEntry>("peer = 1").is_err());
    }
}
