//! Giving locks back.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinHandle;

use crate::{
    Error,
    background::Release,
    clock::now,
    lease::{Lease, Shared},
    protocol,
    transport::Effort,
    v1,
};

const SHORTEST_LIMIT: Duration = Duration::from_secs(1);
/// A request that was given up may arrive after the one that takes it back; so that is sent again, this later.
const IN_FLIGHT: Duration = Duration::from_millis(250);

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
    if let Some(shared) = &lease.shared {
        return end_share(lease, shared).await;
    }
    let request = protocol::release_peer(lease.peer);
    let exchanged = match lease.link.exchange(&request, effort(lease)).await {
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

/// Releases what was asked for in the name of a peer that lives on. What cannot be released stays in the lock file, for
/// the owner of the peer to do it.
async fn end_share(lease: &Lease, shared: &Shared) -> Result<(), Error> {
    let names = shared.asked();
    let mut outcome = Ok(());
    for name in &names {
        let released = lease.link.exchange(&protocol::release_lock(lease.peer, name), effort(lease)).await;
        outcome = outcome.and(released.map(drop));
    }
    if !names.is_empty() && !lease.holds_anything() {
        // The request that was given up may arrive only now.
        tokio::time::sleep(IN_FLIGHT).await;
        for name in &names {
            let released =
                lease.link.exchange(&protocol::release_lock(lease.peer, name), effort(lease)).await;
            outcome = outcome.and(released.map(drop));
        }
    }
    if names.is_empty() && lease.holds_anything() {
        outcome = lease.link.exchange(&v1::look(lease.peer), effort(lease)).await.map(drop);
    }
    let is_over = matches!(outcome, Ok(()) | Err(Error::UnknownPeer { .. }));
    if is_over {
        shared.note(&[]);
    }
    shared.yield_claim();
    match outcome {
        Err(Error::UnknownPeer { instance, detail }) => {
            if lease.holds_anything() && lease.is_from(instance.as_deref()) {
                let why =
                    "the server had ended its peer already, which belongs to a lock around this process";
                return Err(lease.lose_to_server(why, detail).into());
            }
            Ok(())
        }
        outcome => outcome,
    }
}

fn effort(lease: &Lease) -> Effort {
    Effort {
        until: now() + lease.ttl,
        limit: lease.link.settings.timeout.min(SHORTEST_LIMIT.max(lease.ttl / 6)),
    }
}
