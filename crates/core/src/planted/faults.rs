//! The faults, and the one that is planted on this thread.

use std::cell::Cell;

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $fault:ident,)+) => {
        /// A way to break something.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault {
            $($(#[doc = $doc])+ $fault,)+
        }

        impl Fault {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$fault,)+];
        }
    };
}

faults! {
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
    /// Nobody looks at the queue when something is free.
    QueueNotLookedAt,
    /// Levels do not count.
    LevelsIgnored,
    /// Deadlocks are not found.
    DeadlockMissed,
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
    /// A snapshot takes the place of a batch that it does not have in it.
    SnapshotOneShort,
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
