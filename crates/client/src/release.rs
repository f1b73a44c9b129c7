//! Giving locks back.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinHandle;

use crate::{Error, background::Release, clock::now, lease::Lease, protocol, transport::Effort};

const SHORTEST_LIMIT: Duration = Duration::from_secs(1);

/// Ends the peer with all it holds and waits for; goes on even if nobody waits for it. To be called on the
/// background thread.
pub(crate) fn in_background(lease: Arc<Lease>, release: Arc<Release>) -> JoinHandle<Result<(), Error>> {
    release.begin();
    lease.ended.cancel();
    tokio::spawn(async move {
        let outcome = end_peer(&lease).await;
        drop(release);
        outcome
    })
}

/// Tries until the locks would expire anyway.
async fn end_peer(lease: &Lease) -> Result<(), Error> {
    // A restore that is under way would bring back what is released here.
    let _gate = lease.gate.lock().await;
    let request = protocol::release_peer(lease.peer);
    let effort = Effort {
        until: now() + lease.ttl,
        limit: lease.link.settings.timeout.min(SHORTEST_LIMIT.max(lease.ttl / 6)),
    };
    let exchanged = match lease.link.exchange(&request, effort).await {
        Err(Error::UnknownPeer { .. }) => return Ok(()),
        exchanged => exchanged?,
    };
    let answer = exchanged.answer;
    // A repeated request finds what the first one did.
    let was_gone = exchanged.at_first_attempt && answer.says_peer_not_found();
    if was_gone && lease.holds_anything() && lease.is_from(answer.instance.as_deref()) {
        let why = "the server had ended it already (released by an operator, or expired there)";
        let detail = lease.link.ending_of(lease.peer, Effort::once(SHORTEST_LIMIT)).await;
        return Err(lease.lose_to_server(why, detail).into());
    }
    Ok(())
}
