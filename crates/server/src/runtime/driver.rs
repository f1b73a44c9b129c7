//! The driver: has the node do what falls due when nobody asks.

use std::time::Duration;

use super::{clock::TICK, engine::Engine};

impl Engine {
    /// Ends leases and waits, and gives out what they free, at the moment when they are over. Runs for ever.
    ///
    /// Reads the clock at least every `TICK`, so that a pause between two readings means that the server
    /// stood still; and with it, whether the wall clock was set.
    pub async fn run_deadlines(&self) {
        loop {
            let now = self.turn(|turn| {
                let wall = turn.wall();
                turn.node.note_wall(wall);
                turn.now
            });
            let pause = {
                let mut shared = self.lock();
                let tick = now + TICK;
                let next = shared.node.next_deadline().map_or(tick, |at| at.min(tick));
                shared.armed_for = next;
                // Timers have a resolution of a millisecond; a shorter pause would only spin.
                next.since(now).max(Duration::from_millis(1))
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.earlier.notified() => {}
            }
        }
    }
}
