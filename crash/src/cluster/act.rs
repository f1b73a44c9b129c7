//! What happens to a cluster in a round.

use clap::ValueEnum;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Act {
    KillLeader,
    KillInLarge,
    StopLeader,
    PauseLeader,
    PauseUnconfirmed,
    KillStandby,
    KillAll,
    KillMember,
    KillEtcdLeader,
    PauseMember,
    PauseEtcdLeader,
    PauseTwoMembers,
    FreezeMember,
    FreezeEtcdLeader,
    KillBothLeaders,
    CutFromEtcd,
    CutFromServers,
    CutFromClients,
    CutMember,
    CutEtcdLeader,
    FillEtcd,
    JumpClocks,
}

impl Act {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::KillLeader => "the leader is killed",
            Self::KillInLarge => "the leader is killed in a command above 1.5 MiB",
            Self::StopLeader => "the leader is asked to stop",
            Self::PauseLeader => "the leader stands still past its lease",
            Self::PauseUnconfirmed => "the leader stands still before it is confirmed",
            Self::KillStandby => "a server that follows is killed",
            Self::KillAll => "all servers are killed",
            Self::KillMember => "a member of etcd is killed",
            Self::KillEtcdLeader => "the leader of etcd is killed",
            Self::PauseMember => "a member of etcd stands still",
            Self::PauseEtcdLeader => "the leader of etcd stands still",
            Self::PauseTwoMembers => "two members of etcd stand still past the lease",
            Self::FreezeMember => "the disk of a member of etcd freezes",
            Self::FreezeEtcdLeader => "the disk of the leader of etcd freezes",
            Self::KillBothLeaders => "the leader and that of etcd are killed",
            Self::CutFromEtcd => "the leader is cut off from etcd",
            Self::CutFromServers => "the leader is cut off from the other servers",
            Self::CutFromClients => "the leader is cut off from clients",
            Self::CutMember => "a member of etcd is cut off",
            Self::CutEtcdLeader => "the leader of etcd is cut off",
            Self::FillEtcd => "etcd says that it is full (NOSPACE)",
            Self::JumpClocks => "the clocks of the servers jump",
        }
    }

    /// Whether another server leads afterwards, in any case.
    pub(super) fn deposes(self) -> bool {
        matches!(
            self,
            Self::KillLeader
                | Self::KillInLarge
                | Self::StopLeader
                | Self::PauseLeader
                | Self::PauseUnconfirmed
                | Self::KillAll
                | Self::KillBothLeaders
                | Self::CutFromEtcd
        )
    }
}
