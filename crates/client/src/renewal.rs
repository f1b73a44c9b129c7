//! Keeping a lease alive: renew it, bring it back after a restart of the server, or tell that it is lost.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    Error, LossReason,
    batch::{Due, Turn},
    clock::{Moment, now, sleep_until},
    delivery::Exchanged,
    dialect::Beat,
    lease::Lease,
    protocol,
    retry::backoff,
    transport::Effort,
    v1,
};

/// Renews the lease until it ends, one way or the other. To be called on the background thread.
pub(crate) fn start(lease: &Arc<Lease>) {
    let lease = Arc::clone(lease);
    tokio::spawn(async move {
        tokio::select! {
            () = lease.ended.cancelled() => {}
            () = lease.lost.cancelled() => {}
            () = keep(&lease) => {}
            () = expire(&lease) => {}
        }
    });
}

/// Waits until the promised time is over.
async fn expire(lease: &Lease) {
    while !lease.deadline().has_passed() {
        sleep_until(lease.deadline()).await;
    }
    lease.loss();
}

async fn keep(lease: &Arc<Lease>) {
    let mut keeper = Keeper { lease, looked_at: now(), is_alone: lease.shared.is_some() };
    loop {
        renewal_due(lease).await;
        let mut failures = 0;
        while !keeper.renew().await {
            let (first, longest) = lease.retry_delays();
            tokio::time::sleep(backoff(failures, first, longest)).await;
            failures += 1;
        }
    }
}

/// A lease that is renewed alone, or with others.
struct Keeper<'a> {
    lease: &'a Arc<Lease>,
    /// When the server last told what the peer holds.
    looked_at: Moment,
    /// A request for many is of no use to it.
    is_alone: bool,
}

impl Keeper<'_> {
    /// Tries once. Returns whether it is renewed.
    async fn renew(&mut self) -> bool {
        let Lease { peer, ttl, link, .. } = &**self.lease;
        if !self.is_alone && link.dialect.may_be_v1() {
            let (looked_at, limit) = (self.looked_at, self.lease.attempt_limit());
            match link.turn(Due { peer: *peer, ttl: *ttl, looked_at, limit }).await {
                Turn::Renewed { instance, sent_at } if !self.lease.moved(instance.as_deref()) => {
                    self.lease.confirm(sent_at, instance);
                    return true;
                }
                // What became of it, a request of its own tells.
                Turn::Renewed { .. } | Turn::Gone | Turn::Alone => {}
                Turn::Failed { is_refused } => {
                    self.is_alone = is_refused;
                    return false;
                }
            }
        }
        let is_renewed = renew(self.lease).await.is_ok();
        if is_renewed {
            self.looked_at = now();
        }
        is_renewed
    }
}

/// Waits for a third of the expiry since the last request that moved it.
async fn renewal_due(lease: &Lease) {
    // Jitter, so that holders who began together do not stay together. The grid is coarse enough that many of them are
    // renewed by one request, and fine enough to spread these over time.
    let interval = (lease.ttl / 3).mul_f64(0.9 + fastrand::f64() / 10.0);
    loop {
        let due = (lease.confirmed_at() + interval).on_grid(lease.ttl / 60);
        if due.has_passed() {
            return;
        }
        sleep_until(due).await;
    }
}

async fn renew(lease: &Arc<Lease>) -> Result<(), Error> {
    // What is granted meanwhile may be missing in the answer.
    let (held, _) = lease.holdings();
    let begun_at = now();
    match lease.link.heartbeat(lease.peer, lease.ttl, Effort::once(lease.attempt_limit())).await {
        Ok(Beat { instance, sent_at, .. }) if lease.moved(instance.as_deref()) => {
            recover(lease, Doubt::Moved { instance, sent_at }).await
        }
        Ok(Beat { instance, peer, sent_at }) => {
            let missing =
                peer.and_then(|peer| held.into_iter().find(|(name, count)| !v1::holds(&peer, name, *count)));
            if let Some((semaphore, _)) = missing {
                let why = format!("the server took the lock on {semaphore:?} from its peer, which lives on");
                return Err(lease.lose_to_server(&why, None).into());
            }
            lease.confirm(sent_at, instance);
            Ok(())
        }
        Err(Error::UnknownPeer { instance, detail, by_operator }) => {
            recover(lease, Doubt::Unknown { instance, detail, by_operator, sent_at: begun_at }).await
        }
        Err(error) => Err(error),
    }
}

