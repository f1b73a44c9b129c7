//! Waiting for a grant with the connection open.

use std::time::Duration;

use throttle_core::{Name, PeerId, PeerView, Time};
use tokio::sync::oneshot;

use super::{commands::AcquireRefusal, handle::Engine, sessions::unknown_peer};
use crate::telemetry::trace::{self, Queued, TraceIds, Wait, WaitEnd};

enum Step {
    Over(bool),
    Wait { ticket: u64, woken: oneshot::Receiver<Option<TraceIds>>, pause: Duration },
}

/// What the span of a wait tells of it. There is none unless the request is recorded.
#[derive(Default)]
struct Story {
    is_told: bool,
    queued: Option<(Queued, Time)>,
    span: Option<Wait>,
    end: Option<WaitEnd>,
    waited: Duration,
}

impl Engine {
    /// Waits until the peer waits for nothing any more. `false`: its time, or that until `until`, is over.
    pub(super) async fn wait(&self, peer: PeerId, until: Time) -> Result<bool, AcquireRefusal> {
        let mut story = Story { is_told: trace::is_recorded(), ..Story::default() };
        let outcome = self.wait_and_tell(peer, until, &mut story).await;
        story.finish(&outcome);
        outcome
    }

    async fn wait_and_tell(
        &self,
        peer: PeerId,
        until: Time,
        story: &mut Story,
    ) -> Result<bool, AcquireRefusal> {
        loop {
            let step = self.with(|shared, now| {
                let is_over = shared.core.poll(now, peer).map_err(unknown_peer)?;
                let seen = shared.core.peer(peer).map_err(unknown_peer)?;
                if story.is_told {
                    story.look(seen, now);
                }
                if is_over {
                    return Ok(Step::Over(true));
                }
                // A heartbeat moves the promised time, so it is looked at again when it is over.
                let at = until.min(seen.expires_at());
                if shared.is_draining || at <= now {
                    return Ok(Step::Over(false));
                }
                let entered = shared.blocked.enter(peer, trace::current());
                let (ticket, woken) = entered.map_err(AcquireRefusal::TooManyBlocked)?;
                if let Err(error) = shared.core.connect(now, peer) {
                    shared.blocked.leave(peer, ticket);
                    return Err(AcquireRefusal::Refused(error));
                }
                Ok(Step::Wait { ticket, woken, pause: at.since(now) })
            })?;
            match step {
                Step::Over(is_acquired) => return Ok(is_acquired),
                Step::Wait { ticket, woken, pause } => {
                    story.begin(peer);
                    let mut place = Place { engine: self, peer, ticket, is_woken: false };
                    // Woken or not, the state of the peer says what is the matter.
                    if let Ok(Ok(cause)) = tokio::time::timeout(pause, woken).await {
                        place.is_woken = true;
                        story.link(cause);
                    }
                }
            }
        }
    }
}

impl Story {
    /// Notes what it began to wait for, and whether it has got that.
    fn look(&mut self, seen: PeerView<'_>, now: Time) {
        match (&self.queued, seen.pending()) {
            (None, Some(pending)) => {
                let locks = pending.locks().map(|(name, count)| (name.clone(), count)).collect();
                self.queued = Some((Queued { locks, position: pending.position() }, pending.since()));
            }
            (Some((queued, since)), None) => {
                let token = |name: &Name| Some((name.clone(), seen.lock(name)?.token()?));
                let tokens: Vec<_> = queued.locks.iter().filter_map(|(name, _)| token(name)).collect();
                let is_granted = tokens.len() == queued.locks.len();
                self.waited = now.since(*since);
                self.end = Some(if is_granted { WaitEnd::Granted(tokens) } else { WaitEnd::Withdrawn });
            }
            _ => {}
        }
    }

    fn begin(&mut self, peer: PeerId) {
        if let (None, Some((queued, _))) = (&self.span, &self.queued) {
            self.span = Wait::begin(peer, queued);
        }
    }

    fn link(&mut self, cause: Option<TraceIds>) {
        if let Some(span) = &mut self.span {
            span.link(cause);
        }
    }

    fn finish(self, outcome: &Result<bool, AcquireRefusal>) {
        let Some(span) = self.span else { return };
        let end = match outcome {
            Ok(true) => self.end.unwrap_or(WaitEnd::Withdrawn),
            Ok(false) => WaitEnd::Timeout,
            Err(AcquireRefusal::TooManyBlocked(_)) => WaitEnd::Refused,
            Err(_) => WaitEnd::PeerGone,
        };
        span.end(&end, self.waited);
    }
}

/// A place among the blocked requests; given up when the wait ends, or its client hangs up.
struct Place<'a> {
    engine: &'a Engine,
    peer: PeerId,
    ticket: u64,
    /// It is gone from the blocked requests already.
    is_woken: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.is_woken {
            return;
        }
        self.engine.with(|shared, now| {
            if shared.blocked.leave(self.peer, self.ticket) {
                shared.core.disconnect(now, self.peer);
            }
        });
    }
}
