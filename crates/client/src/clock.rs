//! Time that never runs backwards, and that goes on while the machine sleeps where the system can tell.
//!
//! `Instant` stands still on Linux while a machine is suspended, and a lock would look held hours after it
//! expired. So the clock that counts suspension is used there.

use std::{
    ops::Add,
    time::{Duration, Instant},
};

/// A moment on this machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(Duration);

impl Moment {
    /// How long it is until this moment; zero once it passed.
    pub(crate) fn remaining(self) -> Duration {
        self.0.saturating_sub(now().0)
    }

    /// How long ago it was; zero if it is still to come.
    pub(crate) fn elapsed(self) -> Duration {
        now().0.saturating_sub(self.0)
    }

    /// How long after this another moment is; zero if it is before.
    pub(crate) fn until(self, later: Self) -> Duration {
        later.0.saturating_sub(self.0)
    }

    /// The last moment up to this one that is a whole number of steps away from the clock's beginning.
    pub(crate) fn on_grid(self, step: Duration) -> Self {
        let rest = self.0.as_nanos().checked_rem(step.as_nanos()).unwrap_or_default();
        Self(self.0.saturating_sub(Duration::from_nanos(u64::try_from(rest).unwrap_or_default())))
    }

    pub(crate) fn has_passed(self) -> bool {
        now() >= self
    }

    /// The same moment on the clock that programs know, provided that the machine does not sleep in between.
    pub(crate) fn to_instant(self) -> Instant {
        let (instant, now) = (instant(), now());
        let (ahead, behind) = (self.0.saturating_sub(now.0), now.0.saturating_sub(self.0));
        instant.checked_add(ahead).and_then(|instant| instant.checked_sub(behind)).unwrap_or(instant)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// Waits until a moment has come.
pub(crate) async fn sleep_until(moment: Moment) {
    tokio::time::sleep(moment.remaining()).await;
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn now() -> Moment {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
    Moment(Duration::new(seconds, nanoseconds))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn now() -> Moment {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(instant);
    // An hour of advance, so that the first moments are not at the very edge.
    Moment(START.elapsed() + Duration::from_secs(3600))
}

#[expect(clippy::disallowed_methods, reason = "this is the client's clock module")]
fn instant() -> Instant {
    Instant::now()
}