/// Why the locks of a peer are in doubt: what the answer to a request said that was sent at `sent_at`.
pub(crate) enum Doubt {
    /// The server does not know the peer, and may tell how it ended.
    Unknown { instance: Option<String>, detail: Option<String>, by_operator: bool, sent_at: Moment },
    /// The peer is known, but to a state that did not grant its locks: only a restore tells whether they are
    /// there, too.
    Moved { instance: Option<String>, sent_at: Moment },
}

/// Restores the peer, or finds its locks lost.
///
/// Once begun it runs to its end even if nobody waits for it, for a request that was given up may still arrive:
/// a release has to come after it.
pub(crate) async fn recover(lease: &Arc<Lease>, doubt: Doubt) -> Result<(), Error> {
    let lease = Arc::clone(lease);
    match tokio::spawn(async move { settle(&lease, doubt).await }).await {
        Ok(outcome) => outcome,
        // The background thread never cancels it, so it panicked.
        Err(error) => Err(Error::Thread(error.into())),
    }
}

async fn settle(lease: &Lease, doubt: Doubt) -> Result<(), Error> {
    let _gate = lease.gate.lock().await;
    lease.check()?;
    let is_unknown = matches!(doubt, Doubt::Unknown { .. });
    // Even a peer that only waits is not to stand in line again where somebody took it out.
    let by_operator = matches!(doubt, Doubt::Unknown { by_operator: true, .. });
    let (instance, detail, is_settled) = match doubt {
        Doubt::Unknown { instance, detail, sent_at, .. } => {
            (instance, detail, lease.was_restored_since(sent_at))
        }
        Doubt::Moved { instance, sent_at } => {
            let is_settled = lease.was_restored_since(sent_at) || !lease.moved(instance.as_deref());
            (instance, None, is_settled)
        }
    };
    if is_settled || lease.ended.is_cancelled() {
        return Ok(());
    }
    if by_operator || !lease.may_restore(instance.as_deref()) {
        let why = "the server ended it (released by an operator, or expired there); it did not start anew";
        return Err(lease.lose_to_server(why, detail).into());
    }
    if lease.shared.is_some() {
        return settle_shared(lease, instance, detail, is_unknown).await;
    }
    let sent_at = now();
    let (counts, tokens) = lease.holdings();
    let restore = async |labels: &BTreeMap<String, String>| {
        let request = protocol::restore(lease.peer, &counts, lease.ttl, &tokens, labels);
        lease.link.exchange(&request, Effort::once(lease.attempt_limit())).await
    };
    // Only servers that tell their state take labels.
    let none = BTreeMap::new();
    let labels = if instance.is_some() { &lease.link.settings.labels.all } else { &none };
    let mut restored = restore(labels).await;
    if matches!(restored, Err(Error::Refused { status: 400, .. })) && !labels.is_empty() {
        // It may allow fewer or shorter ones. To be held matters more than to be named.
        restored = restore(&none).await;
    }
    match restored {
        Ok(exchanged) => {
            lease.restored(sent_at, exchanged.answer.instance);
            Ok(())
        }
        Err(error) if error.is_refusal() => {
            let why = format!("the server lost its state and did not take it back: {error}");
            Err(lease.lose(LossReason::NotRestored, &why, None).into())
        }
        Err(error) => Err(error),
    }
}

/// A server that forgot a shared peer gets it back from its owner, with what the owner holds. What is held here besides
/// is asked for again then: it is lost if another has it by now.
async fn settle_shared(
    lease: &Lease,
    instance: Option<String>,
    detail: Option<String>,
    is_unknown: bool,
) -> Result<(), Error> {
    if is_unknown {
        let is_over = lease.is_from(instance.as_deref()) || lease.deadline().has_passed();
        if is_over || lease.holds_anything() {
            return Err(Error::UnknownPeer { instance, detail, by_operator: false });
        }
        let (delay, _) = lease.retry_delays();
        tokio::time::sleep(delay).await;
        return Ok(());
    }
    let own = lease.own();
    let sent_at = now();
    if own.is_empty() {
        lease.restored(sent_at, instance);
        return Ok(());
    }
    let request = v1::acquire(lease.peer, &own, 0, Some(lease.ttl), Duration::ZERO, None);
    let why = match lease.link.exchange(&request, Effort::once(lease.attempt_limit())).await {
        Ok(Exchanged { answer, .. }) if answer.is_granted() => {
            lease.restored(sent_at, answer.instance);
            return Ok(());
        }
        Ok(_) => "somebody else holds it or waits for it".to_owned(),
        Err(error) if error.is_refusal() => error.to_string(),
        Err(error) => return Err(error),
    };
    // The request is withdrawn with the release.
    let why = format!("the server lost its state and did not grant it again: {why}");
    Err(lease.lose(LossReason::NotRestored, &why, None).into())
}
