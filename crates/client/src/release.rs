//! Giving locks back.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinHandle;

use crate::{
    Error,
    background::Release,
    clock::{Moment, now},
    lease::Lease,
    protocol,
    retry::backoff,
    transport::Effort,
};

const SHORTEST_LIMIT: Duration = Duration::from_secs(1);
/// For how long a release that is refused is repeated before its holder is told: less than a guard waits for it.
const REFUSED_FOR: Duration = Duration::from_secs(3);
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// Ends the peer with all it holds and waits for; goes on even if nobody waits for it, or if it was told that it is
/// refused. To be called on the background thread.
pub(crate) fn in_background(lease: Arc<Lease>, release: Arc<Release>) -> JoinHandle<Result<(), Error>> {
    release.begin();
    lease.ended.cancel();
    tokio::spawn(async move {
        // By then the lease, which nothing renews any more, has ended.
        let over_at = now() + lease.ttl;
        let told_at = now() + REFUSED_FOR.min(lease.link.settings.retry_for).min(lease.ttl);
        match end_peer(&lease, over_at, told_at).await {
            Err(error @ Error::Lost(_)) => Err(error),
            Err(error) => {
                let error = lease.not_released(error);
                tokio::spawn(async move {
                    // It was told already.
                    let _ = end_peer(&lease, over_at, over_at).await;
                    drop(release);
                });
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    })
}

/// Ends the peer. Trouble that may pass is tried again until `over_at`. What is answered with a no is repeated until
/// `told_at`: it may come from something between that is about to change.
async fn end_peer(lease: &Lease, over_at: Moment, told_at: Moment) -> Result<(), Error> {
    // A restore that is under way would bring back what is released here.
    let _gate = lease.gate.lock().await;
    let request = protocol::release_peer(lease.peer);
    let limit = lease.link.settings.timeout.min(SHORTEST_LIMIT.max(lease.ttl / 6));
    let mut failures = 0;
    let exchanged = loop {
        match lease.link.exchange(&request, Effort { until: over_at, limit }).await {
            Err(Error::UnknownPeer { .. }) => return Ok(()),
            Err(error) => {
                let delay = backoff(failures, FIRST_DELAY, LONGEST_DELAY);
                if now() + delay >= told_at {
                    return Err(error);
                }
                failures += 1;
                tokio::time::sleep(delay).await;
            }
            Ok(exchanged) => break exchanged,
        }
    };
    let answer = exchanged.answer;
    // A repeated request finds what the first one did.
    let was_gone = failures == 0 && exchanged.at_first_attempt && answer.says_peer_not_found();
    if was_gone && lease.holds_anything() && lease.is_from(answer.instance.as_deref()) {
        let why = "the server had ended it already (released by an operator, or expired there)";
        let detail = lease.link.ending_of(lease.peer, Effort::once(SHORTEST_LIMIT)).await;
        return Err(lease.lose_to_server(why, detail).into());
    }
    Ok(())
}
