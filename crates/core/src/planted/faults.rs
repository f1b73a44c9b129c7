//! The faults, and the one that is planted on this thread.

use std::cell::Cell;

macro_rules! faults {
    (
        one: $($(#[doc = $doc:literal])+ $fault:ident,)+
        clusters: $($(#[doc = $of_clusters_doc:literal])+ $of_clusters:ident,)+
    ) => {
        /// A way to break something.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault {
            $($(#[doc = $doc])+ $fault,)+
            $($(#[doc = $of_clusters_doc])+ $of_clusters,)+
        }

        impl Fault {
            /// Those that a single server can have.
            pub const OF_ONE: &[Self] = &[$(Self::$fault,)+];

            /// Those that only a cluster can have.
            pub const OF_CLUSTERS: &[Self] = &[$(Self::$of_clusters,)+];
        }
    };
}

faults! {
    one:
    /// A lease ends before its promised time.
    LeaseEndsEarly,
    /// A lease ends long after its margin.
    LeaseEndsLate,
    /// A heartbeat moves nothing.
    HeartbeatIgnored,
    /// A restart does not begin leases anew.
    LeasesGoOnAtRestart,
    /// Two grants have the same token.
    TokenReused,
    /// One more is granted than there is.
    GrantBeyondMax,
    /// The last comes first.
    QueueReversed,
    /// What a lock held does not come back.
    CountLeaks,
    /// A shrunk lock gives back all of its count.
    ShrinkGivesBackAll,
    /// Nobody passes a request that waits for something else.
    NobodyPasses,
    /// Whoever asks for one semaphore alone is passed, too.
    SinglesArePassed,
    /// Nobody looks at the queue when something is free.
    QueueNotLookedAt,
    /// Levels do not count.
    LevelsIgnored,
    /// Deadlocks are not found.
    DeadlockMissed,
    /// Waiters are not examined again after a semaphore was changed.
    ChangeNotExamined,
    /// Rates do not count.
    RateIgnored,
    /// A snapshot leaves out what the rate holds back.
    RateForgottenBySnapshot,
    /// A client that is gone is granted what it waited for.
    AbsentIsGranted,
    /// It is not noticed that a connection is gone.
    GoneIsPresent,
    /// The unused member of a pattern stays.
    MemberStays,
    /// A restart turns the queues round.
    QueueReversedByReplay,
    /// A grant wakes nobody.
    WakeForgotten,
    /// A wait does not end with its time.
    WaitNeverEnds,
    /// Answers leave before the log is safe.
    AnswerTooSoon,
    /// The key of a request is not remembered.
    KeyForgotten,
    /// The key of a request is not written down.
    KeyNotLogged,
    /// The number of an event is left out.
    EventNumberSkipped,
    /// Some events are not shown.
    EventNotShown,
    /// A page of events is lost.
    PageLost,
    /// How a peer ended is not remembered.
    EndingForgotten,
    /// The reason of an operator is not remembered.
    ReasonForgotten,
    /// Grants are not held back after a start with empty state.
    GrantsNotHeldBack,
    /// Grants are held back for ever.
    GrantsHeldForEver,
    /// Releases are not written down.
    ReleaseNotLogged,
    /// Grants are not written down.
    GrantNotLogged,
    /// A batch that a crash cut off is kept.
    TornBatchKept,
    /// An append with an unknown outcome is taken for done.
    UnknownTakenForDone,
    /// An append with an unknown outcome is taken for failed, and its records are written again.
    UnknownTakenForFailed,
    /// A snapshot leaves out the keys of requests.
    KeysForgottenBySnapshot,
    /// It is not written down that the key of a peer that ended is kept.
    KeptKeyNotLogged,
    /// A snapshot leaves out how the peers ended whose keys are kept.
    KeptKeysForgottenBySnapshot,
    /// A snapshot takes the place of a batch that it does not have in it.
    SnapshotOneShort,
    /// A peer ends when its promised time is over, without the margin.
    MarginForgotten,
    /// A grant to a waiter does not begin its lease anew.
    GrantKeepsOldLease,
    /// Priorities do not count.
    PriorityIgnored,
    /// A restart forgets the priorities of those who wait.
    PriorityForgottenByReplay,
    /// When a waiter leaves, nobody looks at those behind it.
    LeavingWakesNobody,
    /// When a semaphore grows, nobody looks at its queue.
    ResizeWakesNobody,
    /// A waiter that asks for more than there is now holds up others.
    LargeHoldsUpOthers,
    /// A waiter whose client is gone for too long holds up others.
    AbsentHoldsUpOthers,
    /// A waiter whose client is gone is never passed over.
    AbsenceNeverBegins,
    /// What a peer held that expired does not come back.
    ExpiryLeaks,
    /// A request over several semaphores is granted when one of them is free.
    PartIsEnough,
    /// A request for more than there is may wait.
    MaxNotChecked,
    /// A larger count than is held is taken for a repeat.
    LargerTakenForRepeat,
    /// Whoever holds something may ask for nothing else.
    LevelsTooStrict,
    /// No limit holds.
    LimitsIgnored,
    /// A restored lock gets a new token.
    RestoreMintsToken,
    /// Everybody may bring back everything.
    RestorePolicyIgnored,
    /// Whoever knows the id of a peer may act on it.
    OwnersIgnored,
    /// No quota holds.
    QuotaIgnored,
    /// Everybody may have as many requests waiting as there is room for.
    BlockedIgnored,
    /// A peer that is gone still counts.
    QuotaLeaks,
    /// A snapshot forgets for whom members of patterns count.
    MakersForgottenBySnapshot,
    /// A snapshot forgets whose peers are.
    OwnersForgottenBySnapshot,
    /// An idempotency key is everybody's.
    KeysOfAll,
    /// A known peer is said to be brought back with locks that it does not have.
    RestoreOfOthersAccepted,
    /// A snapshot forgets which tokens were given.
    TokensForgottenBySnapshot,
    /// A snapshot forgets how late it was.
    TimeForgottenBySnapshot,
    /// A snapshot forgets those who wait.
    WaitersForgottenBySnapshot,
    /// The records of a turn are written in reverse.
    RecordsOutOfOrder,
    /// The answer to a heartbeat leaves before a change of the lease is safe.
    HeartbeatAnsweredTooSoon,
    /// Nobody who waits is answered when the server stops.
    DrainForgotten,
    /// A refused request leaves its key behind.
    KeyKeptForRefused,
    /// A key is good for any request.
    FingerprintIgnored,
    /// Who goes on waiting for what was withdrawn asks for it anew.
    WithdrawnAsksAnew,
    /// A wait ends when half of its time is over.
    WaitEndsEarly,
    /// A wait goes on when the promised time of its peer is over.
    WaitOutlivesLease,
    /// Who asks whether all is acquired is told that it is.
    PollLies,
    /// No token is said to be live.
    LiveTokenDenied,
    /// Every token is said to be live while somebody holds the semaphore.
    DeadTokenLives,
    /// The remainder does not count what is held.
    RemainderForgetsHolders,
    /// A restart forgets the patterns.
    PatternsForgottenByRestart,
    /// A restart forgets that grants are held back.
    HoldingForgottenByRestart,
    /// A restart with the clock set back begins before the end of the log.
    ClockRunsBack,
    /// The time in which the server stood still is not forgiven.
    StandstillNotForgiven,
    /// A peer that expired is said to have been released.
    EndingConfused,
    /// A restart begins anew with the numbers of events.
    EventNumbersBeginAnew,
    /// The change of a lease is not written down.
    LeaseChangeNotLogged,
    /// That a lock was shrunk is not written down.
    ShrinkNotLogged,
    /// That a client waits with a connection is not written down.
    ConnectionNotLogged,
    /// That a request left the queue is not written down.
    WithdrawalNotLogged,
    /// A number of the log is left out.
    GapInLog,
    clusters:
    /// Writes of a leader do not ask whether it still leads.
    NoFence,
    /// A write that etcd did not answer is taken for done.
    UnansweredTakenForDone,
    /// A write that etcd did not answer is taken for failed.
    UnansweredTakenForFailed,
    /// A write that etcd did not answer is sent again with more in it.
    RepeatedWithMore,
    /// A write that etcd refuses since it is full is taken for done.
    RefusedTakenForDone,
    /// An append that arrives late brings back a batch that was trimmed.
    TrimmedBatchBack,
    /// An answered keep-alive is taken for a confirmation.
    KeepAliveConfirms,
    /// A confirmation that was sent before a command ran counts for its answer.
    EarlierConfirmationCounts,
    /// An append that was sent before a command ran counts for its answer.
    EarlierAppendCounts,
    /// An answer that changes nothing waits for no confirmation.
    LookNotConfirmed,
    /// The answers of a leader that is deposed leave nevertheless.
    DeposedAnswers,
    /// Time goes on while nobody confirms that a leader leads.
    TimeGoesOnUnconfirmed,
    /// The time in which nobody confirmed it counts once somebody does.
    UnconfirmedTimeCounts,
    /// A server that follows answers by what it has read.
    FollowerAnswers,
    /// A leader does not read what was written before it had the key.
    TailNotReadAgain,
    /// A server that was left behind reads a snapshot on top of what it has.
    TrimmedNotBegunAnew,
    /// A server that could read only a part of what is new reads it again on top of that.
    PartlyReadKept,
    /// The pages of one reading are of several moments.
    PagesOfSeveralMoments,
    /// A snapshot counts before its pieces are there.
    HeadBeforePieces,
    /// An older snapshot takes the place of a later one if it arrives late.
    HeadNotCompared,
    /// What a later snapshot is being made of is trimmed.
    TrimTakesLaterPieces,
    /// What was written right before a snapshot is trimmed, and what comes right behind it.
    TrimTakesOneMore,
}

std::thread_local! {
    static CURRENT: Cell<Option<Fault>> = const { Cell::new(None) };
}

/// Plants a fault on this thread, instead of the one before.
pub fn plant(fault: Option<Fault>) {
    CURRENT.set(fault);
}

/// Whether this fault is planted on this thread.
pub fn is(fault: Fault) -> bool {
    CURRENT.get() == Some(fault)
}
