//! Log lines of one kind that clients can cause: at most one in a while, with how many were left out.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use throttle_core::PeerId;
use tokio::time::Instant;
use tracing::warn;

use super::peer::ShownPeer;

/// The pause between two lines of one kind about what clients ask for.
const PAUSE: Duration = Duration::from_secs(1);

static UNKNOWN_SEMAPHORES: Seldom = Seldom::every(PAUSE);
static UNKNOWN_PEERS: Seldom = Seldom::every(PAUSE);

/// When the last line of a kind was written, and how many were left out since.
#[derive(Debug)]
pub struct Seldom {
    pause: Duration,
    state: Mutex<(Option<Instant>, u64)>,
}

impl Seldom {
    /// At most one line in this time.
    pub const fn every(pause: Duration) -> Self {
        Self { pause, state: Mutex::new((None, 0)) }
    }

    /// Whether a line may be written now: then how many were left out before it.
    pub fn next(&self) -> Option<u64> {
        self.next_at(Instant::now())
    }

    /// Writes a line, unless it is too soon; `line` is told how many were left out, if any were.
    fn write(&self, line: impl FnOnce(Option<u64>)) {
        if let Some(left_out) = self.next() {
            line(Some(left_out).filter(|&left_out| left_out > 0));
        }
    }

    /// The same at a given moment.
    pub(crate) fn next_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, left_out) = &mut *state;
        if last.is_some_and(|last| now.duration_since(last) < self.pause) {
            *left_out += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(left_out))
    }
}

/// Somebody asked for a semaphore that is not there.
#[cold]
pub fn unknown_semaphore(semaphore: &str) {
    UNKNOWN_SEMAPHORES.write(|left_out| warn!(target: "throttle", semaphore, left_out, "Unknown semaphore"));
}

/// Somebody ended a peer that is not there.
#[cold]
pub fn unknown_peer_ended(peer: PeerId) {
    UNKNOWN_PEERS.write(|left_out| {
        warn!(target: "throttle", peer = %ShownPeer(peer), left_out, "Deletion of unknown peer");
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_left_out_and_counted() {
        let (seldom, begin) = (Seldom::every(Duration::from_secs(10)), Instant::now());
        let next = |seconds| seldom.next_at(begin + Duration::from_secs(seconds));
        assert_eq!(
            [0, 1, 9, 10, 19, 20, 40].map(next),
            [Some(0), None, None, Some(2), None, Some(1), Some(0)]
        );
    }
}
