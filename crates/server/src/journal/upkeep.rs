//! Whether the journal stays short, and telling the operator when it does not.
//!
//! Nothing is lost then, so the server goes on. But the files grow, and a restart takes longer.

use std::time::Duration;

use prometheus::IntGauge;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::telemetry::Seldom;

/// The shortest time between two warnings of the same thing.
const PAUSE: Duration = Duration::from_mins(10);
/// A snapshot that takes longer than this is told of.
const SNAPSHOT_PATIENCE: Duration = Duration::from_mins(10);

/// What keeps the journal short.
#[derive(Clone, Copy, Debug)]
pub(super) enum Work {
    /// Copying the write-ahead log into the database.
    Checkpoint,
    /// Making a snapshot.
    Snapshot,
}

/// What does not go well.
pub(super) struct Upkeep {
    /// 1 while anything does not.
    trouble: IntGauge,
    states: [State; 2],
}

#[derive(Debug)]
struct State {
    is_failing: bool,
    warnings: Seldom,
    /// It was told, and that it is over was not.
    is_told: bool,
}

impl Upkeep {
    pub(super) fn new(trouble: IntGauge) -> Self {
        let state = || State { is_failing: false, warnings: Seldom::every(PAUSE), is_told: false };
        Self { trouble, states: [state(), state()] }
    }

    /// Something failed, or does not get on. Tells whether there is a warning of it: not every attempt has one.
    pub(super) fn failed(&mut self, work: Work, why: &impl ToString, now: Instant) -> bool {
        let state = self.state(work);
        state.is_failing = true;
        let is_to_tell = state.warnings.next_at(now).is_some();
        if is_to_tell {
            state.is_told = true;
            warn!(
                "The journal cannot be made short: {}. Nothing is lost and the server goes on, but its files grow, and \
                 a restart takes longer. It is tried again.",
                why.to_string().trim_end_matches('.')
            );
        }
        self.show();
        is_to_tell
    }

    /// Something went well.
    pub(super) fn done(&mut self, work: Work) {
        let state = self.state(work);
        state.is_failing = false;
        if std::mem::take(&mut state.is_told) {
            let what = match work {
                Work::Checkpoint => "its write-ahead log is in the database",
                Work::Snapshot => "a snapshot is made",
            };
            info!("The journal is made short again: {what}.");
        }
        self.show();
    }

    /// Looks at a snapshot that is being made since `begun`.
    pub(super) fn watch(&mut self, begun: Option<Instant>, now: Instant) {
        if let Some(begun) = begun
            && now.duration_since(begun) >= SNAPSHOT_PATIENCE
        {
            let minutes = now.duration_since(begun).as_secs() / 60;
            let why = format!(
                "its snapshot has taken {minutes} minutes and is not done: see whether the disk is slow, or the \
                 machine short of memory"
            );
            self.failed(Work::Snapshot, &why, now);
        }
    }

    fn state(&mut self, work: Work) -> &mut State {
        let [checkpoint, snapshot] = &mut self.states;
        match work {
            Work::Checkpoint => checkpoint,
            Work::Snapshot => snapshot,
        }
    }

    fn show(&self) {
        self.trouble.set(i64::from(self.states.iter().any(|state| state.is_failing)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upkeep() -> Upkeep {
        Upkeep::new(IntGauge::new("trouble", "For a test.").expect("a gauge"))
    }

    #[test]
    fn it_is_told_at_once_and_then_now_and_then() {
        let (mut upkeep, begun) = (upkeep(), Instant::now());
        let told = |upkeep: &mut Upkeep, seconds: u64| {
            upkeep.failed(Work::Checkpoint, &"no room", begun + Duration::from_secs(seconds))
        };
        assert!(told(&mut upkeep, 0));
        assert!((1..600).all(|seconds| !told(&mut upkeep, seconds)));
        assert!(told(&mut upkeep, 600));
        assert_eq!(upkeep.trouble.get(), 1);
        // What comes and goes is not told more often.
        upkeep.done(Work::Checkpoint);
        assert_eq!(upkeep.trouble.get(), 0);
        assert!(!told(&mut upkeep, 700));
        assert_eq!(upkeep.trouble.get(), 1);
        assert!(told(&mut upkeep, 1200));
    }

    #[test]
    fn one_that_goes_well_hides_no_other() {
        let (mut upkeep, now) = (upkeep(), Instant::now());
        assert!(upkeep.failed(Work::Checkpoint, &"no room", now));
        assert!(upkeep.failed(Work::Snapshot, &"no room", now));
        upkeep.done(Work::Checkpoint);
        assert_eq!(upkeep.trouble.get(), 1);
        upkeep.done(Work::Snapshot);
        assert_eq!(upkeep.trouble.get(), 0);
    }

    #[test]
    fn a_snapshot_that_is_never_done_is_told_of() {
        let (mut upkeep, now) = (upkeep(), Instant::now());
        upkeep.watch(None, now + SNAPSHOT_PATIENCE);
        upkeep.watch(Some(now), now + SNAPSHOT_PATIENCE - Duration::from_secs(1));
        assert_eq!(upkeep.trouble.get(), 0);
        upkeep.watch(Some(now), now + SNAPSHOT_PATIENCE);
        assert_eq!(upkeep.trouble.get(), 1);
        upkeep.done(Work::Snapshot);
        assert_eq!(upkeep.trouble.get(), 0);
    }
}
