//! Whose peer a lock belongs to: one of its own, or that of a lock around this process.

use std::collections::BTreeMap;

use throttle_api::{Holder, Peer};

use crate::{
    Error,
    delivery::Exchanged,
    lease::{Held, Lease, Shared},
    outer::{Claim, Outer},
    transport::{Effort, Link},
    v1,
};

/// What a lock around this process means for a new one.
#[derive(Default)]
pub(crate) struct Place {
    /// The peer to share. `None`: the lock gets one of its own.
    pub(crate) lease: Option<Lease>,
    /// What is wanted and held around this process already.
    pub(crate) around: BTreeMap<String, Held>,
    /// The fencing tokens of all that is held around this process.
    pub(crate) tokens: BTreeMap<String, u64>,
    /// Why the peer that the environment names is not to be shared, where that is a surprise.
    pub(crate) surprise: Option<String>,
}

/// Finds out. The server itself tells whether it is the one that the peer belongs to: ids are random, so no other
/// has a peer of this id, while a server may have several URLs, and a new `Throttle-Instance` after a restart.
pub(crate) async fn find(
    link: &Link,
    outer: &Outer,
    wanted: &[(String, u64)],
    effort: Effort,
) -> Result<Place, Error> {
    if !link.dialect.may_be_v1() {
        return Ok(Place::default());
    }
    // Before it is asked what the peer holds, which none but the owner of the claim changes.
    let claim = outer.lock_file.as_deref().and_then(Claim::take);
    // What one that was killed left in the peer is given back by the owner of the peer, not under its feet.
    let claim =
        claim.and_then(|mut claim| claim.left_behind().is_ok_and(|names| names.is_empty()).then_some(claim));
    // This moves the end of the lease without changing its length.
    let request = v1::heartbeat(outer.peer, outer.ttl);
    let Exchanged { answer, sent_at, .. } = match link.exchange(&request, effort).await {
        Err(error) if error.is_missing_route() => return Ok(Place::default()),
        Err(error @ (Error::NotAuthorized { .. } | Error::UnknownPeer { .. } | Error::Refused { .. })) => {
            return Ok(Place { surprise: surprise(link, outer, &error), ..Place::default() });
        }
        exchanged => exchanged?,
    };
    let peer: Peer = answer.parse(&request)?;
    let claim = claim.filter(|_| peer.pending.is_none());
    let mut around = BTreeMap::new();
    for (name, count) in wanted {
        let token = outer.tokens.get(name);
        let in_peer = v1::held(&peer, name)
            .filter(|held| claim.is_some() || token.is_some() && held.token == token.copied());
        let held = match (in_peer, token) {
            (Some(held), _) => Some(held),
            (None, Some(token)) => holder(link, name, *token, effort).await?,
            (None, None) => None,
        };
        let Some(held) = held else { continue };
        if *count > held.count {
            return Err(Error::HierarchyViolation(format!(
                "{name:?} is held with count {} by a lock around this process, so a count of {count} would wait for what \
                 the process itself holds. Take the larger count there.",
                held.count
            )));
        }
        around.insert(name.clone(), held);
    }
    let is_all_around = around.len() == wanted.len();
    let lease = (claim.is_some() || is_all_around).then(|| {
        let watched = around.iter().filter(|(name, _)| peer.lock(name).is_some());
        let shared = Shared::new(claim, watched.map(|(name, held)| (name.clone(), *held)).collect());
        Lease::shared(link.traced(None), outer.peer, outer.ttl, sent_at, answer.instance.clone(), shared)
    });
    Ok(Place { lease, around, tokens: outer.tokens.clone(), surprise: None })
}

/// What is held under a fencing token, if it is live.
async fn holder(link: &Link, name: &str, token: u64, effort: Effort) -> Result<Option<Held>, Error> {
    let request = v1::token(name, token);
    match link.exchange(&request, effort).await {
        Ok(exchanged) => {
            let holder: Holder = exchanged.answer.parse(&request)?;
            Ok(Some(Held { count: v1::unsigned(holder.count), token: Some(token) }))
        }
        // Whatever else is wrong, the request for the lock itself tells.
        Err(error) if error.is_refusal() => Ok(None),
        Err(error) => Err(error),
    }
}

/// A server of another URL that does not know the peer is just another server.
fn surprise(link: &Link, outer: &Outer, error: &Error) -> Option<String> {
    let is_same = outer.url.as_ref().is_none_or(|url| link.settings.servers.has_one_of(url));
    is_same.then(|| {
        let (peer, url) = (outer.peer, &link.server().shown);
        format!(
            "peer {peer} at {url}, which THROTTLE_PEER_ID names, is not to be shared, so the lock gets a peer of its \
             own: {error}"
        )
    })
}
