//! What happens to a cluster in a round.

use clap::ValueEnum;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Act {
    KillLeader,
    StopLeader,
    PauseLeader,
    KillStandby,
    KillAll,
    KillMember,
    KillEtcdLeader,
    PauseMember,
    PauseEtcdLeader,
    PauseTwoMembers,
    KillBothLeaders,
    CutFromEtcd,
    CutFromServers,
    CutFromClients,
}

impl Act {
    pub(super) const ALL: [Self; 14] = [
        Self::KillLeader,
        Self::StopLeader,
        Self::PauseLeader,
        Self::KillStandby,
        Self::KillAll,
        Self::KillMember,
        Self::KillEtcdLeader,
        Self::PauseMember,
        Self::PauseEtcdLeader,
        Self::PauseTwoMembers,
        Self::KillBothLeaders,
        Self::CutFromEtcd,
        Self::CutFromServers,
        Self::CutFromClients,
    ];

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::KillLeader => "the leader is killed",
            Self::StopLeader => "the leader is asked to stop",
            Self::PauseLeader => "the leader stands still past its lease",
            Self::KillStandby => "a server that follows is killed",
            Self::KillAll => "all servers are killed",
            Self::KillMember => "a member of etcd is killed",
            Self::KillEtcdLeader => "the leader of etcd is killed",
            Self::PauseMember => "a member of etcd stands still",
            Self::PauseEtcdLeader => "the leader of etcd stands still",
            Self::PauseTwoMembers => "two members of etcd stand still past the lease",
            Self::KillBothLeaders => "the leader and that of etcd are killed",
            Self::CutFromEtcd => "the leader is cut off from etcd",
            Self::CutFromServers => "the leader is cut off from the other servers",
            Self::CutFromClients => "the leader is cut off from clients",
        }
    }

    /// Whether another server leads afterwards, in any case.
    pub(super) fn deposes(self) -> bool {
        matches!(
            self,
            Self::KillLeader
                | Self::StopLeader
                | Self::PauseLeader
                | Self::KillAll
                | Self::KillBothLeaders
                | Self::CutFromEtcd
        )
    }
}
