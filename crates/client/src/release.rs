//! Giving locks back.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinHandle;

use crate::{
    Error,
    background::Release,
    clock::{Moment, now},
    delivery::Exchanged,
    lease::{Lease, Shared},
    protocol::{self, Request},
    retry::backoff,
    transport::Effort,
    v1,
};

const ENDING_LIMIT: Duration = Duration::from_secs(1);
/// A request that was given up may arrive after the one that takes it back; so that is sent again, this later.
const IN_FLIGHT: Duration = Duration::from_millis(250);
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
            // The owner of a shared peer releases what is left in it.
            Err(error) if lease.shared.is_some() => Err(error),
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

/// Ends the peer, or what was asked for in its name if it is shared; see [`until_told`].
async fn end_peer(lease: &Lease, over_at: Moment, told_at: Moment) -> Result<(), Error> {
    // A restore that is under way would bring back what is released here.
    let _gate = lease.gate.lock().await;
    if let Some(shared) = &lease.shared {
        return end_share(lease, shared, told_at).await;
    }
    let request = protocol::release_peer(lease.peer);
    let (exchanged, failures) = match until_told(lease, &request, over_at, told_at).await {
        Err(Error::UnknownPeer { .. }) => return Ok(()),
        outcome => outcome?,
    };
    let answer = exchanged.answer;
    // A repeated request finds what the first one did.
    let was_gone = failures == 0 && exchanged.at_first_attempt && answer.says_peer_not_found();
    if was_gone && lease.holds_anything() && lease.is_from(answer.instance.as_deref()) {
        let why = "the server had ended it already (released by an operator, or expired there)";
        let detail = lease.link.ending_of(lease.peer, Effort::once(ENDING_LIMIT)).await;
        return Err(lease.lose_to_server(why, detail).into());
    }
    Ok(())
}

/// Releases what was asked for in the name of a peer that lives on. What cannot be released stays in the lock file, for
/// the owner of the peer to do it.
async fn end_share(lease: &Lease, shared: &Shared, told_at: Moment) -> Result<(), Error> {
    let over_at = now() + lease.ttl;
    let names = shared.asked();
    let mut outcome = Ok(());
    for name in &names {
        outcome = outcome.and(release_shared(lease, name, over_at, told_at).await);
    }
    if !names.is_empty() && !lease.holds_anything() {
        // The request that was given up may arrive only now.
        tokio::time::sleep(IN_FLIGHT).await;
        for name in &names {
            outcome = outcome.and(release_shared(lease, name, over_at, told_at).await);
        }
    }
    if names.is_empty() && lease.holds_anything() {
        outcome = until_told(lease, &v1::look(lease.peer), over_at, told_at).await.map(drop);
    }
    let is_over = matches!(outcome, Ok(()) | Err(Error::UnknownPeer { .. }));
    if is_over {
        shared.note(&[]);
    }
    shared.yield_claim();
    match outcome {
        Err(Error::UnknownPeer { instance, detail, .. }) => {
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

/// Releases one lock of a shared peer. Nothing is held of a semaphore that is not there.
async fn release_shared(lease: &Lease, name: &str, over_at: Moment, told_at: Moment) -> Result<(), Error> {
    match until_told(lease, &v1::release(lease.peer, &[name]), over_at, told_at).await {
        Ok(_) | Err(Error::UnknownSemaphore { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Sends a request until it is done, and tells how often it was refused before. Trouble that may pass is tried again
/// until `over_at`. What is answered with a no is repeated until `told_at`: it may come from something between that is
/// about to change.
async fn until_told(
    lease: &Lease,
    request: &Request,
    over_at: Moment,
    told_at: Moment,
) -> Result<(Exchanged, u32), Error> {
    let limit = lease.release_limit();
    let mut failures = 0;
    loop {
        match lease.link.exchange(request, Effort { until: over_at, limit }).await {
            Ok(exchanged) => return Ok((exchanged, failures)),
            Err(error) => {
                let delay = backoff(failures, FIRST_DELAY, LONGEST_DELAY);
                let is_final = matches!(error, Error::UnknownPeer { .. } | Error::UnknownSemaphore { .. });
                if is_final || now() + delay >= told_at {
                    return Err(error);
                }
                failures += 1;
                tokio::time::sleep(delay).await;
            }
        }
    }
}
