//! After every start: does the server show what was acknowledged?

use std::{
    collections::HashSet,
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use throttle_api::{self as api, Deadlock, Digits, Open, Origin, SemaphoreDetail, Span, Waiter};

use crate::{
    clock::{lifetime, now, time_of_day},
    model::{Peer, Request, State},
    view::View,
    world::{Client, Creation, World},
};

type Outcome = Result<(), String>;

/// How far the time in an answer may lie behind what it should be: the server's clock began at the time of day.
const TOLERANCE: Duration = Duration::from_secs(2);

/// How far the clocks of the server and of this test may be apart while both run.
pub(crate) const INEXACT: Duration = Duration::from_millis(100);

/// When the process was started whose view is checked.
#[derive(Clone, Copy)]
pub(crate) struct Start {
    pub(crate) spawned: Instant,
    /// As time of day.
    pub(crate) spawned_at: Duration,
}

impl World {
    /// Compares what the server shows with what was acknowledged. What was not known is known after that. Every lease
    /// began anew with the start, if there was one.
    pub(crate) fn check(&mut self, view: &View, start: Option<Start>) -> Outcome {
        match &self.instance {
            Some(instance) if *instance != view.instance => {
                return Err(format!("Throttle-Instance is {:?}, and was {instance:?}", view.instance));
            }
            _ => self.instance = Some(view.instance.clone()),
        }
        let mut owned = HashSet::new();
        for client in 0..self.clients.len() {
            self.check_peers(client, view, start, &mut owned)?;
        }
        self.adopt(view, start, &owned)?;
        let mut tokens = HashSet::new();
        for peer in view.peers.values() {
            for token in peer.locks.iter().filter_map(|lock| lock.token) {
                if !tokens.insert(token) {
                    return Err(format!("token {token} is there twice"));
                }
            }
        }
        let names: Vec<String> = self.semaphores.keys().cloned().collect();
        for name in &names {
            self.check_semaphore(name, view)?;
            self.check_sum(name, view.peers_received)?;
        }
        if let Some((name, _)) = view.semaphores.iter().find(|(name, _)| !self.semaphores.contains_key(*name))
        {
            return Err(format!("nobody made semaphore {name}"));
        }
        self.ledger.check_order()?;
        self.ledger.turn();
        self.heard.clear();
        self.settle();
        Ok(())
    }

    /// Takes peers that are not shown any more for ended, which must be due by then.
    pub(crate) fn miss(&mut self, view: &View) -> Outcome {
        for peer in self.peers_mut().filter(|peer| !view.peers.contains_key(&peer.id)) {
            if peer.lives_until > view.peers_received {
                return Err(format!("it ended before its time: {peer:#?}"));
            }
            peer.is_ended = true;
        }
        Ok(())
    }

    fn check_peers(
        &mut self,
        client: usize,
        view: &View,
        start: Option<Start>,
        owned: &mut HashSet<u64>,
    ) -> Outcome {
        let Some(own) = self.clients.get_mut(client) else { return Ok(()) };
        for peer in &mut own.peers {
            let is_unknown = peer.states.len() > 1;
            let Some(seen) = view.peers.get(&peer.id) else {
                if !peer.states.contains(&None) && peer.lives_until > view.peers_received {
                    return Err(format!("it is lost: {peer:#?}"));
                }
                peer.states = vec![None];
                continue;
            };
            if peer.is_ended {
                return Err(format!("its end was told, but it is there again: {peer:#?}"));
            }
            for (name, (token, at)) in self
                .heard
                .iter()
                .filter(|((id, _), _)| *id == peer.id)
                .map(|((_, name), heard)| (name, heard))
            {
                let waits = |state: &State| {
                    state
                        .pending
                        .as_ref()
                        .is_some_and(|request| request.locks.contains_key(name) && request.asked < *at)
                };
                let is_held = seen
                    .locks
                    .iter()
                    .any(|lock| *lock.semaphore == **name && lock.token == Some(Digits(*token)));
                if !is_held && !is_unknown && !self.ledger.knows(*token) && peer.living().all(waits) {
                    return Err(format!(
                        "a reader was told that token {token} was given: {peer:#?}, shown {seen:?}"
                    ));
                }
            }
            peer.meet(seen, view.sent, view.peers_received, &mut self.ledger)?;
            check_lease(peer, seen, start)?;
            owned.insert(peer.id);
            self.figures.leases_checked += 1;
            self.figures.grants_checked += seen.locks.len() as u64;
            self.figures.waiters_checked += u64::from(seen.pending.is_some());
        }
        own.peers.retain(|peer| !peer.is_gone());
        Ok(())
    }

    /// Finds who made each peer that nobody owns, among the requests whose answer was lost.
    ///
    /// Only their leases may tell two such peers apart, and those not sharply. Shortest first, each peer goes to the
    /// shortest request that fits, and leaves those that only a longer one can have made their own.
    fn adopt(&mut self, view: &View, start: Option<Start>, owned: &HashSet<u64>) -> Outcome {
        let clients = self.clients.iter_mut().enumerate();
        let lost = |(at, own): (usize, &mut Client)| {
            std::mem::take(&mut own.creations).into_iter().map(move |creation| (at, creation))
        };
        let mut creations: Vec<_> = clients.flat_map(lost).collect();
        creations.sort_by_key(|(_, creation)| creation.expires_in);
        let mut found: Vec<_> = view.peers.values().filter(|seen| !owned.contains(&seen.id.0)).collect();
        found.sort_by_key(|seen| since_epoch(seen.expires_at));
        for seen in found {
            let Some(at) = creations.iter().position(|(_, creation)| is_made_by(seen, creation, start))
            else {
                return Err(format!("a peer that is gone, or that nobody made, is there: {seen:?}"));
            };
            let (client, creation) = creations.remove(at);
            let mut peer = creation.peer(seen.id.0);
            peer.meet(seen, creation.sent, view.peers_received, &mut self.ledger)?;
            check_lease(&mut peer, seen, start)?;
            self.figures.happened += 1;
            let own = self.clients.get_mut(client).ok_or("no client")?;
            let key = |peer: &Peer| peer.key.as_ref().map(|key| key.text.clone());
            if let Some(other) =
                own.peers.iter().find(|other| key(other).is_some() && key(other) == key(&peer))
            {
                return Err(format!("one key made two peers: {peer:?}, {other:?}"));
            }
            if peer.key.is_some() {
                own.repeats.push(peer.id);
            }
            own.peers.push(peer);
        }
        Ok(())
    }

    fn check_semaphore(&mut self, name: &str, view: &View) -> Outcome {
        let Some(known) = self.semaphores.get_mut(name) else { return Ok(()) };
        let Some(seen) = view.semaphores.get(name) else {
            if !known.is_member && !known.specs.contains(&None) {
                return Err(format!("semaphore {name} is lost: {known:?}"));
            }
            if !known.is_member {
                known.specs = vec![None];
            }
            return Ok(());
        };
        let shown = &seen.semaphore;
        known
            .specs
            .retain(|spec| spec.is_some_and(|spec| (spec.max, spec.level) == (shown.max, shown.level)));
        known.specs.dedup();
        let per = known.per.map(Span);
        let deadlock = if known.detects_deadlocks { Deadlock::Detect } else { Deadlock::Hierarchy };
        let is_origin = match shown.origin {
            Open::Known(Origin::Pattern) => known.is_member,
            Open::Known(Origin::Runtime) => known.owner.is_some(),
            Open::Known(Origin::File) | Open::Other(_) => !known.is_private && !known.is_member,
        };
        if known.specs.is_empty() || shown.per != per || shown.deadlock != deadlock || !is_origin {
            return Err(format!("semaphore {name} is not as it was acknowledged: {seen:?}, {known:?}"));
        }
        let held: i64 = seen.holders.iter().map(|holder| holder.count).sum();
        if held != shown.acquired || held + shown.cooling > known.cap {
            return Err(format!("too much of {name} is held: {seen:?}"));
        }
        let is_fixed = known.owner.is_none();
        self.check_queue(name, seen, is_fixed)
    }

    /// The order in which requests were acknowledged is kept, and none was overtaken.
    fn check_queue(&self, name: &str, seen: &SemaphoreDetail, is_fixed: bool) -> Outcome {
        let request = |waiter: &Waiter| {
            let peer = self.peers().find(|peer| peer.id == waiter.peer.0)?;
            // Each of the states may be so, and tells of another request.
            let requests = peer.living().map(|state| state.pending.clone());
            requests.reduce(|one, other| {
                let (one, other) = (one?, other?);
                let queued = one.queued.zip(other.queued).map(|(one, other)| one.max(other));
                Some(Request { asked: one.asked.min(other.asked), queued, ..one })
            })?
        };
        for (at, ahead) in seen.queue.iter().enumerate() {
            for behind in seen.queue.iter().skip(at + 1) {
                let is_served_first = behind.priority > ahead.priority
                    || behind.priority == ahead.priority && behind.since < ahead.since;
                let came_first = match (request(behind), request(ahead)) {
                    (Some(behind), Some(ahead)) => came_first(&behind, &ahead),
                    _ => false,
                };
                if is_served_first || came_first {
                    return Err(format!("{behind:?} stands behind {ahead:?} in the queue of {name}"));
                }
            }
        }
        // Others pass a waiter that is absent.
        for waiter in seen.queue.iter().filter(|waiter| is_fixed && !waiter.absent) {
            let Some(waiting) = request(waiter).filter(|request| request.locks.len() == 1) else { continue };
            let Some(queued) = waiting.queued else { continue };
            for holder in &seen.holders {
                let Some(peer) = self.peers().find(|peer| peer.id == holder.peer.0) else { continue };
                let came_later = |state: &State| {
                    state.locks.get(name).is_some_and(|lock| {
                        lock.asked.is_some_and(|asked| asked > queued) && lock.priority <= waiting.priority
                    })
                };
                if peer.living().all(came_later) {
                    return Err(format!("{peer:?} overtook {waiting:?} on {name}"));
                }
            }
        }
        Ok(())
    }
}

/// Whether a request was acknowledged before the other one was sent, and has no lower priority.
fn came_first(one: &Request, other: &Request) -> bool {
    one.queued.is_some_and(|queued| queued < other.asked) && one.priority >= other.priority
}

/// When a lease ends that began at this time of day or later.
fn ends(expires_in: Duration, since: Duration) -> RangeInclusive<Duration> {
    since + expires_in..=time_of_day() + TOLERANCE + expires_in
}

/// This moment, as time of day.
fn wall(at: Instant) -> Duration {
    let (now, time_of_day) = (now(), time_of_day());
    let ago = now.saturating_duration_since(at);
    (time_of_day + at.saturating_duration_since(now)).saturating_sub(ago)
}

fn since_epoch(time: api::Stamp) -> Duration {
    Duration::from_micros(time.as_micros())
}

/// A lease is as long as it was promised to be, and no longer.
fn check_lease(peer: &mut Peer, seen: &api::Peer, start: Option<Start>) -> Outcome {
    let shown = since_epoch(seen.expires_at);
    let Some(start) = start else { return check_promise(peer, seen, shown) };
    let fits = |state: &State| ends(state.expires_in, start.spawned_at).contains(&shown);
    if !peer.living().any(fits) {
        return Err(format!(
            "a lease did not begin anew in full: {seen:?} after {:?}, {peer:#?}",
            start.spawned_at
        ));
    }
    peer.states.retain(|state| state.as_ref().is_some_and(fits));
    peer.lives_until = start.spawned + lifetime(peer.shortest());
    Ok(())
}

/// It ends when it is known to end, or later, but not later than if it began now.
fn check_promise(peer: &mut Peer, seen: &api::Peer, shown: Duration) -> Outcome {
    // What is shown is without the margin.
    let margin = |state: &State| lifetime(state.expires_in).saturating_sub(state.expires_in);
    let margin = peer.living().map(margin).max();
    let promised = wall(peer.lives_until).saturating_sub(margin.unwrap_or_default());
    if shown + INEXACT < promised {
        let missing = promised.saturating_sub(shown);
        return Err(format!("a lease is {missing:?} too short: {seen:?}, {peer:#?}"));
    }
    let fits = |state: &State| shown <= time_of_day() + TOLERANCE + state.expires_in;
    peer.states.retain(|state| state.as_ref().is_some_and(fits));
    if peer.states.is_empty() {
        return Err(format!("a lease is longer than it was asked for: {seen:?} {peer:#?}"));
    }
    let left = shown.saturating_sub(time_of_day() + INEXACT);
    peer.lives_until = peer.lives_until.max(now() + left);
    Ok(())
}

/// Whether a request may have made this peer.
fn is_made_by(seen: &api::Peer, creation: &Creation, start: Option<Start>) -> bool {
    let mut has: Vec<(&str, i64)> = seen.locks.iter().map(|lock| (&*lock.semaphore, lock.count)).collect();
    has.extend(
        seen.pending.iter().flat_map(|pending| pending.locks.iter().map(|(name, count)| (&**name, *count))),
    );
    has.sort_unstable();
    let asked =
        creation.ask.iter().flat_map(|ask| ask.locks.iter().map(|(name, count)| (name.as_str(), *count)));
    // Only its lease tells a peer without labels from another one.
    let since = start.map_or_else(|| wall(creation.sent).saturating_sub(INEXACT), |start| start.spawned_at);
    let is_its_lease = ends(creation.expires_in, since).contains(&since_epoch(seen.expires_at));
    creation.labels.are(&seen.labels) && asked.eq(has) && (is_its_lease || !creation.labels.0.is_empty())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use serde_json::json;

    use super::*;
    use crate::view::Labels;

    fn creation(expires_in: Duration) -> Creation {
        Creation { labels: Labels::default(), key: None, ask: None, expires_in, sent: now() }
    }

    /// A peer whose lease began `after` the start.
    fn shown(id: u64, start: Start, after: Duration) -> (u64, api::Peer) {
        let micros = u64::try_from((start.spawned_at + after).as_micros()).unwrap();
        let stamp = api::Stamp::from_micros(micros);
        let peer = json!({
            "id": id.to_string(), "labels": {}, "created_at": stamp, "expires_at": stamp, "locks": [],
            "pending": null,
        });
        (id, serde_json::from_value(peer).unwrap())
    }

    #[test]
    fn peers_alike_go_to_the_requests_that_can_have_made_them() {
        let start = Start { spawned: now(), spawned_at: time_of_day() };
        let (recovery, shorter, longer) =
            (Duration::from_millis(10), Duration::from_millis(890), Duration::from_millis(940));
        // A table has its peers in another order each time.
        for _ in 0..50 {
            let mut world = World::new(2, BTreeMap::new());
            world.clients[0].creations.push(creation(shorter));
            world.clients[1].creations.push(creation(longer));
            let peers =
                HashMap::from([shown(1, start, recovery + shorter), shown(2, start, recovery + longer)]);
            let (sent, semaphores) = (start.spawned, BTreeMap::new());
            let mut view = View { peers, semaphores, instance: String::new(), sent, peers_received: now() };
            world.check(&view, Some(start)).unwrap();
            assert_eq!((world.clients[0].peers[0].id, world.clients[1].peers[0].id), (1, 2));

            view.peers.extend([shown(3, start, recovery + shorter)]);
            assert!(world.check(&view, Some(start)).unwrap_err().contains("nobody made"));
        }
    }
}
