//! How long something took, for figures and logs. What the core is told of time comes from the engine's clock.

#![expect(clippy::disallowed_methods, reason = "it decides nothing")]

use std::time::{Duration, Instant};

/// Measures from its start.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
