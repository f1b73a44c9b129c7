//! The wall clock of a server, set by a test.

use std::{
    fs,
    io::{Seek as _, Write as _},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime},
};

use serde_json::Value;

use super::{process::Launch, shim};

/// By how much two readings of one clock may differ without being told apart.
const TREMBLE: Duration = Duration::from_millis(20);

/// A wall clock that is ahead of that of this machine, or behind it. See `clock.c`.
pub(crate) struct WallClock {
    directory: PathBuf,
    ahead_s: i64,
}

impl WallClock {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("clock-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        shim::compile("support/clock.c", &directory.join("clock.so"));
        fs::write(directory.join("ahead"), 0_i64.to_ne_bytes()).expect("written");
        Self { directory, ahead_s: 0 }
    }

    /// Has a process go by it.
    pub(crate) fn under(&self, launch: Launch) -> Launch {
        let path = |name: &str| self.directory.join(name).to_str().expect("text").to_owned();
        launch.env("LD_PRELOAD", &path("clock.so")).env("CLOCK_AHEAD", &path("ahead"))
    }

    /// Sets it, so many seconds ahead of the clock of this machine.
    pub(crate) fn set(&mut self, ahead_s: i64) {
        self.ahead_s = ahead_s;
        // In place, as the process has it in its memory.
        let file = fs::File::options().write(true).open(self.directory.join("ahead"));
        let mut file = file.expect("there");
        file.rewind().expect("a file");
        file.write_all(&(ahead_s * 1_000_000_000).to_ne_bytes()).expect("written");
    }

    /// What it shows.
    pub(crate) fn now(&self) -> SystemTime {
        shifted(SystemTime::now(), self.ahead_s)
    }

    /// Does something, and tells between which times by this clock it was done.
    pub(crate) fn during<R>(&self, act: impl FnOnce() -> R) -> (R, Span) {
        let begin = self.now();
        let done = act();
        (done, Span(begin - TREMBLE..=self.now() + TREMBLE))
    }
}

impl Drop for WallClock {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// When something was done.
#[derive(Clone, Debug)]
pub(crate) struct Span(RangeInclusive<SystemTime>);

impl Span {
    /// The same span for something so much later; or earlier.
    pub(crate) fn and(&self, seconds: i64) -> Self {
        Self(shifted(*self.0.start(), seconds)..=shifted(*self.0.end(), seconds))
    }

    /// Checks that a time which was shown is in it.
    #[track_caller]
    pub(crate) fn has(&self, shown: &Value) {
        let text = shown.as_str().expect("a time is a string");
        let time = humantime::parse_rfc3339(text).expect("a time");
        assert!(
            self.0.contains(&time),
            "{text} is not from {} to {}",
            stamp(self.0.start()),
            stamp(self.0.end())
        );
    }

    /// Whether it begins before a time.
    pub(crate) fn begins_before(&self, time: SystemTime) -> bool {
        *self.0.start() <= time
    }

    /// Checks a header `Date`, which has whole seconds.
    #[track_caller]
    pub(crate) fn has_date(&self, date: &str) {
        let time = httpdate::parse_http_date(date).expect("a date");
        let second = Duration::from_secs(1);
        assert!((*self.0.start() - second..=*self.0.end()).contains(&time), "{date} is not in {self:?}");
    }
}

fn shifted(time: SystemTime, seconds: i64) -> SystemTime {
    let by = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { time - by } else { time + by }
}

fn stamp(time: &SystemTime) -> impl std::fmt::Display {
    humantime::format_rfc3339_micros(*time)
}
