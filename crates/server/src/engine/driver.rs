//! Does what falls due when nobody asks.

use std::time::Duration;

use super::{clock::TICK, handle::Engine};

impl Engine {
    /// Ends leases and gives out what they free, at the moment when they are over. Runs for ever.
    ///
    /// Reads the clock at least every `TICK`, so that a pause between two readings means that the server
    /// stood still; and with it, whether the wall clock was set.
    pub async fn run_deadlines(&self) {
        loop {
            let pause = self.with(|shared, now| {
                shared.write_down_wall(now);
                let tick = now + TICK;
                let next = shared.core.next_deadline().map_or(tick, |at| at.min(tick));
                shared.armed_for = next;
                // Timers have a resolution of a millisecond; a shorter pause would only spin.
                next.since(now).max(Duration::from_millis(1))
            });
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.earlier.notified() => {}
            }
        }
    }
}
